"""Train the 8x8 digit classifier; write digits.onnx and samples.json here.

With --check, instead verify the written files with onnxruntime and tract.
"""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

SEED = 0
PIXEL_MAX = 16
SAMPLES_PER_DIGIT = 5
LABELS = [str(digit) for digit in range(10)]
HERE = Path(__file__).resolve().parent
MODEL = HERE / "digits.onnx"
SAMPLES = HERE / "samples.json"

METADATA = {
    "name": "digits",
    "description": "Classifies 8x8 grey-scale images of handwritten digits (pixels 0..16).",
    "labels": ",".join(LABELS),
    "dataset": "Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak (1998), "
    "UCI Machine Learning Repository, https://doi.org/10.24432/C50P49; "
    "test set as shipped by scikit-learn (load_digits)",
    "licence": "Training data: CC BY 4.0",
}
SAMPLES_DESCRIPTION = (
    f"Held-out images the model was not trained on: the first {SAMPLES_PER_DIGIT} of each digit "
    "in a seeded shuffle of the held-out set, chosen by label only, without running the model. "
    "Data: E. Alpaydin and C. Kaynak (1998), Optical Recognition of Handwritten Digits, UCI, "
    "CC BY 4.0."
)


def split():
    images, labels = load_digits(return_X_y=True)
    return train_test_split(images, labels, test_size=0.2, stratify=labels, random_state=SEED)


def shifted(images):
    """The images as they are, then moved one pixel left, right, up and down."""
    padded = np.pad(images.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)))
    corners = [(1, 1), (1, 2), (1, 0), (2, 1), (0, 1)]
    return np.concatenate([padded[:, y : y + 8, x : x + 8].reshape(-1, 64) for y, x in corners])


def train(images, labels):
    images = shifted(images)
    labels = np.tile(labels, len(images) // len(labels))
    model = MLPClassifier(
        hidden_layer_sizes=(64, 32), alpha=0.1, batch_size=32, max_iter=300, random_state=SEED
    )
    # The order of a threaded sum depends on the number of cores.
    with threadpool_limits(1):
        return model.fit(images / PIXEL_MAX, labels)


def to_onnx(classifier):
    nodes, weights = [], []

    def add(op, result, *inputs, **attributes):
        nodes.append(helper.make_node(op, inputs, [result], name=result, **attributes))
        return result

    def weight(name, value):
        weights.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    x = add("Mul", "scaled", "image", weight("scale", 1 / PIXEL_MAX))
    layers = list(zip(classifier.coefs_, classifier.intercepts_, strict=True))
    for i, (w, b) in enumerate(layers, start=1):
        x = add("MatMul", f"product{i}", x, weight(f"weight{i}", w))
        x = add("Add", "logits" if i == len(layers) else f"sum{i}", x, weight(f"bias{i}", b))
        if i < len(layers):
            x = add("Relu", f"hidden{i}", x)
    add("Softmax", "probabilities", x, axis=-1)

    graph = helper.make_graph(
        nodes,
        METADATA["name"],
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 64])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 10])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, METADATA)
    onnx.checker.check_model(model, full_check=True)
    return model


def pick_samples(images, labels):
    order = np.random.RandomState(SEED).permutation(len(labels))
    taken = dict.fromkeys(range(10), 0)
    for i in order:
        label = int(labels[i])
        if taken[label] < SAMPLES_PER_DIGIT:
            taken[label] += 1
            yield {"image": images[i].astype(int).tolist(), "label": label}


def samples_json(samples):
    compact = [json.dumps(sample, separators=(",", ":")) for sample in samples]
    return (
        f'{{"description":{json.dumps(SAMPLES_DESCRIPTION)},\n'
        f'"labels":{json.dumps(LABELS, separators=(",", ":"))},\n'
        '"samples":[\n' + ",\n".join(compact) + "\n]}\n"
    )


def check(images, labels):
    import onnxruntime
    import tract

    session = onnxruntime.InferenceSession(MODEL, providers=["CPUExecutionProvider"])
    ort = session.run(["probabilities"], {"image": images})[0]
    runnable = tract.onnx().load(MODEL).into_model().into_runnable()
    other = runnable.run([images])[0].to_numpy()

    difference = np.abs(ort - other).max()
    assert difference < 1e-5 and (ort.argmax(1) == other.argmax(1)).all()
    print(f"onnxruntime and tract agree: largest difference {difference:.1e}")
    report("held-out", ort, labels)

    samples = json.loads(SAMPLES.read_text())["samples"]
    batch = np.array([sample["image"] for sample in samples], np.float32)
    single = np.concatenate([runnable.run([row[None]])[0].to_numpy() for row in batch])
    report("samples.json", single, np.array([sample["label"] for sample in samples]))


def report(name, probabilities, labels):
    right = int((probabilities.argmax(1) == labels).sum())
    print(f"{name}: {right}/{len(labels)} correct ({right / len(labels):.2%})")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="verify the written files")
    args = parser.parse_args()

    train_images, test_images, train_labels, test_labels = split()
    test_input = test_images.astype(np.float32)
    if args.check:
        return check(test_input, test_labels)

    model = to_onnx(train(train_images, train_labels))
    MODEL.write_bytes(model.SerializeToString(deterministic=True))
    samples = samples_json(pick_samples(test_images, test_labels))
    SAMPLES.write_text(samples, encoding="utf-8", newline="\n")

    report("held-out", ReferenceEvaluator(model).run(None, {"image": test_input})[0], test_labels)
    for path in (MODEL, SAMPLES):
        data = path.read_bytes()
        print(f"{path.name}: {len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()}")


if __name__ == "__main__":
    main()
