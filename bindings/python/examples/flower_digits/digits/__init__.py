"""Private federated learning of scikit-learn's digits."""
