"""A sealed folder in the Hugging Face layout, in transformers."""

import casemate
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from casemate.transformers import from_pretrained  # noqa: E402


@pytest.fixture(params=["one file", "shards"])
def model(request, tmp_path):
    config = transformers.BertConfig(
        vocab_size=100, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    model = transformers.BertModel(config).eval()
    size = "20KB" if request.param == "shards" else "5GB"
    model.save_pretrained(tmp_path / "model", max_shard_size=size)
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert ("model.safetensors.index.json" in names) == (request.param == "shards")
    return model


def test_a_sealed_model_answers_as_the_plain_one_does(tmp_path, model, to, trust):
    casemate.seal_directory(tmp_path / "model", tmp_path / "sealed", **to)
    loaded = from_pretrained(transformers.AutoModel, tmp_path / "sealed", **trust).eval()
    words = torch.tensor([[1, 2, 3, 4]])
    with torch.no_grad():
        expected, found = model(words).last_hidden_state, loaded(words).last_hidden_state
    assert torch.equal(expected, found)
    config = from_pretrained(transformers.AutoConfig, tmp_path / "sealed", **trust)
    assert config.hidden_size == 32


def test_a_folder_of_a_stranger_loads_nothing(tmp_path, model, to, keys):
    casemate.seal_directory(tmp_path / "model", tmp_path / "sealed", **to)
    with pytest.raises(casemate.VerificationError):
        from_pretrained(
            transformers.AutoModel, tmp_path / "sealed", keys=keys.alice, signer=keys.stranger.public_key
        )
