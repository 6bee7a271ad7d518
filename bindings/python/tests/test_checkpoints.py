"""Sealed checkpoints of a training: saved and resumed by the Trainer, by Accelerate, and after the training was killed."""

import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import casemate
import numpy as np
import pytest
from casemate import lineage

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("accelerate")

import casemate.accelerate
import casemate.trainer
from casemate._checkpoints import CheckpointFolder


@pytest.fixture(scope="module")
def keys():
    make = casemate.PrivateKey.generate
    return make("mlkem768-x25519"), make("mldsa65-ed25519")


@pytest.fixture
def arguments(keys):
    opener, publisher = keys
    return {"to": opener.public_key, "sign": publisher, "keys": opener, "signer": publisher.public_key}


def save(checkpoints, step, content=b"w", fixed=b"f" * 100_000):
    with checkpoints.saving(step) as folder:
        (folder / "weights").write_bytes(content)
        (folder / "tokenizer").write_bytes(fixed)


def test_each_checkpoint_names_the_one_before_and_what_it_was_trained_on(tmp_path, arguments):
    source = lineage.Source("data", "digits", {"sha384": "0" * 96})
    checkpoints = CheckpointFolder(tmp_path / "c", **arguments, sources=[source])
    assert checkpoints.open() is None
    for step in (10, 20, 30):
        save(checkpoints, step, str(step).encode())
    assert checkpoints.steps() == [10, 20, 30]
    first, second, third = (checkpoints.open(step) for step in (10, 20, 30))
    stated = [lineage.read(folder) for folder in (first, second, third)]
    assert [one.step for one in stated] == [10, 20, 30]
    assert stated[0].parent is None
    assert stated[1].parent == lineage.reference_of(first)
    assert stated[2].parent == lineage.reference_of(second)
    assert all(one.sources == [source] for one in stated)
    # Versions of one folder, of which files that did not change are taken over.
    assert first.id == third.id
    assert [first.revision, second.revision, third.revision] == [1, 2, 3]
    same = [(checkpoints.place(step) / "tokenizer.sealed").read_bytes() for step in (10, 30)]
    assert same[0] == same[1]
    # Another process goes on where this one has stopped.
    again = CheckpointFolder(tmp_path / "c", **arguments)
    with again.loading() as (step, folder):
        assert (step, (folder / "weights").read_bytes()) == (30, b"30")
    save(again, 40)
    assert lineage.read(again.open()).parent == lineage.reference_of(third)


def test_steps_only_rise_and_old_ones_are_refused(tmp_path, arguments):
    checkpoints = CheckpointFolder(tmp_path / "c", **arguments, keep=2)
    for step in (1, 2, 3):
        save(checkpoints, step)
    assert checkpoints.steps() == [2, 3]
    for step in (3, 2):
        with pytest.raises(casemate.CasemateError, match=f"step {step} is not later than step 3"):
            save(checkpoints, step)
    with pytest.raises(casemate.VerificationError, match="step-000000000003.sealed is older than step 4"):
        CheckpointFolder(tmp_path / "c", **arguments, min_step=4).open()
    with pytest.raises(casemate.VerificationError, match="no checkpoint; expected step 4"):
        CheckpointFolder(tmp_path / "empty", **arguments, min_step=4).open()
    # An old one in the place of a new one.
    checkpoints.place(2).rename(checkpoints.place(9))
    with pytest.raises(casemate.VerificationError, match="states step 2; it was renamed"):
        checkpoints.open()
    with pytest.raises(ValueError, match="keep must be 1 or more"):
        CheckpointFolder(tmp_path, keep=0)
    for step in (-1, 10**12):
        with pytest.raises(casemate.CasemateError, match="must be from 0 to 999999999999"):
            save(checkpoints, step)


def test_checkpoints_are_signed(tmp_path, arguments):
    checkpoints = CheckpointFolder(tmp_path / "c", **{**arguments, "sign": None})
    with pytest.raises(casemate.CasemateError, match="no key to sign checkpoints with"):
        save(checkpoints, 1)


def test_a_folder_is_for_one_training(tmp_path, arguments, caplog):
    first = CheckpointFolder(tmp_path / "c", **arguments)
    for step in (1, 2, 3):
        save(first, step)
    # Another training, or one that was rolled back, does not mix its own with these.
    for resumed, step in [(None, 10), (1, 2)]:
        other = CheckpointFolder(tmp_path / "c", **arguments)
        if resumed is not None:
            with other.loading(resumed):
                pass
        with pytest.raises(casemate.CasemateError, match="has a checkpoint of step 3, from which this training did not go on"):
            save(other, step)
    # Another training's checkpoint in the place of the last one is not taken over, and the parent stays the last one.
    stranger = CheckpointFolder(tmp_path / "other", **arguments)
    save(stranger, 3)
    shutil.rmtree(first.place(3))
    stranger.place(3).rename(first.place(3))
    parent = first._last[1]
    with caplog.at_level(logging.WARNING):
        save(first, 4)
    assert "another checkpoint is in its place" in caplog.text
    assert lineage.read(first.open(4)).parent == parent
    with pytest.raises(casemate.CasemateError, match="is empty: nothing was written"), first.saving(5):
        pass
    assert first.steps() == [1, 2, 3, 4]


