"""Unmodified programs load a sealed file through `casemate run`: llama.cpp maps it, DuckDB seeks in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
WORK = Path(os.environ["CASEMATE_INTEROP_DIR"])
NODE = WORK / "node_modules" / "node" / "bin" / "node"
LLAMA = WORK / "engines"
MODES = [
    pytest.param([], marks=pytest.mark.skipif(not os.path.exists("/dev/fuse"), reason="/dev/fuse does not exist: skipped mounts"), id="mount"),
    pytest.param(["--memory"], id="memory"),
]


class House:
    def __init__(self, work: Path) -> None:
        self.work = work
        (work / "passphrase").write_text("correct horse battery")
        self.casemate("keys", "init")
        self.casemate("keys", "generate", "--name", "me", "--kind", "kem")
        self.casemate("keys", "generate", "--name", "publisher", "--kind", "sign")

    def casemate(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        binary = str(Path(os.environ["CASEMATE_BIN"]).resolve())
        command = [binary, "--home", "home", "--passphrase-file", "passphrase", *arguments]
        done = subprocess.run(command, cwd=self.work, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0 or not check, done.stderr
        return done

    def seal(self, name: str) -> str:
        """Seal a file and remove the original, so that only the sealed file can be read."""
        self.casemate("seal", name, "-o", f"{name}.sealed", "--to", "me", "--sign", "publisher", "--segment-size", "65536")
        (self.work / name).unlink()
        return f"{name}.sealed"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return House(tmp_path_factory.mktemp("engines"))


def write_gguf(path: Path) -> None:
    """Write a two-layer Llama with weights from a fixed seed, and a vocabulary of bytes and letters."""
    import gguf
    import numpy as np

    width, layers, heads, hidden = 64, 2, 4, 128
    tokens = [b"<unk>", b"<s>", b"</s>", *(f"<0x{byte:02X}>".encode() for byte in range(256)), "▁".encode(), *(bytes([c]) for c in range(97, 123))]
    out = gguf.GGUFWriter(path, "llama")
    out.add_context_length(256)
    out.add_embedding_length(width)
    out.add_block_count(layers)
    out.add_feed_forward_length(hidden)
    out.add_head_count(heads)
    out.add_head_count_kv(heads)
    out.add_layer_norm_rms_eps(1e-5)
    out.add_rope_dimension_count(width // heads)
    out.add_vocab_size(len(tokens))
    out.add_tokenizer_model("llama")
    out.add_token_list(tokens)
    out.add_token_scores([0.0] * len(tokens))
    out.add_token_types([2, 3, 3, *[6] * 256, *[1] * 27])
    out.add_bos_token_id(1)
    out.add_eos_token_id(2)
    random = np.random.default_rng(7)

    def weights(*shape: int) -> np.ndarray:
        return (random.standard_normal(shape) * 0.05).astype(np.float32)

    out.add_tensor("token_embd.weight", weights(len(tokens), width))
    out.add_tensor("output_norm.weight", np.ones(width, np.float32))
    out.add_tensor("output.weight", weights(len(tokens), width))
    for layer in range(layers):
        for name in ("attn_norm", "ffn_norm"):
            out.add_tensor(f"blk.{layer}.{name}.weight", np.ones(width, np.float32))
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            out.add_tensor(f"blk.{layer}.{name}.weight", weights(width, width))
        out.add_tensor(f"blk.{layer}.ffn_gate.weight", weights(hidden, width))
        out.add_tensor(f"blk.{layer}.ffn_up.weight", weights(hidden, width))
        out.add_tensor(f"blk.{layer}.ffn_down.weight", weights(width, hidden))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


@pytest.mark.skipif(not (NODE.exists() and (LLAMA / "node_modules").exists()), reason="npm is not installed: skipped llama.cpp")
@pytest.mark.parametrize("mode", MODES)
def test_llama_cpp_generates_the_same_from_sealed_and_plain_files(house: House, mode: list[str]) -> None:
    script = LLAMA / "generate.mjs"
    shutil.copy(HERE / "generate.mjs", script)
    write_gguf(house.work / "tiny.gguf")
    plain = subprocess.run([NODE, script, house.work / "tiny.gguf"], capture_output=True, text=True, timeout=120)
    assert len(json.loads(plain.stdout)) == 12, plain.stderr
    sealed = house.seal("tiny.gguf")
    engine = ["--", str(NODE), str(script), "{}"]
    done = house.casemate("run", *mode, sealed, *engine)
    assert json.loads(done.stdout) == json.loads(plain.stdout)

    # Damage the header, which is read. For damage in mapped data the kernel sends a signal, after which Node never exits.
    damaged = bytearray((house.work / sealed).read_bytes())
    damaged[1000] ^= 1
    (house.work / sealed).write_bytes(damaged)
    refused = house.casemate("run", *mode, sealed, *engine, check=False)
    assert refused.returncode != 0 and refused.stdout == "" and "segment" in refused.stderr
    (house.work / sealed).unlink()


@pytest.mark.parametrize("mode", MODES)
def test_duckdb_reads_a_sealed_table(house: House, mode: list[str]) -> None:
    import duckdb

    rows = 200_000
    duckdb.sql(f"COPY (SELECT range AS id, hash(range) AS value FROM range({rows})) TO '{house.work / 'data.parquet'}' (FORMAT parquet)")
    query = "SELECT count(*), sum(id), max(value) FROM '%s'"
    expected = duckdb.sql(query % (house.work / "data.parquet")).fetchall()
    sealed = house.seal("data.parquet")
    program = f"import duckdb, sys; print(duckdb.sql({query!r} % sys.argv[1]).fetchall())"
    done = house.casemate("run", *mode, sealed, "--", sys.executable, "-c", program, "{}")
    assert expected[0][0] == rows and done.stdout.strip() == str(expected)
    (house.work / sealed).unlink()
