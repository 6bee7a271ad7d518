"""Write examples.bin here: images and labels for the training act of the demo.

800 images of scikit-learn's digits, each 64 pixels from 0 to 16 and a label, one byte each: 500 for training, in the order of their labels, then 300 held out.
"""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

digits = load_digits()
order = np.random.default_rng(0).permutation(len(digits.target))[:800]
train, test = order[:500], order[500:]
train = train[np.argsort(digits.target[train], kind="stable")]
chosen = np.concatenate([train, test])
rows = np.hstack([digits.images.reshape(-1, 64)[chosen], digits.target[chosen, None]]).astype(np.uint8)
Path(__file__).with_name("examples.bin").write_bytes(rows.tobytes())
