"""A third-party model: the file-type classifier from the package magika."""

import json
import subprocess
from importlib import metadata, resources

import numpy
import onnxruntime
import pytest

import support

PADDING = 256


@pytest.fixture(scope="module")
def model():
    path = resources.files("magika") / "models" / "standard_v3_3" / "model.onnx"
    assert metadata.version("magika")
    return path.read_bytes()


def features(content: bytes) -> list[int]:
    """Return the first and last 1024 bytes of the content, padded as in the classifier."""
    first, last = content[:1024].lstrip(), content[-1024:].rstrip()
    return [*first, *[PADDING] * (1024 - len(first)), *[PADDING] * (1024 - len(last)), *last]


def test_a_third_party_model_gives_the_same_answer_sealed_and_served(site, model):
    (site.folder / "magika.onnx").write_bytes(model)
    sealing = ["seal", str(site.folder / "magika.onnx"), "--to", "model", "--sign", "publisher"]
    output_option = ["-o", str(site.folder / "magika.sealed"), "--force"]
    command = [support.BINARY, *site.common, *sealing, *output_option]
    subprocess.run(command, check=True, env=support.clean_environment())
    contents = [b"#!/usr/bin/env python3\nimport os\nprint(os.name)\n" * 20, b"<html><body><p>x</p></body></html>" * 40]
    rows = [features(content) for content in contents]
    session = onnxruntime.InferenceSession(model)
    name, output = session.get_inputs()[0].name, session.get_outputs()[0].name
    config = (
        'listen = "127.0.0.1:0"\nidentity = "gateway"\n[tls]\nself_signed = "tls"\nnames = ["localhost", "127.0.0.1"]\n'
        '[[client]]\nname = "connector"\nkey = "client"\n'
        '[[model]]\nname = "magika"\nartifact = "magika.sealed"\nkey = "model"\npublisher = "publisher"\n'
    )
    path = site.folder / "magika.toml"
    path.write_text(config)
    with support.Service([*site.common, "gateway", "--config", str(path)], r"serving on (https://\S+)") as gateway:
        with site.connector(gateway.url) as connector:
            for row in rows:
                body = {"inputs": [{"name": name, "shape": [1, 2048], "datatype": "INT32", "data": row}]}
                answer = support.urllib_call(f"{connector.url}/v2/models/magika/infer", body)
                assert answer.status == 200, answer.body
                served = numpy.array(json.loads(answer.body)["outputs"][0]["data"])
                direct = session.run([output], {name: numpy.array([row], dtype=numpy.int32)})[0][0]
                assert served.argmax() == direct.argmax()
                assert abs(served - direct).max() < 1e-4
