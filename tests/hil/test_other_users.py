"""Another user of the same computer: no socket, no file of access and no board of this car is theirs."""

import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hil.nursery import nursery
from tests.hil.policies import write_policy
from vehicle.__main__ import HilCar, Vehicle
from vehicle.config import CarConfig
from vehicle.hil.launch import start_hil
from vehicle.hil.settings import HilSettings
from vehicle.recorder import Recorder
from vehicle.runs import RunShelf
from webui.access_store import AccessStore
from webui.certificates import Certificates

NOBODY = 65534
ATTEMPT = """
import json, os, socket, stat, sys
os.setgroups([])
os.setresgid(*[int(sys.argv[1])] * 3)
os.setresuid(*[int(sys.argv[1])] * 3)
succeeded = []
def attempt(what, path, act):
    try:
        act()
    except OSError:
        return
    succeeded.append([what, path])
def connect(path, kind):
    with socket.socket(socket.AF_UNIX, kind) as one:
        one.connect(path)
for path in json.load(sys.stdin):
    attempt("listed", path, lambda: os.listdir(path))
    attempt("made a file in", path, lambda: open(path + "/theirs", "x"))
    attempt("looked at", path, lambda: os.stat(path))
    attempt("read", path, lambda: os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY))
    attempt("wrote", path, lambda: os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY))
    for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM):
        attempt("connected to", path, lambda: connect(path, kind))
    attempt("removed", path, lambda: os.unlink(path))
print(json.dumps(succeeded))
"""


def what_nobody_can(*paths: Path) -> list[list[str]]:
    """Return what another user's process could do with these."""
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    done = subprocess.run(
        [sys.executable, "-c", ATTEMPT, str(NOBODY)],
        input=json.dumps([str(path) for path in paths]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """Yield a folder that everybody may look into: what lies in it must look after itself."""
    with tempfile.TemporaryDirectory(prefix="lw", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="module")
def car(place: Path) -> Iterator[Path]:
    """Yield where a car with all its sockets is, its processes under the loosest umask there is."""
    before = os.umask(0)
    try:
        settings = HilSettings(hil_dir=place / "hil", lockstep=True)
        with start_hil(settings, nursery().start):
            hil = HilCar(settings.hil_dir, "aws", lockstep=True)
            config = CarConfig(policy=str(write_policy(place / "straight")))
            vehicle = Vehicle(config, place / "run", hil)
            recorder = Recorder(place / "run", RunShelf(place / "runs"), settings.hil_dir)
            store = AccessStore(place / "access")
            store.setup_code()
            store.open_session("owner", "")
            Certificates(place / "certificates").serve_for((), ())
            yield place
            recorder.close()
            vehicle.close()
    finally:
        os.umask(before)


def test_another_user_connects_to_no_socket_of_the_car(car: Path) -> None:
    found = [*(car / "run").rglob("*"), *(car / "hil").rglob("*")]
    sockets = [path for path in found if path.is_socket()]

    assert {"requests", "stop", "status", "records", "preview"} <= {path.name for path in sockets}
    assert {"control", "barrier.sock", "camera.sock"} <= {path.name for path in sockets}
    assert what_nobody_can(car / "run", car / "hil", *found) == [
        ["looked at", str(car / "run")],
        ["looked at", str(car / "hil")],
    ]


def test_another_user_neither_reads_nor_changes_the_board(car: Path) -> None:
    assert what_nobody_can((car / "hil" / "board").resolve()) in (
        [],
        [["looked at", str((car / "hil" / "board").resolve())]],
    )


def test_another_user_reads_no_secret_even_where_the_folder_lets_them_in(car: Path) -> None:
    secrets = [
        *(car / "access" / name for name in ("access.json", "secret.key", "setup-code")),
        *(car / "certificates" / name for name in ("ca.key", "server.pem")),
    ]
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets} == {0o600}
    assert what_nobody_can(*secrets) == []
    for folder in (car / "access", car / "certificates"):
        folder.chmod(0o755)
    assert {what for what, _ in what_nobody_can(*secrets)} == {"looked at"}


def test_the_attempts_would_succeed_where_they_may(place: Path) -> None:
    """What shows that the tests above can fail."""
    free = place / "free"
    free.mkdir()
    free.chmod(0o777)
    (free / "file").touch()
    (free / "file").chmod(0o666)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(free / "socket"))
        listening.listen()
        (free / "socket").chmod(0o777)
        done = what_nobody_can(free, free / "socket", free / "file")

    assert ["connected to", str(free / "socket")] in done
    assert {"listed", "made a file in", "looked at", "read", "wrote", "removed"} <= {what for what, _ in done}
