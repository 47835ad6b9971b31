"""The real page, the real vehicle process and the HIL car in paced lockstep, for tests of what moves.

World and vehicle step together, at most as fast as real time: a starved computer slows time and
causes no fault. Requests, pictures and bytes of the board go the same ways as on a car.
"""

import contextlib
import functools
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.hil.live import end
from tests.hil.nursery import nursery
from tests.hil.policies import write_policy
from tests.unit.webui_visitors import signed_in_headers
from vehicle.hil.launch import RunningHil, start_hil
from vehicle.hil.settings import CameraSettings, HilSettings
from vehicle.messages import Status
from vehicle.remote_client import VehicleClient
from webui.tls_socket import SharedTlsSocket

READY_S = 30.0  # of real time: what a starved computer may need to start three processes


class PacedCar:
    """A car whose processes are up; `url` is its page's address."""

    def __init__(
        self,
        hil: RunningHil,
        *,
        vehicle: subprocess.Popen[bytes],
        client: VehicleClient,
        run_dir: Path,
        access_dir: Path,
        folder: Path,
        url: str,
    ) -> None:
        self.hil = hil
        self.vehicle = vehicle
        self.client = client
        self.run_dir = run_dir
        self.folder = folder
        """Of its own: what else belongs to it may be kept here."""
        self.url = url
        self.authority_file = access_dir / "ca.crt" if url.startswith("https") else None
        """Of the authority that vouches for this car, with HTTPS."""
        self.access_dir = access_dir

    @functools.cached_property
    def headers(self) -> dict[str, str]:
        """Of a signed-in browser, for a client that is none; whoever asks first sets a password."""
        headers = {**signed_in_headers(self.access_dir), "Origin": self.url.rstrip("/")}
        if self.authority_file is not None:
            headers["Cookie"] = f"__Host-{headers['Cookie']}"
        return headers

    @property
    def cookies(self) -> list[dict[str, str]]:
        """What a browser's `context.add_cookies` needs to be signed in."""
        name, _, value = self.headers["Cookie"].partition("=")
        return [{"name": name, "value": value, "url": self.url}]

    def wait(self, accept: Callable[[Status], bool], timeout_s: float = READY_S) -> Status:
        """Return the first status that is accepted; fails with the newest one."""
        status = self.client.wait_status(accept, timeout_s)
        assert status is not None, f"it did not come to be: {self.client.status()}"
        return status

    @property
    def speed_mps(self) -> float:
        """How fast the world says that the car is."""
        return self.hil.client.truth_now().speed_mps


@contextlib.contextmanager
def paced_car(
    *,
    track: str = "oval",
    wiring: str = "aws",
    policy: Path | None = None,
    uncalibrated: bool = False,
    takes_orders: bool = False,
    scheme: str = "http",
    camera: CameraSettings | None = None,
    is_recorded: bool = False,
) -> Iterator[PacedCar]:
    """Yield a car that stands ready behind its page; end its processes afterwards.

    With `takes_orders` what belongs to the vehicle process can be broken while it runs.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lw", dir="/tmp")))
        run_dir, access_dir = folder / "run", folder / "access"
        settings = HilSettings(
            hil_dir=folder / "hil",
            track=track,
            wiring=wiring,  # type: ignore[arg-type]
            lockstep=True,
            camera=camera or CameraSettings(),
        )
        hil = stack.enter_context(start_hil(settings, nursery().start))
        port = free_port()
        url = f"{scheme}://127.0.0.1:{port}/"
        served = ("--port", str(port), f"--{scheme}", "--access-dir", str(access_dir))
        lapwing = (sys.executable, "-m", "vehicle.cli")
        places = ("--run-dir", str(run_dir), "--hil-dir", str(settings.hil_dir))
        drive = [*lapwing, "drive", *places, "--lockstep", "--wiring", wiring]
        drive += ["--policy", str(policy or write_policy(folder / "straight", speed_mps=0.6))]
        if uncalibrated:
            drive.append("--uncalibrated")
        if takes_orders:
            drive.append("--takes-orders")
        vehicle = stack.enter_context(running(drive))
        if is_recorded:
            runs = ("--runs", str(folder / "runs"))
            stack.enter_context(running([*lapwing, "record", *places, *runs]))
            served = (*served, *runs)
        stack.enter_context(running([*lapwing, "web", *places, *served]))
        client = stack.enter_context(VehicleClient(run_dir, "test"))
        car = PacedCar(
            hil,
            vehicle=vehicle,
            client=client,
            run_dir=run_dir,
            access_dir=access_dir,
            folder=folder,
            url=url,
        )
        car.wait(lambda status: uncalibrated or not status.not_ready)
        await_page(car.url, car.authority_file)
        yield car


class _SharedSocket(SharedTlsSocket):
    """For a client with a thread that reads and one that writes."""

    def connect(self, address: Any) -> None:
        socket.socket.settimeout(self, None)
        super().connect(address)
        self.settimeout(None)


def trusting(authority_file: Path) -> ssl.SSLContext:
    """Return what trusts this authority alone."""
    context = ssl.create_default_context(cafile=authority_file)
    context.sslsocket_class = _SharedSocket
    return context


@contextlib.contextmanager
def running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process, and end it."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        end(process)


def free_port() -> int:
    """Return a port of loopback that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def await_page(url: str, authority_file: Path | None = None) -> None:
    """Return when the page answers, whatever it says; with HTTPS, as one whom the authority vouches for."""
    deadline_s = time.monotonic() + READY_S
    while True:
        try:
            trust = None if authority_file is None else ssl.create_default_context(cafile=authority_file)
            urllib.request.urlopen(url, timeout=2.0, context=trust).close()
        except urllib.error.HTTPError:
            return  # it wants to know who asks
        except OSError:
            assert time.monotonic() < deadline_s, f"no page at {url}"
            time.sleep(0.05)
        else:
            return