def test_checkpoints_of_others_and_damaged_ones_are_refused(tmp_path, arguments, caplog):
    stranger = casemate.PrivateKey.generate("mldsa65-ed25519")
    save(CheckpointFolder(tmp_path / "c", **{**arguments, "sign": stranger}), 5)
    checkpoints = CheckpointFolder(tmp_path / "c", **arguments)
    with pytest.raises(casemate.VerificationError), checkpoints.loading():
        raise AssertionError
    shutil.rmtree(tmp_path / "c")
    save(checkpoints, 6)
    manifest = checkpoints.place(6) / "manifest.casemate"
    content = bytearray(manifest.read_bytes())
    content[100] ^= 1
    manifest.write_bytes(content)
    with pytest.raises(casemate.CasemateError):
        checkpoints.open()
    # A training goes on without the damaged one.
    with caplog.at_level(logging.WARNING):
        save(checkpoints, 7)
    assert "nothing is reused from the checkpoint of step 6" in caplog.text
    assert checkpoints.open().revision == 1
    with pytest.raises(OSError, match="not this"):
        with checkpoints.saving(8):
            raise OSError("not this")
    assert checkpoints.steps() == [6, 7]


class Regression(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.layer = torch.nn.Linear(4, 1)
        self.dropout = torch.nn.Dropout(0.2)

    def forward(self, x, labels):
        out = self.layer(self.dropout(x)).squeeze(-1)
        return {"loss": torch.nn.functional.mse_loss(out, labels), "logits": out}


def trainer(output, callbacks, steps=8, **options):
    from transformers import Trainer, TrainingArguments

    rng = np.random.default_rng(1)
    inputs = torch.tensor(rng.normal(size=(64, 4)), dtype=torch.float32)
    data = [{"x": row, "labels": row.sum()} for row in inputs]
    settings = TrainingArguments(
        output_dir=str(output), max_steps=steps, save_steps=2, per_device_train_batch_size=8, report_to=[], use_cpu=True,
        disable_tqdm=True, logging_strategy="no", seed=5, learning_rate=0.1, dataloader_pin_memory=False, lr_scheduler_type="constant", **options,
    )  # fmt: skip
    return Trainer(model=Regression(), args=settings, train_dataset=data, eval_dataset=data, callbacks=callbacks)


def weights(model):
    return torch.cat([parameter.detach().reshape(-1) for parameter in model.parameters()])


def test_the_trainer_saves_and_resumes(tmp_path, arguments):
    whole = trainer(tmp_path / "plain", [])
    whole.train()
    checkpoints = casemate.trainer.SealedCheckpoints(tmp_path / "sealed", **arguments, keep=3)
    assert checkpoints.resume() is None
    half = trainer(tmp_path / "out", [checkpoints], steps=8)
    half.args.max_steps = 4
    half.train()
    assert checkpoints.steps() == [2, 4]
    # Nothing in plaintext is left.
    assert list((tmp_path / "out").glob("checkpoint-*")) == []
    again = casemate.trainer.SealedCheckpoints(tmp_path / "sealed", **arguments, keep=3)
    resumed = again.resume()
    assert Path(resumed, "trainer_state.json").exists()
    rest = trainer(tmp_path / "out", [again])
    rest.train(resume_from_checkpoint=resumed)
    assert not Path(resumed).exists()
    assert again.steps() == [4, 6, 8]
    assert torch.equal(weights(rest.model), weights(whole.model))


def test_a_trainer_that_needs_plaintext_checkpoints_is_refused(tmp_path, arguments):
    busy = casemate.trainer.SealedCheckpoints(tmp_path / "busy", **arguments)
    save(busy, 5)
    fresh = trainer(tmp_path / "out", [casemate.trainer.SealedCheckpoints(tmp_path / "busy", **arguments)])
    with pytest.raises(casemate.CasemateError, match="has a checkpoint of step 5"):
        fresh.train()
    assert fresh.state.global_step == 0
    hub = trainer(tmp_path / "out", [casemate.trainer.SealedCheckpoints(tmp_path / "sealed", **arguments)])
    hub.args.push_to_hub = True
    with pytest.raises(casemate.CasemateError, match="push_to_hub uploads plaintext"):
        hub.train()
    checkpoints = casemate.trainer.SealedCheckpoints(tmp_path / "sealed", **arguments)
    options = {"load_best_model_at_end": True, "eval_strategy": "steps", "eval_steps": 2}
    refused = trainer(tmp_path / "out", [checkpoints], **options)
    with pytest.raises(casemate.CasemateError, match="reads plaintext checkpoints"):
        refused.train()


def test_accelerate_saves_and_loads(tmp_path, arguments):
    from accelerate import Accelerator

    def prepared():
        accelerator = Accelerator(cpu=True)
        model = Regression()
        return accelerator, *accelerator.prepare(model, torch.optim.AdamW(model.parameters()))

    checkpoints = casemate.accelerate.SealedCheckpoints(tmp_path / "c", **arguments)
    accelerator, model, optimizer = prepared()
    assert checkpoints.load(accelerator) is None
    for _ in range(3):
        accelerator.backward(model(torch.ones(2, 4), torch.zeros(2))["loss"])
        optimizer.step()
    checkpoints.save(accelerator, 3)
    with pytest.raises(casemate.CasemateError, match="step 3 is not later"):
        checkpoints.save(accelerator, 3)
    naming = accelerator.project_configuration
    naming.automatic_checkpoint_naming = True
    with pytest.raises(casemate.CasemateError, match="automatic_checkpoint_naming"):
        checkpoints.save(accelerator, 4)
    naming.automatic_checkpoint_naming = False
    other, fresh, _ = prepared()
    assert not torch.equal(weights(fresh), weights(model))
    assert casemate.accelerate.SealedCheckpoints(tmp_path / "c", **arguments).load(other) == 3
    assert torch.equal(weights(fresh), weights(model))


LOOP = """
import sys
from casemate._checkpoints import CheckpointFolder
folder = sys.argv[1]
checkpoints = CheckpointFolder(folder + "/c", to=folder + "/to.pub", sign=folder + "/sign.pem", keys=folder + "/to.pem", signer=folder + "/sign.pub", keep=3)
with checkpoints.loading() as found:
    step, total = (0, 0) if found is None else (found[0], int((found[1] / "total").read_text()))
print("resumed", step, flush=True)
while True:
    step, total = step + 1, total + step + 1
    with checkpoints.saving(step) as plain:
        (plain / "total").write_text(str(total))
        (plain / "weights").write_bytes(bytes([step % 256]) * 3_000_000)
    print("saved", step, flush=True)
"""


def test_a_training_that_is_killed_at_any_time_goes_on(tmp_path, keys):
    for name, key in zip(("to", "sign"), keys, strict=True):
        key.to_file(tmp_path / f"{name}.pem")
        (tmp_path / f"{name}.pub").write_text(key.public_key.to_pem())
    saved, chance = 0, random.Random(7)
    for _ in range(6):
        process = subprocess.Popen([sys.executable, "-c", LOOP, tmp_path], stdout=subprocess.PIPE, text=True)
        resumed = process.stdout.readline().split()
        assert resumed[0] == "resumed", process.communicate()
        # What was reported as saved is there.
        assert int(resumed[1]) >= saved
        process.stdout.readline()
        time.sleep(chance.uniform(0, 0.15))
        os.kill(process.pid, signal.SIGKILL)
        rest, _ = process.communicate()
        saved = max([int(resumed[1]) + 1, *(int(line.split()[1]) for line in rest.splitlines() if line.startswith("saved") and line[-1].isdigit())])
    opener, publisher = keys
    with CheckpointFolder(tmp_path / "c", keys=opener, signer=publisher.public_key).loading() as (step, folder):
        assert step >= saved
        assert int((folder / "total").read_text()) == step * (step + 1) // 2


HELD = """
from casemate._casemate import MemoryFolder
with MemoryFolder(0) as folder:
    (folder / "plaintext").write_text("secret")
    print(folder, flush=True)
    input()
"""


def test_what_a_killed_process_left_in_memory_is_removed_by_the_next():
    def hold():
        process = subprocess.Popen([sys.executable, "-c", HELD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return process, Path(process.stdout.readline().strip())

    (killed, left), (running, held) = hold(), hold()
    killed.kill()
    killed.communicate()
    assert (left / "plaintext").exists()
    assert left.stat().st_mode & 0o777 == 0o700
    memory = casemate._casemate.MemoryFolder(0)
    with memory as own:
        assert not left.exists()
        # A folder in use stays, also if a forked process ends what it has a copy of.
        assert (held / "plaintext").exists()
        child = os.fork()
        if child == 0:
            memory.__exit__(None, None, None)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert own.exists()
    assert not own.exists()
    running.communicate("\n")
    assert not held.exists()
