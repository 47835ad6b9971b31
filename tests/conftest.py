"""What every test shares: a home of Lapwing's own, so that none reads or writes its user's policies.

Property tests are not judged by the clock: how long an example takes depends on what else the computer does.
Hundreds of tests make an application of the page each; they compile its templates once.
"""

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

import pytest
from flask import Flask
from hypothesis import HealthCheck, settings
from jinja2.bccache import Bucket, BytecodeCache

settings.register_profile("any computer", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any computer")


class CompiledTemplates(BytecodeCache):
    """Keeps what was compiled as long as the process lives; a template that has changed is compiled anew."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], CodeType] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._kept.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        assert bucket.code is not None
        self._kept[bucket.key, bucket.checksum] = bucket.code


Flask.jinja_options = {"bytecode_cache": CompiledTemplates()}


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
