"""Times sealed folders as training data beside plaintext ones, with four workers of ``torch.utils.data``.

This is a drill, because it takes minutes and a gigabyte in the page cache. With the packages `casemate`, `torch`, `pyarrow` and `webdataset` installed, run
`python interop/drills/data_rate.py [WORKERS]`.
"""

from __future__ import annotations

import io
import os
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import casemate
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import webdataset as wds
from casemate import data as sealed_data
from torch.utils.data import DataLoader, Dataset

REPEATS = 5
SHARDS = 8
IMAGE = 110_000
WORKERS = int(sys.argv[1]) if len(sys.argv) > 1 else 4


def write(plain: Path) -> None:
    """Write images as files, in tar files and as rows, and a table."""
    rng = np.random.default_rng(0)
    for name in ("files", "tars", "rows", "table"):
        (plain / name).mkdir(parents=True)
    for shard in range(SHARDS):
        (plain / f"files/{shard:03}.bin").write_bytes(rng.bytes(32 << 20))
        with tarfile.open(plain / f"tars/{shard}.tar", "w") as tar:
            for number in range(300):
                info = tarfile.TarInfo(f"{shard}-{number}.bin")
                info.size = IMAGE
                tar.addfile(info, io.BytesIO(rng.bytes(IMAGE)))
        np.save(plain / f"rows/{shard}.npy", rng.integers(0, 255, (400, 3, 150, 150), np.uint8))
        table = pa.table({f"c{at}": rng.random(500_000) for at in range(8)})
        pq.write_table(table, plain / f"table/{shard}.parquet", row_group_size=50_000)


class PlainFiles(Dataset[int]):
    def __init__(self, folder: Path) -> None:
        self.paths = sorted(folder.iterdir())

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> int:
        return len(self.paths[index].read_bytes())


class PlainRows(Dataset[Any]):
    def __init__(self, folder: Path) -> None:
        self.arrays = [np.load(path, mmap_mode="r") for path in sorted(folder.iterdir())]

    def __len__(self) -> int:
        return sum(map(len, self.arrays))

    def __getitem__(self, index: int) -> Any:
        rows = len(self.arrays[0])
        return {"x": np.array(self.arrays[index // rows][index % rows])}


class Parts(Dataset[int]):
    """Row groups of a table, read by the worker."""

    def __init__(self, folder: str, filesystem: Any) -> None:
        self.fragments = [
            part for one in ds.dataset(folder, filesystem=filesystem, format="parquet").get_fragments() for part in one.split_by_row_group()
        ]

    def __len__(self) -> int:
        return len(self.fragments)

    def __getitem__(self, index: int) -> int:
        return self.fragments[index].to_table(use_threads=False).nbytes


def loader(dataset: Any, batch: int | None = None) -> Callable[[], None]:
    shuffle = {} if isinstance(dataset, wds.DataPipeline) else {"shuffle": True}
    made = DataLoader(
        dataset, batch_size=batch, num_workers=WORKERS, multiprocessing_context="fork", persistent_workers=True, **shuffle
    )

    def epoch() -> None:
        for _ in made:
            pass

    return epoch


def pipeline(shards: list[str], stage: Any) -> Any:
    return wds.DataPipeline(wds.SimpleShardList(shards), wds.split_by_worker, stage, wds.map(lambda sample: len(sample["bin"])))


def forget(folder: Path) -> None:
    """Drop the files from the page cache."""
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def rate(name: str, folder: Path, plain: Callable[[], None], sealed: Callable[[], None]) -> None:
    size = sum(file.stat().st_size for file in (folder / "plain" / name).iterdir())
    for epoch in (plain, sealed):
        epoch()
    for where in ("page cache", "disk"):
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(REPEATS):
            for found, epoch in zip(times, (plain, sealed), strict=True):
                if where == "disk":
                    forget(folder)
                begun = time.perf_counter()
                epoch()
                found.append(time.perf_counter() - begun)
        one, two = (size / statistics.median(found) / 1e6 for found in times)
        print(f"{name:8} from the {where:10} plain {one:7.0f} MB/s   sealed {two:7.0f} MB/s   ratio {two / one:.2f}", flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        plain = folder / "plain"
        write(plain)
        os.sync()
        opener, publisher = casemate.PrivateKey.generate("mlkem768-x25519"), casemate.PrivateKey.generate("mldsa65-ed25519")
        sealing = {"to": opener.public_key, "sign": publisher}
        opening = {"keys": opener, "signer": publisher.public_key}
        casemate.seal_folder(plain, folder / "sealed", **sealing)
        # Rows are read at random, so less should be decrypted for each.
        casemate.seal_folder(plain / "rows", folder / "sealed-rows", segment_size=65_536, **sealing)
        os.sync()
        data = sealed_data.SealedData(folder / "sealed", **opening)
        print(f"{WORKERS} workers, medians of {REPEATS} epochs; files of 32 MB, tar files of 110 kB images, rows of 68 kB, row groups of 3.2 MB")
        files = sealed_data.FileDataset(data, lambda _, content: len(content), pattern="files/*")
        rate("files", folder, loader(PlainFiles(plain / "files")), loader(files))
        tars = [str(path) for path in sorted((plain / "tars").iterdir())]
        sealed_tars = pipeline(data.names("tars/*"), data.tar_samples)
        rate("tars", folder, loader(pipeline(tars, wds.tarfile_to_samples())), loader(sealed_tars))
        rows = sealed_data.RowDataset(sealed_data.SealedData(folder / "sealed-rows", **opening), {"x": "*.npy"})
        rate("rows", folder, loader(PlainRows(plain / "rows"), 64), loader(rows, 64))
        local = ds.dataset(str(plain / "table")).filesystem
        rate("table", folder, loader(Parts(str(plain / "table"), local)), loader(Parts("table", data.filesystem)))


if __name__ == "__main__":
    main()
