"""A store with faults: requests are retried a bounded number of times, and a partial object is never visible."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time

import pytest

from bucket import BUCKET, Store
from faulty_proxy import ANSWERS, BAD, DENIED, DONE, DROP, DROP_AFTER, EXPIRED, GONE, LIE, MUMBLING, PASS, SHORT, THROTTLED, UNAVAILABLE, Seen, times

ADDRESS = f"s3://{BUCKET}/m.sealed"


def body_read(seen: Seen) -> bool:
    return seen.method == "GET" and "range" in seen.headers


@pytest.mark.parametrize("fault", [UNAVAILABLE, DROP, SHORT])
def test_transient_faults_while_reading_are_retried(store: Store, fault: str) -> None:
    store.seal("m.sealed")
    store.proxy.reset(times(3, fault, body_read))
    assert store.opens(ADDRESS)
    assert sum(seen.fault == fault for seen in store.proxy.seen) == 3


@pytest.mark.parametrize("fault", [UNAVAILABLE, DROP, DROP_AFTER])
def test_transient_faults_while_writing_are_retried(store: Store, fault: str) -> None:
    store.proxy.reset(times(3, fault, lambda seen: seen.is_part))
    store.seal("m.sealed")
    assert sum(seen.fault == fault for seen in store.proxy.seen) == 3
    store.proxy.reset()
    assert store.opens(ADDRESS)


@pytest.mark.parametrize("which", ["copy", "part", "complete"])
@pytest.mark.parametrize("fault", [UNAVAILABLE, DROP])
def test_transient_faults_of_a_rewrap_are_retried(store: Store, fault: str, which: str) -> None:
    store.seal("m.sealed")
    meant = {
        "copy": lambda seen: seen.is_copy,
        "part": lambda seen: seen.is_part,
        "complete": lambda seen: seen.method == "POST" and "uploadId=" in seen.path,
    }[which]
    store.proxy.reset(times(2, fault, meant))
    store.ok("rewrap", ADDRESS, "--add", "two")
    assert sum(seen.fault == fault for seen in store.proxy.seen) == 2
    store.proxy.reset()
    assert len(json.loads(store.ok("--json", "inspect", ADDRESS))["recipients"]) == 2


def writes(seen: Seen) -> bool:
    """Return whether a request makes an object visible."""
    completes = seen.method == "POST" and "uploadId=" in seen.path
    return completes or (seen.method == "PUT" and "partNumber=" not in seen.path)


@pytest.mark.parametrize("source", ["m.bin", "small.bin"])
@pytest.mark.parametrize("job", ["seal", "rewrap", "copy"])
def test_a_lost_answer_is_not_a_failure(store: Store, job: str, source: str) -> None:
    """The store performed the request but its answer is lost, so the retry meets the new object."""
    (store.work / "small.bin").write_bytes(b"small")
    key = f"lost-{source}"
    address = f"s3://{BUCKET}/{key}"
    store.s3.delete_object(Bucket=BUCKET, Key=key)
    store.ok("seal", source, "-o", "local.sealed", "--force", "--to", "me", "--sign", "publisher")
    if job == "rewrap":
        store.seal(key, source)
    arguments = {
        "seal": ["seal", source, "-o", address, "--to", "me", "--sign", "publisher"],
        "rewrap": ["rewrap", address, "--add", "two"],
        "copy": ["copy", "local.sealed", address],
    }[job]
    store.proxy.reset(times(1, DROP_AFTER, writes))
    store.ok(*arguments)
    assert sum(seen.fault == DROP_AFTER for seen in store.proxy.seen) == 1
    store.proxy.reset()
    store.ok("verify", address, "--signer", "publisher")
    assert len(json.loads(store.ok("--json", "inspect", address))["recipients"]) == (2 if job == "rewrap" else 1)


def test_a_lost_answer_is_no_failure_where_all_parts_are_full(store: Store) -> None:
    """The length of the object is a multiple of the part size."""
    store.ok("keys", "generate", "--name", "fixed", "--kind", "sign", "--suite", "mldsa65-ed25519")
    seal = ["seal", "full.bin", "--to", "me", "--sign", "fixed", "-o"]
    (store.work / "full.bin").write_bytes(bytes(16_000_000))
    store.ok(*seal, "local.sealed", "--force")
    added = (store.work / "local.sealed").stat().st_size - 16_000_000
    (store.work / "full.bin").write_bytes(bytes((16 << 20) - added))
    store.proxy.reset(times(1, DROP_AFTER, writes))
    store.ok(*seal, f"s3://{BUCKET}/full.sealed")
    assert store.keys()["full.sealed"] == 16 << 20
    store.proxy.reset()
    store.ok("verify", f"s3://{BUCKET}/full.sealed", "--signer", "fixed")


@pytest.mark.parametrize("source", ["m.bin", "small.bin"])
def test_another_clients_object_is_not_mistaken_for_a_lost_answer(store: Store, source: str) -> None:
    """An object of the same length that another client wrote in the meantime stays, and the command fails."""
    (store.work / "small.bin").write_bytes(b"small")
    key = f"race-{source}"
    store.s3.delete_object(Bucket=BUCKET, Key=key)
    store.ok("seal", source, "-o", "local.sealed", "--force", "--to", "me", "--sign", "publisher")
    other = (store.work / "local.sealed").read_bytes()
    put = []

    def rule(seen: Seen) -> str:
        if seen.method == "PUT" and not put:
            put.append(store.s3.put_object(Bucket=BUCKET, Key=key, Body=other))
        return PASS

    store.proxy.reset(rule)
    store.refused(2, "seal", source, "-o", f"s3://{BUCKET}/{key}", "--to", "me", "--sign", "publisher")
    assert put and store.bytes_of(key) == other


def test_a_false_success_of_a_rewrap_is_a_failure(store: Store) -> None:
    """A server in between answers the last request with a false success."""
    store.seal("m.sealed")
    before = store.bytes_of("m.sealed")
    store.proxy.reset(times(1, DONE, lambda seen: seen.method == "POST" and "uploadId=" in seen.path))
    store.refused(3, "rewrap", ADDRESS, "--add", "two")
    assert store.bytes_of("m.sealed") == before


def test_lost_parts_are_sent_again(store: Store) -> None:
    """The store lost parts and reports it when the upload is completed; the next run starts over."""
    store.ok("seal", "m.bin", "-o", "local.sealed", "--force", "--to", "me", "--sign", "publisher")
    store.proxy.reset(lambda seen: BAD if seen.method == "POST" and "uploadId=" in seen.path else PASS)
    assert "400" in store.refused(3, "copy", "local.sealed", ADDRESS)
    store.proxy.reset()
    done = json.loads(store.ok("--json", "copy", "local.sealed", ADDRESS))
    assert done["resumed_bytes"] == 0
    assert store.opens(ADDRESS) and store.uploads() == []


@pytest.mark.parametrize("fault", [UNAVAILABLE, EXPIRED, DENIED, THROTTLED, MUMBLING])
def test_a_store_that_fails_at_the_end_keeps_the_parts(store: Store, fault: str) -> None:
    """The store fails without reporting a problem with the parts, so the next run does not send them again."""
    store.ok("seal", "m.bin", "-o", "local.sealed", "--force", "--to", "me", "--sign", "publisher")
    store.proxy.reset(lambda seen: fault if seen.method == "POST" and "uploadId=" in seen.path else PASS)
    assert str(ANSWERS[fault][0]) in store.refused(3, "copy", "local.sealed", ADDRESS)
    store.proxy.reset()
    done = json.loads(store.ok("--json", "copy", "local.sealed", ADDRESS))
    assert done["resumed_bytes"] == done["bytes"]
    assert not any(seen.is_part for seen in store.proxy.seen)
    assert store.opens(ADDRESS) and store.uploads() == []


@pytest.mark.parametrize("source", ["m.bin", "small.bin"])
def test_a_rerun_of_a_finished_copy_succeeds(store: Store, source: str) -> None:
    """A rerun after a kill at the last moment succeeds, although the object exists; a different artifact there is refused."""
    (store.work / "small.bin").write_bytes(b"small")
    address = f"s3://{BUCKET}/there-{source}"
    for name in ("local.sealed", "other.sealed"):
        store.ok("seal", source, "-o", name, "--force", "--to", "me", "--sign", "publisher")
    store.proxy.reset()
    store.ok("copy", "local.sealed", address)
    store.proxy.reset()
    done = json.loads(store.ok("--json", "copy", "local.sealed", address))
    assert done["resumed_bytes"] == done["bytes"] and all(seen.method in ("HEAD", "GET") for seen in store.proxy.seen)
    before = store.bytes_of(f"there-{source}")
    assert "already exists" in store.refused(2, "copy", "other.sealed", address)
    assert store.bytes_of(f"there-{source}") == before
    store.s3.delete_object(Bucket=BUCKET, Key=f"there-{source}")


def test_a_store_that_stays_unreachable_is_an_error(store: Store) -> None:
    """The command fails in bounded time, with a clear error and without output."""
    store.seal("m.sealed")
    before = store.bytes_of("m.sealed")
    store.proxy.reset(lambda seen: UNAVAILABLE)
    for arguments in (["open", ADDRESS, "-o", "never.bin"], ["rewrap", ADDRESS, "--add", "two"], ["seal", "m.bin", "-o", ADDRESS, "--force", "--to", "me"]):
        store.proxy.seen.clear()
        start = time.monotonic()
        refused = store.refused(3, *arguments)
        assert "503" in refused and time.monotonic() - start < 60
        assert 2 <= len(store.proxy.seen) <= 40
    assert not (store.work / "never.bin").exists()
    assert store.bytes_of("m.sealed") == before


def test_a_short_answer_is_detected(store: Store) -> None:
    """A complete answer of half the length, which causes no connection error."""
    store.seal("m.sealed")
    store.proxy.reset(times(1, LIE, lambda seen: body_read(seen) and len(store.proxy.seen) > 6))
    refused = store.refused(3, "open", ADDRESS, "-o", "never.bin")
    assert "the wrong length" in refused
    assert not (store.work / "never.bin").exists()


def test_parts_that_keep_failing_leave_nothing(store: Store) -> None:
    store.proxy.reset(lambda seen: UNAVAILABLE if "partNumber=3" in seen.path else PASS)
    store.refused(3, "seal", "m.bin", "-o", ADDRESS, "--to", "me", "--sign", "publisher")
    assert store.keys() == {} and store.uploads() == []


def test_a_killed_copy_resumes(store: Store) -> None:
    """Killed after some parts were sent: no object is visible, and the second run sends only the other parts."""
    store.ok("seal", "m.bin", "-o", "local.sealed", "--force", "--to", "me", "--sign", "publisher")
    process = None

    def rule(seen: Seen) -> str:
        """Let three parts pass; the others wait for the kill."""
        if seen.is_part and sum(other.is_part for other in store.proxy.seen) >= 3:
            time.sleep(1.5)
            return DROP
        return PASS

    store.proxy.reset(rule)
    process = store.start("copy", "local.sealed", ADDRESS)
    time.sleep(1.2)
    process.kill()
    process.wait()
    assert store.keys() == {} and store.uploads() == ["m.sealed"]
    time.sleep(1.5)
    store.proxy.reset()
    done = json.loads(store.ok("--json", "copy", "local.sealed", ADDRESS))
    parts = [seen for seen in store.proxy.seen if seen.is_part]
    assert done["resumed_bytes"] >= 8 << 20
    assert sum(part.sent for part in parts) == done["bytes"] - done["resumed_bytes"]
    assert store.opens(ADDRESS) and store.uploads() == []
    assert not list((store.work / "home" / "uploads").iterdir())


@pytest.mark.parametrize("when", ["part", "complete"])
def test_a_forgotten_upload_is_sent_again(store: Store, when: str) -> None:
    """The store's lifecycle rules removed the parts in the meantime; S3 answers NoSuchUpload, moto with an error."""
    store.ok("seal", "m.bin", "-o", "local.sealed", "--force", "--to", "me", "--sign", "publisher")
    store.proxy.reset(lambda seen: UNAVAILABLE if "partNumber=5" in seen.path else PASS)
    store.refused(3, "copy", "local.sealed", ADDRESS)
    (upload,) = store.s3.list_multipart_uploads(Bucket=BUCKET)["Uploads"]
    forgotten = upload["UploadId"]
    store.proxy.reset(lambda seen: GONE if forgotten in seen.path and (seen.is_part if when == "part" else seen.method == "POST") else PASS)
    store.ok("copy", "local.sealed", ADDRESS)
    assert any(seen.fault == GONE for seen in store.proxy.seen)
    assert store.opens(ADDRESS)


