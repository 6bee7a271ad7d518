"""One folder with all keys."""

from __future__ import annotations

import pytest

from bundle import TestBed


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> TestBed:
    return TestBed(tmp_path_factory.mktemp("oms"))
