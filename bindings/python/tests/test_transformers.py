"""Loading a sealed folder in the Hugging Face layout with transformers."""

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


def test_a_sealed_model_gives_the_same_answers_as_the_plain_one(tmp_path, model, to, trust):
    casemate.seal_folder(tmp_path / "model", tmp_path / "sealed", **to)
    loaded = from_pretrained(transformers.AutoModel, tmp_path / "sealed", **trust).eval()
    words = torch.tensor([[1, 2, 3, 4]])
    with torch.no_grad():
        expected, found = model(words).last_hidden_state, loaded(words).last_hidden_state
    assert torch.equal(expected, found)
    config = from_pretrained(transformers.AutoConfig, tmp_path / "sealed", **trust)
    assert config.hidden_size == 32


def test_a_folder_by_an_unknown_publisher_is_refused(tmp_path, model, to, keys):
    casemate.seal_folder(tmp_path / "model", tmp_path / "sealed", **to)
    with pytest.raises(casemate.VerificationError):
        from_pretrained(
            transformers.AutoModel, tmp_path / "sealed", keys=keys.alice, signer=keys.stranger.public_key
        )


@pytest.fixture
def llama(tmp_path):
    config = transformers.LlamaConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, vocab_size=100
    )
    return transformers.LlamaForCausalLM(config).to(torch.bfloat16).eval()


def same(found, expected):
    """Return whether two models have the same class, type and configuration, and give the same answers."""
    words = torch.arange(8).unsqueeze(0)
    with torch.no_grad():
        answers = torch.equal(found(words).logits, expected(words).logits)
    return answers and type(found) is type(expected) and found.dtype == expected.dtype


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"dtype": "auto"},
        {"dtype": torch.float32},
        {"torch_dtype": torch.float16},
        {"use_cache": False},
        {"attn_implementation": "eager"},
        {"local_files_only": True, "revision": "main"},
    ],
    ids=lambda arguments: " ".join(arguments) or "none",
)
def test_arguments_work_as_for_a_plain_folder(tmp_path, llama, to, trust, arguments):
    llama.save_pretrained(tmp_path / "model")
    casemate.seal_folder(tmp_path / "model", tmp_path / "sealed", **to)
    for auto_class in (transformers.AutoModelForCausalLM, transformers.LlamaForCausalLM):
        expected = auto_class.from_pretrained(tmp_path / "model", **arguments)
        found = from_pretrained(auto_class, tmp_path / "sealed", **arguments, **trust)
        assert same(found, expected)
        assert found.config.use_cache == expected.config.use_cache
        assert found.config._attn_implementation == expected.config._attn_implementation
    classifier = transformers.AutoModelForSequenceClassification
    found, report = from_pretrained(
        classifier, tmp_path / "sealed", num_labels=5, output_loading_info=True, **arguments, **trust
    )
    assert found.config.num_labels == 5 and found.score.out_features == 5
    assert any("score" in name for name in report["missing_keys"])


def test_variants_subfolders_and_pickled_weights(tmp_path, llama, to, trust):
    folder = tmp_path / "model"
    llama.save_pretrained(folder / "plain" / "lm")
    llama.save_pretrained(folder / "variant", variant="fp16")
    llama.save_pretrained(folder / "shards", variant="fp16", max_shard_size="20KB")
    for name in ("bin", "both"):
        llama.save_pretrained(folder / name)
        torch.save({**llama.state_dict()}, folder / name / "pytorch_model.bin")
    (folder / "bin" / "model.safetensors").unlink()
    (folder / "both" / "pytorch_model.bin").write_bytes(b"no pickle at all")
    casemate.seal_folder(folder, tmp_path / "sealed", **to)
    auto_class = transformers.AutoModelForCausalLM
    for arguments in [
        {"subfolder": "plain/lm"},
        {"subfolder": "variant", "variant": "fp16"},
        {"subfolder": "shards", "variant": "fp16"},
        {"subfolder": "bin"},
        {"subfolder": "bin", "use_safetensors": False},
        {"subfolder": "both"},
    ]:
        expected = auto_class.from_pretrained(folder, **arguments)
        assert same(from_pretrained(auto_class, tmp_path / "sealed", **arguments, **trust), expected), arguments
    for arguments, error in [
        ({"subfolder": "variant"}, FileNotFoundError),
        ({"subfolder": "bin", "use_safetensors": True}, FileNotFoundError),
        ({"subfolder": "both", "use_safetensors": False}, Exception),
        ({"gguf_file": "m.gguf"}, ValueError),
        ({"trust_remote_code": True}, ValueError),
    ]:
        with pytest.raises(error):
            from_pretrained(auto_class, tmp_path / "sealed", **arguments, **trust)


def test_options_are_refused_for_an_open_folder(tmp_path, llama, to, trust):
    llama.save_pretrained(tmp_path / "model")
    casemate.seal_folder(tmp_path / "model", tmp_path / "sealed", **to)
    folder = casemate.open_folder(tmp_path / "sealed", **trust)
    auto_class = transformers.AutoModelForCausalLM
    assert from_pretrained(auto_class, folder).dtype == torch.bfloat16
    for terms in [trust, {"min_revision": 7}, {"policy": "cnsa2"}, {"allow_unknown_signer": True}]:
        with pytest.raises(TypeError, match="already open"):
            from_pretrained(auto_class, folder, **terms)
