"""One folder with all keys."""

from __future__ import annotations

import pytest

from bundle import Setup


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Setup:
    return Setup(tmp_path_factory.mktemp("oms"))
