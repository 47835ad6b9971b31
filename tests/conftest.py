"""What every test shares: a home of Lapwing's own, so that none reads or writes its user's policies."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def lapwing_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("home")
    before = os.environ.get("LAPWING_HOME")
    os.environ["LAPWING_HOME"] = str(home)
    yield home
    if before is None:
        del os.environ["LAPWING_HOME"]
    else:
        os.environ["LAPWING_HOME"] = before