def test_another_file_is_not_mixed_into_an_unfinished_copy(store: Store) -> None:
    store.ok("seal", "m.bin", "-o", "local.sealed", "--force", "--to", "me", "--sign", "publisher")
    store.proxy.reset(lambda seen: UNAVAILABLE if "partNumber=5" in seen.path else PASS)
    store.refused(3, "copy", "local.sealed", ADDRESS)
    store.ok("seal", "m.bin", "-o", "local.sealed", "--force", "--to", "me", "--sign", "publisher")
    store.proxy.reset()
    done = json.loads(store.ok("--json", "copy", "local.sealed", ADDRESS))
    assert done["resumed_bytes"] == 0
    assert store.opens(ADDRESS) and store.uploads() == []


@pytest.mark.parametrize("job", ["seal", "rewrap", "copy"])
def test_a_kill_at_any_request_leaves_the_old_object_or_the_new_one(store: Store, job: str) -> None:
    """Killed at each request from the first to the last, before or after it reaches the store."""
    store.seal("m.sealed")
    old = store.bytes_of("m.sealed")
    store.ok("seal", "m.bin", "-o", "local.sealed", "--force", "--to", "me", "--sign", "publisher")
    arguments = {
        "seal": ["seal", "m.bin", "-o", ADDRESS, "--force", "--to", "me", "--sign", "publisher"],
        "rewrap": ["rewrap", ADDRESS, "--to", "me", "--to", "two"],
        "copy": ["copy", "local.sealed", ADDRESS, "--force"],
    }[job]
    store.proxy.reset()
    store.ok(*arguments)
    last = next(at for at, seen in enumerate(store.proxy.seen) if seen.method == "POST" and "uploadId=" in seen.path)
    moments = [(0, DROP), (last // 3, DROP_AFTER), (last // 2, DROP), (last - 1, DROP_AFTER), (last, DROP), (last, DROP_AFTER)]
    outcomes = set()
    for moment, fault in moments:
        store.s3.put_object(Bucket=BUCKET, Key="m.sealed", Body=old)
        shutil.rmtree(store.work / "home" / "uploads", ignore_errors=True)
        outcomes.add(killed_at(store, arguments, moment, fault))
        assert store.keys().keys() == {"m.sealed"}
        assert store.opens(ADDRESS)
    assert outcomes == {"old", "new"}


def killed_at(store: Store, arguments: list[str], moment: int, fault: str) -> str:
    """Kill the command at a request, and return which object exists."""
    old = store.bytes_of("m.sealed")
    process: list[subprocess.Popen[str]] = []
    ready = threading.Event()

    def rule(_: Seen) -> str:
        if len(store.proxy.seen) < moment:
            return PASS
        ready.wait(5)
        process[0].kill()
        return fault

    store.proxy.reset(rule)
    process.append(store.start(*arguments))
    ready.set()
    process[0].wait()
    store.proxy.settle()
    store.proxy.reset()
    return "old" if store.bytes_of("m.sealed") == old else "new"
