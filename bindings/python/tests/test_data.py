"""Sealed folders as training data: torch workers, pyarrow, webdataset, and file systems that are not local."""

import io
import multiprocessing
import tarfile
import threading

import casemate
import fsspec
import numpy as np
import pytest
from casemate import data as sealed_data
from casemate.fsspec import FolderFileSystem
from conftest import flip

torch = pytest.importorskip("torch")
from torch.utils.data import DataLoader

ROWS = 1000


@pytest.fixture(scope="module")
def keys():
    make = casemate.PrivateKey.generate
    return make("mlkem768-x25519"), make("mldsa65-ed25519")


@pytest.fixture(scope="module")
def sealed(tmp_path_factory, keys):
    """A folder with files, arrays, tables and tar files, and its keys as files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder, (opener, publisher) = tmp_path_factory.mktemp("data"), keys
    plain = folder / "plain"
    for name in ("images", "arrays", "table", "tars"):
        (plain / name).mkdir(parents=True)
    for number in range(40):
        (plain / f"images/{number:03}.bin").write_bytes(bytes([number]) * (1000 + number))
    numbers = np.arange(ROWS * 6, dtype=np.float32).reshape(ROWS, 2, 3)
    for shard, part in enumerate(np.split(numbers, [300, 301, 800])):
        np.save(plain / f"arrays/x-{shard}.npy", part)
        np.save(plain / f"arrays/y-{shard}.npy", part[:, 0, 0].astype(np.int64))
    for shard in range(3):
        values = pa.table({"n": range(shard * 1000, (shard + 1) * 1000), "text": [f"row {n}" for n in range(1000)]})
        pq.write_table(values, plain / f"table/{shard}.parquet", row_group_size=200)
        with tarfile.open(plain / f"tars/{shard}.tar", "w") as tar:
            for number in range(20):
                for suffix, content in (("bin", bytes([shard, number]) * 50), ("cls", str(number).encode())):
                    info = tarfile.TarInfo(f"{shard}-{number:02}.{suffix}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
    casemate.seal_folder(plain, folder / "sealed", to=opener.public_key, sign=publisher, segment_size=65536)
    opener.to_file(folder / "opener.pem")
    (folder / "publisher.pub").write_text(publisher.public_key.to_pem())
    return folder


@pytest.fixture
def data(sealed, keys):
    opener, publisher = keys
    return sealed_data.SealedData(sealed / "sealed", keys=opener, signer=publisher.public_key)


def by_path(sealed):
    return sealed_data.SealedData(sealed / "sealed", keys=sealed / "opener.pem", signer=sealed / "publisher.pub")


def decode(path, content):
    assert len(set(content)) == 1
    return path, content[0], len(content)


@pytest.mark.parametrize("workers", [0, 4])
def test_workers_read_files_in_any_order(data, workers):
    dataset = sealed_data.FileDataset(data, decode, pattern="images/*")
    loader = DataLoader(dataset, batch_size=7, shuffle=True, num_workers=workers, multiprocessing_context="fork" if workers else None)
    for _ in range(2):
        found = [(int(first), int(length)) for _, firsts, lengths in loader for first, length in zip(firsts, lengths, strict=True)]
        assert sorted(found) == [(number, 1000 + number) for number in range(40)]
        assert found != sorted(found)


def test_workers_that_are_spawned_open_the_folder_by_paths(sealed, data):
    dataset = sealed_data.FileDataset(by_path(sealed), decode, pattern="images/*")
    loader = DataLoader(dataset, batch_size=10, num_workers=2, multiprocessing_context="spawn")
    assert sum(len(firsts) for _, firsts, _ in loader) == 40
    refused = DataLoader(sealed_data.FileDataset(data), num_workers=1, multiprocessing_context="spawn")
    with pytest.raises(TypeError, match="keys= is not sent to another process; pass paths"):
        next(iter(refused))


def test_rows_of_arrays_are_read_at_random(data):
    dataset = sealed_data.RowDataset(data, {"x": "arrays/x-*.npy", "y": "arrays/y-*.npy"})
    assert len(dataset) == ROWS
    for index in (0, 299, 300, 301, 800, 999, -1):
        sample = dataset[index]
        assert sample["x"].shape == (2, 3)
        assert sample["y"] == sample["x"][0, 0] == (index % ROWS) * 6
    wanted = [5, 4, 5, 999, 299, 300, 301, 302]
    assert [int(sample["y"]) for sample in dataset.__getitems__(wanted)] == [index * 6 for index in wanted]
    with pytest.raises(IndexError, match="there is no row 1000"):
        dataset[1000]
    loader = DataLoader(dataset, batch_size=64, shuffle=True, num_workers=4, multiprocessing_context="fork")
    found = torch.cat([batch["y"] for batch in loader])
    assert sorted(found.tolist()) == [index * 6 for index in range(ROWS)]


def test_arrays_that_do_not_fit_are_refused(tmp_path, keys):
    opener, publisher = keys
    plain = tmp_path / "plain"
    plain.mkdir()
    np.save(plain / "a-0.npy", np.zeros((3, 2)))
    np.save(plain / "a-1.npy", np.zeros((3, 3)))
    np.save(plain / "b.npy", np.zeros(4))
    np.save(plain / "fortran.npy", np.asfortranarray(np.zeros((3, 2))))
    np.save(plain / "scalar.npy", np.array(1.0))
    np.save(plain / "objects.npy", np.array([{}], dtype=object))
    (plain / "text.npy").write_text("not an array")
    short = (plain / "b.npy").read_bytes()[:-1]
    (plain / "short.npy").write_bytes(short)
    casemate.seal_folder(plain, tmp_path / "sealed", to=opener.public_key, sign=publisher)
    data = sealed_data.SealedData(tmp_path / "sealed", keys=opener, signer=publisher.public_key)
    for columns, error in [
        ({"a": "a-*.npy"}, "rows of different shapes or types"),
        ({"a": "a-0.npy", "b": "b.npy"}, "different numbers of rows"),
        ({"f": "fortran.npy"}, "fortran.npy has no rows of numbers"),
        ({"s": "scalar.npy"}, "scalar.npy has no rows of numbers"),
        ({"o": "objects.npy"}, "objects.npy has no rows of numbers"),
        ({"t": "text.npy"}, "text.npy is not a NumPy file"),
        ({"s": "short.npy"}, "short.npy is not as long as its header says"),
    ]:
        with pytest.raises(casemate.CasemateError, match=error):
            sealed_data.RowDataset(data, columns)
    with pytest.raises(FileNotFoundError, match="no file of the folder matches"):
        sealed_data.RowDataset(data, {"x": "x*.npy"})
    with pytest.raises(FileNotFoundError, match="no file of the folder matches"):
        sealed_data.FileDataset(data, pattern="nothing")
    with pytest.raises(ValueError, match="no columns"):
        sealed_data.RowDataset(data, {})


def test_pyarrow_reads_columns_of_tables(data):
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq

    table = ds.dataset("table", filesystem=data.filesystem, format="parquet")
    assert table.count_rows() == 3000
    found = table.to_table(columns=["n"], filter=ds.field("n") >= 2990)
    assert found["n"].to_pylist() == list(range(2990, 3000))
    assert pq.read_table(data.open("table/1.parquet"))["text"][7].as_py() == "row 7"


def test_webdataset_reads_tar_files(data):
    import webdataset as wds

    def pipeline(*stages):
        return wds.DataPipeline(wds.SimpleShardList(data.names("tars/*.tar")), *stages, data.tar_samples)

    samples = list(pipeline())
    assert len(samples) == 60
    assert samples[0]["bin"] == bytes([0, 0]) * 50
    loader = DataLoader(pipeline(wds.split_by_worker), batch_size=None, num_workers=2, multiprocessing_context="fork")
    keys_found = sorted(sample["__key__"] for sample in loader)
    assert keys_found == sorted(f"{shard}-{number:02}" for shard in range(3) for number in range(20))


def test_a_file_system_shows_the_folders_files_and_no_others(data):
    fs = data.filesystem
    assert isinstance(fs, FolderFileSystem)
    assert fs.ls("", detail=False) == ["arrays", "images", "table", "tars"]
    assert fs.info("table")["type"] == "directory"
    assert fs.info("images/003.bin") == {"name": "images/003.bin", "size": 1003, "type": "file"}
    assert fs.cat_file("images/003.bin", 1000, 1003) == b"\x03" * 3
    assert len(fs.find("")) == 40 + 8 + 6
    assert fs.glob("tars/*.tar") == ["tars/0.tar", "tars/1.tar", "tars/2.tar"]
    for path in ("nothing", "images/3", "../plain/images/003.bin"):
        with pytest.raises(FileNotFoundError):
            fs.info(path)
        with pytest.raises(FileNotFoundError):
            fs.open(path)
    with pytest.raises(FileNotFoundError):
        fs.ls("nothing")
    with pytest.raises(ValueError, match="read-only here"):
        fs.open("images/003.bin", "wb")


@pytest.fixture
def bucket(sealed):
    """The sealed folder in a place that is not local."""
    memory = fsspec.filesystem("memory")
    memory.put(str(sealed / "sealed"), "/bucket/data", recursive=True)
    yield memory
    memory.rm("/bucket", recursive=True)


def test_a_folder_in_a_bucket_is_verified_as_a_unit(bucket, keys):
    opener, publisher = keys
    terms = {"keys": opener, "signer": publisher.public_key, "fs": bucket}
    data = sealed_data.SealedData("/bucket/data", **terms)
    assert len(sealed_data.FileDataset(data, decode, pattern="images/*")) == 40
    assert data.read("images/003.bin") == b"\x03" * 1003
    bucket.pipe("/bucket/data/more.sealed", b"x")
    with pytest.raises(casemate.CasemateError, match=r"more\.sealed"):
        sealed_data.SealedData("/bucket/data", **terms)
    bucket.rm("/bucket/data/more.sealed")
    bucket.rm("/bucket/data/images/003.bin.sealed")
    with pytest.raises(casemate.CasemateError, match=r"003\.bin"):
        sealed_data.SealedData("/bucket/data", **terms)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_changed_file_ends_the_epoch_with_its_name(sealed, keys, tmp_path, workers):
    import shutil

    import webdataset as wds

    opener, publisher = keys
    shutil.copytree(sealed / "sealed", tmp_path / "sealed")
    for name in ("images/007.bin", "arrays/x-2.npy", "tars/1.tar", "table/2.parquet"):
        path = tmp_path / f"sealed/{name}.sealed"
        flip(path, 500)
    data = sealed_data.SealedData(tmp_path / "sealed", keys=opener, signer=publisher.public_key)
    options = {"num_workers": workers, "multiprocessing_context": "fork" if workers else None}
    files = DataLoader(sealed_data.FileDataset(data, decode, pattern="images/*"), **options)
    with pytest.raises(casemate.VerificationError, match=r"images/007\.bin"):
        list(files)
    rows = sealed_data.RowDataset(data, {"y": "arrays/y-*.npy"})
    assert len(list(DataLoader(rows, batch_size=100, **options))) == 10
    with pytest.raises(casemate.VerificationError, match=r"arrays/x-2\.npy"):
        list(DataLoader(sealed_data.RowDataset(data, {"x": "arrays/x-*.npy"}), batch_size=100, **options))
    tars = wds.DataPipeline(wds.SimpleShardList(data.names("tars/*.tar")), wds.split_by_worker, data.tar_samples)
    with pytest.raises(casemate.VerificationError, match=r"tars/1\.tar"):
        list(DataLoader(tars, batch_size=None, **options))
    import pyarrow.parquet as pq

    with pytest.raises(casemate.VerificationError, match=r"table/2\.parquet"):
        pq.read_table("table/2.parquet", filesystem=data.filesystem)


def test_another_version_in_the_middle_of_an_epoch_is_refused(sealed, keys, tmp_path):
    import shutil

    opener, publisher = keys
    shutil.copytree(sealed / "sealed", tmp_path / "sealed")
    terms = {"keys": opener, "signer": publisher.public_key}
    data = sealed_data.SealedData(tmp_path / "sealed", **terms)
    plain = tmp_path / "plain"
    (plain / "images").mkdir(parents=True)
    (plain / "images/000.bin").write_bytes(b"poisoned")
    casemate.seal_folder(plain, tmp_path / "sealed", to=opener.public_key, sign=publisher, force=True)
    # A worker opens the folder for itself.
    dataset = sealed_data.FileDataset(data, decode, pattern="images/*")
    loader = DataLoader(dataset, num_workers=1, multiprocessing_context=multiprocessing.get_context("fork"))
    with pytest.raises(casemate.VerificationError, match="was replaced by another version"):
        next(iter(loader))


def test_a_fork_while_a_thread_reads_does_not_hang(data):
    ended = threading.Event()

    def read():
        while not ended.is_set():
            data.content("images/003.bin")

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(20):
            child = multiprocessing.get_context("fork").Process(target=data.read, args=("images/004.bin",))
            child.start()
            child.join(20)
            assert child.exitcode == 0
    finally:
        ended.set()
        reader.join()


@pytest.mark.parametrize("error", [KeyboardInterrupt, TimeoutError, ConnectionResetError, OSError])
def test_an_outage_is_not_taken_for_tampering(bucket, keys, monkeypatch, error):
    opener, publisher = keys

    def fail(*_, **__):
        raise error("no answer")

    monkeypatch.setattr(type(bucket), "cat_file", fail)
    with pytest.raises(error):
        sealed_data.SealedData("/bucket/data", keys=opener, signer=publisher.public_key, fs=bucket)


def test_errors_name_files_with_short_names(tmp_path, keys):
    opener, publisher = keys
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain/a").write_bytes(b"content")
    casemate.seal_folder(tmp_path / "plain", tmp_path / "sealed", to=opener.public_key, sign=publisher)
    flip(tmp_path / "sealed/a.sealed", 5)
    data = sealed_data.SealedData(tmp_path / "sealed", keys=opener, signer=publisher.public_key)
    with pytest.raises(casemate.VerificationError, match="^a: "):
        data.read("a")
