"""KServe v2 with `tritonclient`: its defaults, binary tensors, names, versions and errors."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

import support
from support import kserve_error_of

SAMPLES = support.samples(5)
IMAGES = np.array([sample["image"] for sample in SAMPLES], dtype=np.float32)
LABELS = [sample["label"] for sample in SAMPLES]


@pytest.fixture(scope="module")
def server(connector):
    client = triton.InferenceServerClient(connector.url.removeprefix("http://"))
    yield client
    client.close()


def asked(binary: bool, images: np.ndarray = IMAGES) -> list[triton.InferInput]:
    tensor = triton.InferInput("image", images.shape, "FP32")
    tensor.set_data_from_numpy(images, binary_data=binary)
    return [tensor]


def wanted(binary: bool) -> list[triton.InferRequestedOutput]:
    return [triton.InferRequestedOutput("probabilities", binary_data=binary)]


@pytest.mark.parametrize("sent", [True, False])
@pytest.mark.parametrize("outputs", [None, True, False])
def test_tensors_are_binary_or_json(server, sent, outputs):
    """The client's default is binary in both directions."""
    asked_for = None if outputs is None else wanted(outputs)
    answer = server.infer("digits", asked(sent), outputs=asked_for, request_id="7")
    scores = answer.as_numpy("probabilities")
    assert scores.shape == (5, 10) and answer.get_response()["id"] == "7"
    assert sum(scores.argmax(axis=1) == LABELS) >= 4
    as_text = server.infer("digits", asked(False), outputs=wanted(False)).as_numpy("probabilities")
    assert np.allclose(scores, as_text, rtol=1e-6)


def test_metadata_and_versions(server):
    assert server.is_server_live() and server.is_server_ready() and server.is_model_ready("digits")
    assert server.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    (version,) = server.get_model_metadata("digits")["versions"]
    # Sealed without a revision, which counts as revision 1.
    for asked_for in (version, "1"):
        assert server.is_model_ready("digits", asked_for)
        assert server.infer("digits", asked(True), model_version=asked_for).as_numpy("probabilities").shape == (5, 10)
    with pytest.raises(InferenceServerException, match="no such version"):
        server.infer("digits", asked(True), model_version="2")


def test_errors_are_text(server):
    for call, why in (
        (lambda: server.infer("other", asked(True)), "there is no model named `other`"),
        (lambda: server.infer("my größe", asked(True)), "there is no model named `my größe`"),
        (lambda: server.infer("digits", asked(True, IMAGES[:, :63])), "shape"),
        (lambda: server.infer("digits", asked(False), request_compression_algorithm="gzip"), "compressed content is not supported"),
        (lambda: server.get_model_config("digits"), "nothing at this path"),
    ):
        with pytest.raises(InferenceServerException) as raised:
            call()
        assert why in str(raised.value)


def body(size: int | None, binary: bytes, *, length: int | str | None = None, data=None) -> tuple[bytes, str]:
    tensor = {"name": "image", "shape": [1, 64], "datatype": "FP32"}
    if size is not None:
        tensor["parameters"] = {"binary_data_size": size}
    if data is not None:
        tensor["data"] = data
    text = json.dumps({"inputs": [tensor]}).encode()
    return text + binary, str(len(text) if length is None else length)


def test_binary_tensors_that_do_not_add_up(client):
    whole = struct.pack("<64f", *SAMPLES[0]["image"])

    def call(content: bytes, length: str):
        fields = [("inference-header-content-length", length)]
        return client.send(client.request("POST", "/v2/models/digits/infer", content, fields=fields))

    assert call(*body(256, whole)).status == 200
    for why, (content, length) in {
        "fewer bytes remain": body(256, whole[:-1]),
        "bytes follow the last": body(256, whole + b"x"),
        "not a multiple": body(255, whole[:-1]),
        "does not match": body(252, whole[:-4]),
        "exactly one": body(None, whole),
        "exactly one of `data`": body(256, whole, data=[0.0] * 64),
        "longer than the content": body(256, whole, length=1 << 20),
        "not a length": body(256, whole, length="-1"),
        "not an inference request": body(256, whole, length=10),
        "fewer bytes remain ": body(1 << 62, whole),
    }.items():
        assert why.strip() in kserve_error_of(call(content, length), 400), why


def test_a_model_whose_first_output_is_the_label(site):
    """The form in which scikit-learn exports classifiers: `LinearClassifier` of ai.onnx.ml with classes 10, 20 and 30. ONNX Runtime computed the numbers."""
    source = Path(__file__).with_name("label_first.onnx")
    sealed = site.folder / "label_first.sealed"
    site.cli("seal", "--to", "model", "--sign", "publisher", "-o", str(sealed), str(source))
    model = '[[model]]\nname = "labels"\nartifact = "label_first.sealed"\nkey = "model"\npublisher = "publisher"\n'
    with site.gateway(allow=model) as gateway, site.connector(gateway.url) as connector:
        rows = [[2, 1], [0, 3], [-1, -1]]
        answer = support.urllib_call(f"{connector.url}/predict", {"model": "labels", "instances": rows})
        assert answer.status == 200, answer
        assert answer.json()["predictions"] == [10, 20, 30]
        assert answer.json()["scores"] == [[2, 1, -2.5], [0, 3, -2.5], [-1, -1, 2.5]]
