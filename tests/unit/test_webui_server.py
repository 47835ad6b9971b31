"""The page's server process: where it may listen, that it comes up, and that it goes with its parent."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path

import pytest

from tests.unit.webui_visitors import signed_in_headers
from vehicle.errors import ConfigError
from vehicle.listening import listening_address, listening_error
from webui.__main__ import PageSettings, is_secure, serve

START_LIMIT_S = 20.0
GUESSERS = 20
GUESSING_LIMIT_KIB = 45 * 1024  # one verification has 19 MiB, two have 38; the rest is threads' and heaps'
END_LIMIT_S = 5.0


@pytest.fixture
def run_dir() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="lw", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@contextlib.contextmanager
def serving(
    run_dir: Path, *options: str, through_shell: bool = False
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start the server on a free port; yield it and the address that it printed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "webui", str(run_dir), "--port", str(port), *options]
    if through_shell:
        command = [sys.executable, "-c", f"import subprocess; subprocess.run({command!r})"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def get(url: str, timeout_s: float) -> http.client.HTTPResponse:
    """Ask as somebody who has signed in."""
    return urllib.request.urlopen(urllib.request.Request(url, headers=signed_in_headers()), timeout=timeout_s)


def is_served(address: str) -> bool:
    host, port = address.removeprefix("http://").rstrip("/").split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def await_end(address: str) -> bool:
    deadline_s = time.monotonic() + END_LIMIT_S
    while is_served(address) and time.monotonic() < deadline_s:
        time.sleep(0.02)
    return not is_served(address)


@pytest.mark.parametrize("host", ["car.local", "", "192.168.1", "all the world"])
def test_what_is_no_address_is_refused(host: str, run_dir: Path) -> None:
    with pytest.raises(ConfigError, match="allowed `all`, localhost or an address"):
        serve(PageSettings(run_dir, host=host))


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("localhost", "127.0.0.1"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("192.168.1.20", "192.168.1.20"),
    ],
)
def test_addresses_are_taken_as_they_are(host: str, address: str) -> None:
    assert listening_address(host) == address


@pytest.mark.parametrize(
    ("host", "chosen", "secure"),
    [
        ("127.0.0.1", None, False),
        ("localhost", None, False),
        ("::1", None, False),
        ("192.168.1.20", None, True),
        ("all", None, True),
        ("all", False, False),
        ("localhost", True, True),
    ],
)
def test_https_is_the_default_wherever_another_computer_can_reach_the_page(
    host: str, chosen: bool | None, secure: bool, run_dir: Path
) -> None:
    assert is_secure(PageSettings(run_dir, host=host, is_secure=chosen)) is secure


@pytest.mark.parametrize("port", [0, 70000])
def test_a_port_out_of_range_is_refused(port: int, run_dir: Path) -> None:
    with pytest.raises(ConfigError, match="allowed 1 to 65535"):
        serve(PageSettings(run_dir, port=port))


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
def test_an_address_of_another_computer_is_refused_at_once(
    host: str, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it was waited for"))
    with pytest.raises(
        ConfigError, match=rf"cannot listen at {host} port 8080 \(.*choose others with --host"
    ):
        serve(PageSettings(run_dir, host=host))


def test_a_port_that_stays_taken_is_refused_and_one_that_gets_free_is_used(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr("vehicle.listening.TAKEN_LIMIT_S", 0.0)
        with pytest.raises(ConfigError, match=rf"at 127.0.0.1 port {port} \(Address already in use\)"):
            serve(PageSettings(run_dir, port=port))
        monkeypatch.setattr("vehicle.listening.TAKEN_LIMIT_S", 60.0)
        monkeypatch.setattr(time, "sleep", lambda _: taken.close())
        assert listening_error("127.0.0.1", port) == ""


def test_the_server_answers_without_a_vehicle_and_ends_cleanly(run_dir: Path) -> None:
    with serving(run_dir) as (process, address):
        with get(address + "api/status", timeout_s=5) as answer:
            document = json.loads(answer.read())
        assert document["car"] is None
        assert document["silence"]

        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=END_LIMIT_S)
        assert process.returncode == 0
        assert output == ""  # nothing but the address
        assert errors == ""
        assert not is_served(address)


def test_the_server_dies_with_its_parent(run_dir: Path) -> None:
    with serving(run_dir, through_shell=True) as (parent, address):
        assert is_served(address)
        os.kill(parent.pid, signal.SIGKILL)
        assert await_end(address)


def test_a_killed_worker_is_replaced(run_dir: Path) -> None:
    with serving(run_dir) as (process, address):
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) == 1
        os.kill(int(children[0]), signal.SIGKILL)
        with get(address + "api/status", timeout_s=START_LIMIT_S) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=END_LIMIT_S)
        assert output == ""


def memory_kib(pid: int, what: str) -> int:
    """Return a figure of a process: `VmRSS` it has now, `VmHWM` the most it ever had."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{what}:"))


def guess(address: str, computer: str) -> int:
    """Try a wrong password from one address; return the answer's status."""
    host, port = address.removeprefix("http://").rstrip("/").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30, source_address=(computer, 0))
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": address.rstrip("/")}
    connection.request("POST", "/login", "password=no+such+horse", headers)
    status = connection.getresponse().status
    connection.close()
    return status


def test_many_who_guess_at_once_cost_the_memory_of_one(run_dir: Path) -> None:
    signed_in_headers()  # there is a password
    with serving(run_dir) as (process, address):
        worker = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
        assert guess(address, "127.0.0.2") == HTTPStatus.UNAUTHORIZED  # and all that it needs is loaded
        before_kib = memory_kib(worker, "VmRSS")
        Path(f"/proc/{worker}/clear_refs").write_text("5")  # the most it has had from now on
        with ThreadPoolExecutor(GUESSERS) as pool:
            computers = [f"127.0.1.{number + 1}" for number in range(GUESSERS)]
            statuses = list(pool.map(guess, [address] * GUESSERS, computers))
        grown_kib = memory_kib(worker, "VmHWM") - before_kib
    print(f"{GUESSERS} guesses at once: {grown_kib / 1024:.0f} MiB more, answers {sorted(statuses)}")
    assert set(statuses) <= {HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS}
    assert statuses.count(HTTPStatus.UNAUTHORIZED) > 0
    assert grown_kib <= GUESSING_LIMIT_KIB
