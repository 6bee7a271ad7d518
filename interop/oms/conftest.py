"""One directory with all keys."""

from __future__ import annotations

import pytest

from bundle import Desk


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(tmp_path_factory.mktemp("oms"))
