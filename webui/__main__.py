"""Serves the page: `python -m webui RUN_DIR`, options as `python -m webui --help` says."""

import argparse
import ipaddress
import os
import sys
from pathlib import Path

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker

from vehicle.errors import ConfigError, LapwingError
from vehicle.realtime import die_with_parent
from vehicle.remote import VehicleClient
from webui import create_app
from webui.access_store import AccessStore
from webui.world import WorldFollower

THREADS = 64


def serve(run_dir: Path, hil_dir: Path | None, host: str, port: int, access_dir: Path | None = None) -> None:
    """Serve the page of the vehicle in `run_dir` until SIGTERM; prints the address once it answers.

    Args:
        run_dir: where the vehicle process has its sockets.
        hil_dir: where a HIL world has its own; None in front of a real car.
        host: a loopback address or `localhost`.
        port: 1 to 65535.
        access_dir: where it is kept who may come in; this user's own place where none is given.

    Raises:
        ConfigError: the address is not allowed.

    """
    address = loopback_address(host)
    if not 1 <= port <= 65535:
        raise ConfigError(f"the page's port is {port}, allowed 1 to 65535; choose another, 8080 for one")
    die_with_parent()
    _Server(
        run_dir, hil_dir, f"[{address}]:{port}" if ":" in address else f"{address}:{port}", access_dir
    ).run()


def loopback_address(host: str) -> str:
    """Return the loopback address that `host` means; raises ConfigError for any other."""
    if host == "localhost":
        return "127.0.0.1"  # whatever the hosts file says
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if address is None or not address.is_loopback:
        raise ConfigError(
            f"the page's address is {host}, allowed 127.0.0.1, ::1 or localhost: it has no login yet; "
            "to see it from another computer use `ssh -L 8080:127.0.0.1:8080 CAR`"
        )
    return str(address)


class _Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """Gunicorn with one worker: the clients of the car live in it, and there must be one of each."""

    def __init__(self, run_dir: Path, hil_dir: Path | None, bind: str, access_dir: Path | None) -> None:
        self._run_dir = run_dir
        self._hil_dir = hil_dir
        self._bind = bind
        self._access_dir = access_dir
        super().__init__()

    def load_config(self) -> None:
        """Set gunicorn up."""
        settings = {
            "bind": self._bind,
            "worker_class": "gthread",
            "workers": 1,
            "threads": THREADS,
            "graceful_timeout": 1,
            "control_socket_disable": True,
            "loglevel": "warning",
            "post_fork": _after_fork,
            "post_worker_init": self._announce,
        }
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """Return the application; gunicorn calls this in the worker."""
        vehicle = VehicleClient(self._run_dir, source="page")
        world = None if self._hil_dir is None else WorldFollower(self._hil_dir)
        return create_app(vehicle, world, access_store=AccessStore(self._access_dir))

    def _announce(self, worker: Worker) -> None:
        if worker.age == 1:  # not again when a worker is replaced
            sys.stdout.write(f"http://{self._bind}/\n")
            sys.stdout.flush()


def _after_fork(server: Arbiter, worker: Worker) -> None:
    die_with_parent()
    if os.getppid() != server.pid:  # it died before the kernel knew
        sys.exit(1)
    del worker


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m webui", description="Serve the car's page.")
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--hil-dir", type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--access-dir", type=Path)
    arguments = parser.parse_args()
    try:
        serve(arguments.run_dir, arguments.hil_dir, arguments.host, arguments.port, arguments.access_dir)
    except LapwingError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
