"""What every test shares: a home of Lapwing's own, so that none reads or writes its user's policies.

Property tests are not judged by the clock: how long an example takes depends on what else the computer does.
"""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("any computer", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any computer")


def pytest_collection_finish() -> None:
    """Spare the garbage collector all tests, which stay to the end: a look at them takes half a second."""
    gc.freeze()


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
