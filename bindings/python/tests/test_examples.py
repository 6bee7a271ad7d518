"""The examples run."""

import subprocess
import sys
from pathlib import Path

import casemate
import pytest
from casemate import train

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(*command):
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_parameter_server_trains_over_sockets():
    assert "with 3 workers" in run(EXAMPLES / "parameter_server.py", "3")


@pytest.mark.parametrize(("example", "ranks"), [("send_recv.py", 2), ("masked_ddp.py", 3)])
def test_ranks_exchange_gradients_over_gloo(tmp_path, example, ranks):
    pytest.importorskip("torch")
    keys = {f"rank-{rank}": casemate.PrivateKey.generate("mldsa65-ed25519") for rank in range(ranks)}
    owner = casemate.PrivateKey.generate("mldsa65-ed25519")
    for name, key in keys.items():
        key.to_file(tmp_path / f"{name}.pem")
    (tmp_path / "owner.pub").write_text(owner.public_key.to_pem())
    (tmp_path / "roster").write_bytes(train.sign_roster(keys, sign=owner))
    start = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks)]
    shown = run(*start, EXAMPLES / example, tmp_path)
    for name in keys:
        assert f"{name}: largest error" in shown
