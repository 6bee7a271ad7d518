"""Sealed artifacts in an S3 store: the objects, the traffic, and the refusals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from urllib.parse import urlencode

import pytest

from bucket import BUCKET, CONTENT, Store
from faulty_proxy import DENIED, NOT_IMPLEMENTED, PASS, Seen

MIB = 1 << 20


def test_an_object_is_sealed_read_and_opened_in_place(store: Store) -> None:
    """Only the object is created, and it is identical to a local file."""
    address = store.seal("a/m.sealed")
    assert store.keys().keys() == {"a/m.sealed"} and store.uploads() == []
    assert "intact" in store.ok("verify", address, "--signer", "publisher")
    assert store.opens(address)
    (store.work / "local.sealed").write_bytes(store.bytes_of("a/m.sealed"))
    assert store.opens("local.sealed")


def test_inspect_fetches_only_the_tail(store: Store) -> None:
    address = store.seal("m.sealed")
    store.proxy.reset()
    store.ok("inspect", address)
    assert sum(seen.received for seen in store.proxy.seen if seen.method == "GET") < 64_000


def test_a_model_is_inspected_without_its_tensors(store: Store) -> None:
    header = json.dumps({"w": {"dtype": "U8", "shape": [len(CONTENT)], "data_offsets": [0, len(CONTENT)]}}).encode()
    (store.work / "w.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + CONTENT)
    address = store.seal("w.sealed", "w.safetensors")
    store.proxy.reset()
    found = json.loads(store.ok("--json", "inspect", "--model", address))
    assert found["model"]["tensors"][0]["shape"] == [len(CONTENT)]
    assert sum(seen.received for seen in store.proxy.seen) < 3 * MIB


def test_opening_reads_ahead_and_reads_everything_once(store: Store) -> None:
    address = store.seal("m.sealed")
    store.proxy.reset()
    store.ok("verify", address, "--signer", "publisher")
    ranges = [seen for seen in store.proxy.seen if seen.method == "GET"]
    assert len(CONTENT) < sum(seen.received for seen in ranges) < len(CONTENT) + MIB
    assert len(ranges) < 20


def test_recipients_change_without_moving_the_body(store: Store) -> None:
    """The store copies the body, so only the tail is transferred, and the body stays byte for byte the same."""
    address = store.seal("m.sealed")
    before = store.bytes_of("m.sealed")
    store.proxy.reset()
    store.ok("rewrap", address, "--add", "two")
    moved = sum(seen.sent + seen.received for seen in store.proxy.seen)
    assert moved < 100_000, moved
    assert any(seen.is_copy for seen in store.proxy.seen)
    after = store.bytes_of("m.sealed")
    assert after[: len(CONTENT)] == before[: len(CONTENT)] and after != before
    found = json.loads(store.ok("--json", "inspect", address))
    assert len(found["recipients"]) == 2 and found["leftover_bytes"] == 0
    store.ok("rewrap", address, "--remove", "two")
    assert len(json.loads(store.ok("--json", "inspect", address))["recipients"]) == 1
    assert store.opens(address) and store.uploads() == []


@pytest.mark.parametrize("source", ["m.bin", "small.bin"])
def test_object_attributes_survive_a_change_of_recipients(store: Store, source: str) -> None:
    (store.work / "small.bin").write_bytes(b"small")
    store.ok("seal", source, "-o", "local.sealed", "--force", "--to", "me", "--sign", "publisher")
    said = {"ContentType": "application/x-model", "CacheControl": "no-store", "Metadata": {"owner": "team-a", "stage": "prod"}}
    said["StorageClass"] = "STANDARD_IA"
    tags = {"team": "a", "odd +=@": "a /: b"}
    body = (store.work / "local.sealed").read_bytes()
    store.s3.put_object(Bucket=BUCKET, Key="said.sealed", Body=body, Tagging=urlencode(tags), **said)
    # Tags that S3 counts but does not return would be lost.
    store.proxy.reset(lambda seen: DENIED if seen.method == "GET" and "tagging" in seen.path else PASS)
    refused = store.refused(3, "rewrap", f"s3://{BUCKET}/said.sealed", "--add", "two")
    assert "AccessDenied" in refused and store.bytes_of("said.sealed") == body and store.uploads() == []
    store.proxy.reset()
    store.ok("rewrap", f"s3://{BUCKET}/said.sealed", "--add", "two")
    found = store.s3.head_object(Bucket=BUCKET, Key="said.sealed")
    assert {name: found[name] for name in said} == said
    found = store.s3.get_object_tagging(Bucket=BUCKET, Key="said.sealed")["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in found} == tags
    assert len(json.loads(store.ok("--json", "inspect", f"s3://{BUCKET}/said.sealed"))["recipients"]) == 2


def test_a_short_object_is_rewrapped_in_one_request(store: Store) -> None:
    (store.work / "short").write_bytes(b"short")
    address = store.seal("short.sealed", "short")
    store.ok("rewrap", address, "--add", "two")
    assert len(json.loads(store.ok("--json", "inspect", address))["recipients"]) == 2
    store.ok("open", address, "-o", "short.out", "--force")
    assert (store.work / "short.out").read_bytes() == b"short"


def test_keys_may_contain_anything_that_a_store_allows(store: Store) -> None:
    """Spaces, other scripts and percent signs, also where a header contains the key."""
    store.ok("seal", "m.bin", "-o", f"s3://{BUCKET}/a%20b/%C3%BC+%2541.sealed", "--to", "me", "--sign", "publisher")
    assert store.keys().keys() == {"a b/ü+%41.sealed"}
    done = json.loads(store.ok("--json", "rewrap", f"s3://{BUCKET}/a%20b/", "--add", "two"))
    assert done["changed"] == 1
    assert store.opens(f"s3://{BUCKET}/a%20b/%C3%BC+%2541.sealed")


def test_a_server_without_conditional_completion_works(store: Store) -> None:
    address = store.seal("m.sealed")
    store.proxy.reset(lambda seen: NOT_IMPLEMENTED if seen.method == "POST" and "if-match" in seen.headers else PASS)
    store.ok("rewrap", address, "--add", "two")
    assert any(seen.fault == NOT_IMPLEMENTED for seen in store.proxy.seen)
    assert len(json.loads(store.ok("--json", "inspect", address))["recipients"]) == 2


def test_an_existing_object_is_kept(store: Store) -> None:
    address = store.seal("m.sealed")
    before = store.bytes_of("m.sealed")
    refused = store.refused(2, "seal", "m.bin", "-o", address, "--to", "me", "--sign", "publisher")
    assert "already exists" in refused and "--force" in refused
    assert store.bytes_of("m.sealed") == before and store.uploads() == []
    store.seal("m.sealed", "m.bin", "--force")
    assert store.bytes_of("m.sealed") != before and store.opens(address)


def test_an_object_replaced_during_a_read_is_not_mixed(store: Store) -> None:
    """The second version replaces the first after some of its ranges were read."""
    address = store.seal("m.sealed")
    first = store.bytes_of("m.sealed")
    store.seal("m.sealed", "m.bin", "--force")
    second = store.bytes_of("m.sealed")
    store.s3.put_object(Bucket=BUCKET, Key="m.sealed", Body=first)
    count = [0]

    def rule(seen: object) -> str:
        count[0] += getattr(seen, "method") == "GET"
        if count[0] == 6:
            store.s3.put_object(Bucket=BUCKET, Key="m.sealed", Body=second)
        return "pass"

    store.proxy.reset(rule)
    refused = store.refused(3, "open", address, "-o", "mixed.bin")
    assert "replaced in the meantime" in refused
    assert not (store.work / "mixed.bin").exists()


def test_a_rewrap_does_not_undo_another_change(store: Store) -> None:
    """The object changes after the rewrap has read it; the other change is kept."""
    address = store.seal("m.sealed")
    before = store.bytes_of("m.sealed")
    store.seal("m.sealed", "m.bin", "--force")
    other = store.bytes_of("m.sealed")
    store.s3.put_object(Bucket=BUCKET, Key="m.sealed", Body=before)
    done = [False]

    def rule(seen: object) -> str:
        if getattr(seen, "is_part") and not done[0]:
            done[0] = True
            store.s3.put_object(Bucket=BUCKET, Key="m.sealed", Body=other)
        return "pass"

    store.proxy.reset(rule)
    assert "replaced in the meantime" in store.refused(3, "rewrap", address, "--add", "two")
    assert store.bytes_of("m.sealed") == other and store.uploads() == []


@pytest.fixture
def folder(store: Store) -> str:
    root = store.work / "folder"
    shutil.rmtree(root, ignore_errors=True)
    (root / "sub").mkdir(parents=True)
    (root / "model.bin").write_bytes(CONTENT)
    (root / "config.json").write_text("{}")
    (root / "sub" / "tokens").write_text("a b")
    return store.seal("v1/", "folder")


def test_a_folder_is_sealed_below_a_prefix(store: Store, folder: str) -> None:
    assert store.keys().keys() == {f"v1/{name}" for name in ("config.json.sealed", "manifest.casemate", "model.bin.sealed", "sub/tokens.sealed")}
    assert "3 files, complete and intact" in store.ok("verify", folder, "--signer", "publisher")
    shutil.rmtree(store.work / "back", ignore_errors=True)
    store.ok("open", folder.rstrip("/"), "-o", "back")
    assert (store.work / "back/model.bin").read_bytes() == CONTENT and (store.work / "back/sub/tokens").read_text() == "a b"
    assert "give each version its own prefix" in store.refused(2, "seal", "folder", "-o", folder, "--to", "me", "--sign", "publisher", "--force")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("drop", "sub/tokens is missing"),
        ("add", "extra.sealed does not belong"),
        ("swap", "config.json is not the version in the manifest"),
        ("rename", "does not belong"),
    ],
)
def test_a_changed_folder_is_refused(store: Store, folder: str, change: str, expected: str) -> None:
    names = {"Bucket": BUCKET}
    if change in ("drop", "rename"):
        store.s3.delete_object(**names, Key="v1/sub/tokens.sealed")
    if change in ("add", "rename"):
        store.s3.copy_object(**names, Key="v1/extra.sealed", CopySource=f"{BUCKET}/v1/config.json.sealed")
    if change == "swap":
        store.s3.copy_object(**names, Key="v1/config.json.sealed", CopySource=f"{BUCKET}/v1/model.bin.sealed")
    assert expected in store.refused(1, "open", folder, "-o", "never")
    assert not (store.work / "never").exists()


def test_a_prefix_is_rewrapped_and_resumed_after_an_interruption(store: Store, folder: str) -> None:
    single = store.seal("other/m.sealed")
    left = [4]

    def rule(seen: object) -> str:
        """The store becomes unreachable after some objects."""
        if getattr(seen, "method") in ("PUT", "POST"):
            left[0] -= 1
        return "drop" if left[0] < 0 else "pass"

    store.proxy.reset(rule)
    refused = store.refused(1, "rewrap", f"s3://{BUCKET}/", "--add", "two")
    assert "were not rewrapped" in refused
    store.proxy.reset()
    done = json.loads(store.ok("--json", "rewrap", f"s3://{BUCKET}/", "--add", "two"))
    assert done["changed"] >= 1 and done["skipped"] >= 1 and done["changed"] + done["skipped"] == 5
    done = json.loads(store.ok("--json", "rewrap", f"s3://{BUCKET}/", "--add", "two"))
    assert (done["changed"], done["skipped"]) == (0, 5)
    assert store.opens(single)
    store.ok("verify", folder, "--signer", "publisher")


def test_an_object_that_is_swapped_while_its_folder_is_rewrapped_does_not_get_its_recipients(store: Store, folder: str) -> None:
    """The object is swapped after the folder was checked and before the object is rewrapped."""
    (store.work / "secret").write_bytes(b"secret")
    store.seal("planted.sealed", "secret")
    planted = store.bytes_of("planted.sealed")

    def rule(seen: Seen) -> str:
        if seen.method in ("PUT", "POST") and store.bytes_of("v1/model.bin.sealed") != planted:
            store.s3.put_object(Bucket=BUCKET, Key="v1/model.bin.sealed", Body=planted)
        return PASS

    store.proxy.reset(rule)
    refused = store.refused(1, "rewrap", f"s3://{BUCKET}/v1/", "--add", "two")
    assert "is not the object that was checked with its folder" in refused
    assert store.bytes_of("v1/model.bin.sealed") == planted


@pytest.mark.parametrize("options", [[], ["--signer", "publisher"]])
def test_an_object_put_into_a_folder_does_not_get_its_recipients(store: Store, folder: str, options: list[str]) -> None:
    """Storage replaces a file with another artifact of the same publisher, and the whole prefix is rewrapped."""
    (store.work / "secret").write_bytes(b"secret")
    store.seal("planted.sealed", "secret")
    store.s3.copy_object(Bucket=BUCKET, Key="v1/config.json.sealed", CopySource=f"{BUCKET}/planted.sealed")
    before = {key: store.bytes_of(key) for key in store.keys("v1/")}
    assert "not the version in the manifest" in store.refused(1, "rewrap", folder, "--add", "two", *options)
    assert {key: store.bytes_of(key) for key in store.keys("v1/")} == before


def test_an_object_that_is_hidden_while_its_folder_is_checked_does_not_get_its_recipients(store: Store, folder: str) -> None:
    """Storage omits a planted object from the listing that the folder is compared with."""
    (store.work / "secret").write_bytes(b"secret")
    store.seal("planted.sealed", "secret")
    planted, key, listings = store.bytes_of("planted.sealed"), "v1/a.sealed", [0]
    store.s3.put_object(Bucket=BUCKET, Key=key, Body=planted)

    def rule(seen: Seen) -> str:
        if "list-type=2" in seen.path:
            listings[0] += 1
            if listings[0] == 2:
                store.s3.delete_object(Bucket=BUCKET, Key=key)
        elif listings[0] == 2 and key not in store.keys():
            store.s3.put_object(Bucket=BUCKET, Key=key, Body=planted)
        return PASS

    store.proxy.reset(rule)
    refused = store.refused(1, "rewrap", f"s3://{BUCKET}/v1/", "--add", "two")
    assert f"{key}: it is not the object that was checked with its folder" in refused
    assert store.bytes_of(key) == planted


def test_a_folder_whose_manifest_is_not_listed_is_not_changed(store: Store, folder: str) -> None:
    """If a bucket has a manifest but its listing omits it, the files of the folder are not treated as single files."""
    (store.work / "secret").write_bytes(b"secret")
    store.seal("planted.sealed", "secret")
    store.s3.copy_object(Bucket=BUCKET, Key="v1/a.sealed", CopySource=f"{BUCKET}/planted.sealed")

    def rule(seen: Seen) -> str:
        if "list-type=2" in seen.path:
            store.s3.delete_object(Bucket=BUCKET, Key="v1/manifest.casemate")
        return PASS

    before = {key: store.bytes_of(key) for key in store.keys("v1/") if "manifest" not in key}
    store.proxy.reset(rule)
    assert "lists no manifest" in store.refused(1, "rewrap", f"s3://{BUCKET}/v1", "--add", "two")
    assert {key: store.bytes_of(key) for key in store.keys("v1/")} == before


@pytest.mark.parametrize("name", ["a b", "run#1", "q?x", "p%41"])
def test_folders_with_names_that_an_address_escapes_are_rewrapped_below_a_prefix(store: Store, folder: str, name: str) -> None:
    for key in store.keys("v1/"):
        store.s3.copy_object(Bucket=BUCKET, Key=key.replace("v1", f"odd/{name}"), CopySource={"Bucket": BUCKET, "Key": key})
        if "config" not in key:
            # A decoy at the name as an unescaped address: an incomplete folder.
            store.s3.copy_object(Bucket=BUCKET, Key=key.replace("v1", "odd/pA"), CopySource={"Bucket": BUCKET, "Key": key})
    refused = store.refused(1, "rewrap", f"s3://{BUCKET}/odd/", "--add", "two")
    assert "odd/pA" in refused and "1 objects or folders were not rewrapped" in refused
    changed = store.bytes_of(f"odd/{name}/config.json.sealed")
    assert changed != store.bytes_of("v1/config.json.sealed")


@pytest.mark.parametrize("word", ["1", "yes", "TRUE"])
def test_every_spelling_that_allows_plain_http_works_everywhere(store: Store, word: str) -> None:
    address = store.seal("m.sealed")
    done = store.run("rewrap", address, "--add", "two", AWS_ALLOW_HTTP=word)
    assert done.returncode == 0, done.stderr
    assert store.proxy.seen and any(seen.is_copy for seen in store.proxy.seen)


def test_a_profile_supplies_what_the_environment_lacks(store: Store, tmp_path: Path) -> None:
    """The keys in `~/.aws` are used. The environment takes precedence, and a profile that needs more than keys is refused by name."""
    address = store.seal("m.sealed")
    aws = tmp_path / ".aws"
    aws.mkdir()
    (aws / "credentials").write_text("# mine\n[default]\naws_access_key_id = first\naws_secret_access_key = a/b+c\n[half]\naws_access_key_id = x\n")
    (aws / "config").write_text(
        f"[profile work]\nregion = eu-west-1\nendpoint_url = {store.proxy.url}\ns3 =\n    addressing_style = path\n"
        "aws_access_key_id=second\naws_secret_access_key=d\naws_session_token=token\n"
        "[profile sso]\nsso_session = mine\n[default]\nregion = us-east-1\n"
    )
    gone = {"HOME": str(tmp_path), "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}

    def signed_by(**more: str) -> str:
        store.proxy.reset()
        done = store.run("inspect", address, **gone | more)
        assert done.returncode == 0, done.stderr
        return store.proxy.seen[0].headers["authorization"]

    assert "Credential=first/" in signed_by() and "/us-east-1/" in signed_by()
    work = signed_by(AWS_PROFILE="work", AWS_REGION="", AWS_ENDPOINT="")
    assert "Credential=second/" in work and "/eu-west-1/" in work
    assert store.proxy.seen[0].headers["x-amz-security-token"] == "token"
    for region in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        assert "/us-west-2/" in signed_by(**{"AWS_PROFILE": "work", "AWS_REGION": "", region: "us-west-2"})
    third = signed_by(AWS_PROFILE="sso", AWS_ACCESS_KEY_ID="third", AWS_SECRET_ACCESS_KEY="x")
    assert "Credential=third/" in third and "x-amz-security-token" not in store.proxy.seen[0].headers
    (tmp_path / "elsewhere").write_text("[default]\naws_access_key_id = fourth\naws_secret_access_key = x\n")
    assert "Credential=fourth/" in signed_by(AWS_SHARED_CREDENTIALS_FILE=str(tmp_path / "elsewhere"))
    for name, rule in [("sso", "through sso_session, which is not supported"), ("none", "is in neither"), ("half", "only half of an access key")]:
        assert rule in store.refused(2, "inspect", address, **gone, AWS_PROFILE=name)
    (aws / "credentials").write_bytes(b"[default\nsecret-of-somebody")
    refused = store.refused(3, "inspect", address, **gone)
    assert "credentials" in refused and "secret-of-somebody" not in refused


def test_variables_of_other_programs_are_not_settings(store: Store) -> None:
    """Variables such as `TOKEN` belong to other programs and are not sent anywhere."""
    address = store.seal("m.sealed")
    store.proxy.reset()
    done = store.run("inspect", address, TOKEN="somebodys-secret", ENDPOINT="http://127.0.0.1:9", TIMEOUT="30")
    assert done.returncode == 0, done.stderr
    assert not any("somebodys-secret" in str(seen.headers) + seen.path for seen in store.proxy.seen)


def test_copies_work_in_both_directions_and_report_existing_objects(store: Store, folder: str) -> None:
    shutil.rmtree(store.work / "local", ignore_errors=True)
    store.ok("copy", folder, "local")
    store.ok("verify", "local", "--signer", "publisher")
    done = json.loads(store.ok("--json", "copy", "local", f"s3://{BUCKET}/v2"))
    assert done["files"] == 4 and done["resumed_bytes"] == 0
    store.ok("verify", f"s3://{BUCKET}/v2", "--signer", "publisher")
    # Repeating a finished copy succeeds, in both directions; a different version there is not replaced.
    for source, target in [("local", f"s3://{BUCKET}/v2"), (f"s3://{BUCKET}/v2", "local")]:
        again = json.loads(store.ok("--json", "copy", source, target))
        assert (again["files"], again["resumed_bytes"]) == (4, again["bytes"]) and again["bytes"] > len(CONTENT)
    (store.work / "local/more.sealed").write_bytes(store.bytes_of("v1/model.bin.sealed"))
    assert "exists" in store.refused(2, "copy", f"s3://{BUCKET}/v2", "local").lower()
    (store.work / "local/more.sealed").unlink()
    plan = json.loads(store.ok("--json", "rewrap", f"s3://{BUCKET}/v2/", "--add", "two", "--dry-run"))
    assert (plan["schema"], plan["changed"]) == ("casemate.rewrap-planned-prefix/1", 4)
    assert json.loads(store.ok("--json", "copy", "local", f"s3://{BUCKET}/v2"))["resumed_bytes"] > len(CONTENT)
    store.ok("rewrap", "local", "--add", "two")
    assert "already contains 4 objects" in store.refused(2, "copy", "local", f"s3://{BUCKET}/v2")
    assert "exists" in store.refused(2, "copy", f"s3://{BUCKET}/v2", "local").lower()
    store.ok("rewrap", "local", "--remove", "two")
    shutil.rmtree(store.work / "local")
    store.ok("copy", f"s3://{BUCKET}/v2", "local")
    for _ in range(2):
        store.ok("copy", f"s3://{BUCKET}/v1/model.bin.sealed", f"s3://{BUCKET}/single/")
    assert store.opens(f"s3://{BUCKET}/single/model.bin.sealed")
    for _ in range(2):
        store.ok("copy", f"s3://{BUCKET}/single/model.bin.sealed", ".")
    damaged = bytearray((store.work / "model.bin.sealed").read_bytes())
    damaged[5000] ^= 1
    (store.work / "model.bin.sealed").write_bytes(damaged)
    assert "exists" in store.refused(2, "copy", f"s3://{BUCKET}/single/model.bin.sealed", ".").lower()
    store.ok("copy", f"s3://{BUCKET}/single/model.bin.sealed", ".", "--force")
    assert (store.work / "model.bin.sealed").read_bytes() == store.bytes_of("single/model.bin.sealed")
    (store.work / "model.bin.sealed").unlink()
    assert "cannot replace a folder" in store.refused(2, "copy", "local", f"s3://{BUCKET}/v2", "--force")
    store.s3.delete_object(Bucket=BUCKET, Key="v2/manifest.casemate")
    done = json.loads(store.ok("--json", "copy", "local", f"s3://{BUCKET}/v2"))
    assert done["resumed_bytes"] > len(CONTENT)


def test_inspecting_a_prefix_lists_unsealed_objects_too(store: Store, folder: str) -> None:
    """Without a key: artifacts and folders with their signers and recipients, and objects that are not sealed."""
    store.seal("single.sealed")
    for key in ("notes/plain.txt", "v1/sub/beside.txt"):
        store.s3.put_object(Bucket=BUCKET, Key=key, Body=b"readable")
    said = store.run("--json", "inspect", f"s3://{BUCKET}/", "--passphrase-file", "/nonexistent")
    assert said.returncode == 0, said.stderr
    found = json.loads(said.stdout)
    rows = {row["path"]: row for row in found["artifacts"]}
    assert rows.keys() == {"single.sealed", "v1"} and found["not_sealed"] == ["notes/plain.txt", "v1/sub/beside.txt"]
    assert (rows["v1"]["kind"], rows["single.sealed"]["kind"]) == ("folder", "file")
    assert rows["single.sealed"]["content_bytes"] == len(CONTENT)
    assert all(len(row["recipients"]) == 1 and len(row["publisher"]) == 64 for row in rows.values())
    text = store.ok("inspect", f"s3://{BUCKET}/")
    assert "not sealed: 2 objects\n  notes/plain.txt" in text and "v1\n  folder" in text
    # An unreadable artifact is named, and the rest is listed.
    store.s3.put_object(Bucket=BUCKET, Key="broken.sealed", Body=b"not an artifact at all")
    said = store.run("--json", "inspect", f"s3://{BUCKET}/")
    assert said.returncode == 1 and "1 artifact cannot be read" in said.stderr
    rows = {row["path"]: row for row in json.loads(said.stdout)["artifacts"]}
    assert "footer" in rows["broken.sealed"]["error"] and len(rows) == 3
    assert "no objects below" in store.refused(1, "inspect", f"s3://{BUCKET}/empty/")


def test_everything_below_a_prefix_is_copied_and_nothing_else(store: Store, folder: str) -> None:
    """Copies artifacts and folders in both directions and between prefixes, also after an interruption, and skips files that are not sealed."""
    for name in ("all", "odd"):
        shutil.rmtree(store.work / name, ignore_errors=True)
    store.seal("single.sealed")
    store.seal("deep/er/one.sealed")
    for key in ("plain.txt", "v1/beside.txt"):
        store.s3.put_object(Bucket=BUCKET, Key=key, Body=b"readable")
    done = json.loads(store.ok("--json", "copy", f"s3://{BUCKET}/", "all"))
    assert (done["files"], done["resumed_bytes"]) == (6, 0)
    assert done["not_sealed"] == ["plain.txt", "v1/beside.txt"]
    found = sorted(str(path.relative_to(store.work / "all")) for path in (store.work / "all").rglob("*") if path.is_file())
    sealed = ["config.json.sealed", "manifest.casemate", "model.bin.sealed", "sub/tokens.sealed"]
    assert found == ["deep/er/one.sealed", "single.sealed", *(f"v1/{name}" for name in sealed)]
    store.ok("verify", "all/v1", "--signer", "publisher")
    (store.work / "all/deep/er/one.sealed").unlink()
    (store.work / "all/notes.txt").write_text("not sealed")
    again = json.loads(store.ok("--json", "copy", f"s3://{BUCKET}/", "all"))
    assert again["files"] == 6 and 0 < again["resumed_bytes"] < again["bytes"]
    up = json.loads(store.ok("--json", "copy", "all", f"s3://{BUCKET}/backup/"))
    assert up["files"] == 6 and up["not_sealed"] == ["notes.txt"]
    across = json.loads(store.ok("--json", "copy", f"s3://{BUCKET}/backup/", f"s3://{BUCKET}/other/"))
    assert across["files"] == 6 and across["not_sealed"] == []
    store.ok("verify", f"s3://{BUCKET}/other/v1", "--signer", "publisher")
    assert not any(key.endswith(".txt") for key in store.keys() if key.startswith(("backup/", "other/")))
    # A folder where a file belongs is in the way, and takes no file into it.
    (store.work / "all/single.sealed").unlink()
    (store.work / "all/single.sealed").mkdir()
    assert "all/single.sealed" in store.refused(2, "copy", f"s3://{BUCKET}/", "all")
    (store.work / "all/single.sealed").rmdir()
    # A link below the target is not followed, nor is one in the source.
    (store.work / "elsewhere").mkdir(exist_ok=True)
    shutil.rmtree(store.work / "all/deep")
    (store.work / "all/deep").symlink_to(store.work / "elsewhere")
    assert "all/deep is a symbolic link" in store.refused(2, "copy", f"s3://{BUCKET}/", "all")
    assert list((store.work / "elsewhere").iterdir()) == []
    linked = store.run("copy", "all", f"s3://{BUCKET}/linked/")
    assert linked.returncode != 0 and "all/deep is a symbolic link" in linked.stderr and "--follow-links" not in linked.stderr
    (store.work / "all/deep").unlink()
    # Nothing is replaced, and a prefix without sealed files is an error.
    store.s3.put_object(Bucket=BUCKET, Key="other/single.sealed", Body=b"theirs")
    assert "single.sealed" in store.refused(2, "copy", f"s3://{BUCKET}/backup/", f"s3://{BUCKET}/other/")
    assert store.bytes_of("other/single.sealed") == b"theirs"
    (store.work / "odd").mkdir()
    (store.work / "odd/plain").write_text("x")
    assert "no sealed files or folders below" in store.refused(1, "copy", "odd", f"s3://{BUCKET}/odd/")


def test_a_copy_of_a_folder_does_not_replace_other_objects(store: Store, folder: str) -> None:
    shutil.rmtree(store.work / "local", ignore_errors=True)
    store.ok("copy", folder, "local")
    store.s3.put_object(Bucket=BUCKET, Key="v3/model.bin.sealed", Body=b"theirs")
    assert "v3/model.bin.sealed already exists and differs" in store.refused(2, "copy", "local", f"s3://{BUCKET}/v3")
    assert store.bytes_of("v3/model.bin.sealed") == b"theirs"


def test_an_unsealed_file_is_not_copied(store: Store) -> None:
    assert "no valid footer" in store.refused(1, "copy", "m.bin", f"s3://{BUCKET}/m.bin")
    assert store.keys() == {} and store.uploads() == []


def test_mistakes_are_named(store: Store) -> None:
    plain = store.refused(2, "inspect", f"s3://{BUCKET}/x.sealed", AWS_ALLOW_HTTP="")
    assert "AWS_ENDPOINT is an address without TLS; to allow it, set AWS_ALLOW_HTTP=true" in plain
    for scheme, endpoint, allow in [("gs", "GOOGLE_BASE_URL", "GOOGLE_ALLOW_HTTP"), ("az", "AZURE_STORAGE_ENDPOINT", "AZURE_ALLOW_HTTP")]:
        plain = store.refused(2, "inspect", f"{scheme}://{BUCKET}/x.sealed", **{endpoint: "http://127.0.0.1:9"})
        assert f"{endpoint} is an address without TLS; to allow it, set {allow}=true" in plain
    dead = store.refused(3, "inspect", f"s3://{BUCKET}/x.sealed", AWS_ENDPOINT="http://127.0.0.1:9")
    assert "cannot reach http://127.0.0.1:9: " in dead and "refused" in dead and "Generic" not in dead
    nobody = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ENDPOINT", "AWS_ALLOW_HTTP"), "")
    assert "no credentials were found" in store.refused(3, "inspect", f"s3://{BUCKET}/x.sealed", **nobody)
    assert f"write s3://{BUCKET}/x for an object" in store.refused(2, "inspect", f"s3:/{BUCKET}/x")
    assert "is not in a supported object store" in store.refused(2, "open", "ftp://host/x.sealed")
    assert "contains credentials" in store.refused(2, "open", f"s3://key:secret@{BUCKET}/x.sealed")
    assert "secret" not in store.refused(2, "open", f"s3://key:secret@{BUCKET}/x.sealed")
    assert "not found" in store.refused(3, "open", f"s3://{BUCKET}/missing.sealed").lower()
    assert "no objects below" in store.refused(1, "inspect", f"s3://{BUCKET}")
    assert "is not a sealed folder" in store.refused(1, "open", f"s3://{BUCKET}")
    assert "not found" in store.refused(3, "seal", "m.bin", "-o", "s3://nobody-has-this/x.sealed", "--to", "me").lower()
    assert "is not a sealed folder" in store.refused(1, "open", f"s3://{BUCKET}/nothing/", "-o", "never")
    assert "is a prefix, not an object" in store.refused(2, "seal", "m.bin", "-o", f"s3://{BUCKET}/x/", "--to", "me")
