"""Serves the page: `python -m webui RUN_DIR`, options as `python -m webui --help` says."""

import argparse
import ipaddress
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker

from vehicle.config import CarConfig, followed_quota, read_config
from vehicle.errors import ConfigError, LapwingError
from vehicle.laps_client import MarkerFollower
from vehicle.listening import listening_address, listening_error
from vehicle.realtime import die_with_parent
from vehicle.remote_client import VehicleClient
from vehicle.runs import RunShelf
from webui import create_app
from webui.access_store import AccessStore
from webui.announcing import Announcer, host_label
from webui.car_logs import CarLogs
from webui.certificates import Certificates
from webui.hosts import Hosts
from webui.race_watch import RaceWatch
from webui.recording import RecorderFollower
from webui.simulator_desk import SimulatorDesk
from webui.sticks import Sticks
from webui.tls_context import TlsContexts
from webui.webhook import Webhook, checked_url, webhook_key
from webui.wifi import Wifi
from webui.worker import THREADS, CarWorker
from webui.world import WorldFollower


@dataclass(frozen=True)
class PageSettings:
    """What is served, where, and how."""

    run_dir: Path
    """Where the vehicle process has its sockets."""
    hil_dir: Path | None = None
    """Where a HIL world has its own; None in front of a real car."""
    host: str = "127.0.0.1"
    """An address of this computer, `localhost`, or `all` for every one it has."""
    port: int = 8080
    is_secure: bool | None = None
    """HTTPS or plain HTTP; None: HTTPS wherever another computer can reach it."""
    names: tuple[str, ...] = ()
    """Names beside the computer's own by which people call this car."""
    access_dir: Path | None = None
    """Where it is kept who may come in; None: this user's own place."""
    runs_dir: Path | None = None
    """Where runs are recorded; None: this user's own place."""
    config: Path | None = None
    """This car's `car.toml`; None: its settings cannot be changed from the page."""
    log_dir: Path | None = None
    """Where the processes' words are kept; None: in the system's journal."""
    webhook: str = ""
    """Where race events are sent; empty: where the configuration says, which the page may change."""


def serve(settings: PageSettings) -> None:
    """Serve the page until SIGTERM; prints the address once it answers.

    Raises:
        ConfigError: the address is not one of this computer's, or the port is taken.

    """
    address = listening_address(settings.host)
    if not 1 <= settings.port <= 65535:
        raise ConfigError(
            f"the page's port is {settings.port}, allowed 1 to 65535; choose another, 8080 for one"
        )
    error = listening_error(address, settings.port)
    if error:  # gunicorn would try for five seconds, and not say why
        raise ConfigError(
            f"the page cannot listen at {address} port {settings.port} ({error}), allowed is `all`, "
            "localhost or an address of this computer, and a free port; choose others with --host and --port"
        )
    die_with_parent()
    _Server(settings).run()


def is_secure(settings: PageSettings) -> bool:
    """Whether the page is served over HTTPS."""
    if settings.is_secure is not None:
        return settings.is_secure
    return not ipaddress.ip_address(listening_address(settings.host)).is_loopback


class _Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """Gunicorn with one worker: the clients of the car live in it, and there must be one of each."""

    def __init__(self, settings: PageSettings) -> None:
        self._settings = settings
        address = listening_address(settings.host)
        bare = f"[{address}]" if ":" in address else address
        self._bind = f"{bare}:{settings.port}"
        is_loopback = ipaddress.ip_address(address).is_loopback
        config = CarConfig() if settings.config is None else read_config(settings.config)
        self._name = "" if settings.config is None or is_loopback else config.name
        names = (*settings.names, f"{host_label(self._name)}.local") if self._name else settings.names
        self._hosts = Hosts(names, loopback_only=is_loopback)
        self._access = AccessStore(settings.access_dir)
        self._webhook = settings.webhook or config.page.webhook
        if self._webhook:  # refused here, in words, not in the worker
            checked_url(self._webhook)
            webhook_key(self._access.root)
        self._tls: TlsContexts | None = None
        if is_secure(settings):
            self._tls = TlsContexts(Certificates(self._access.root), self._hosts)
            self._tls.current()  # refuses here, in words, what would fail in the worker
        super().__init__()

    def load_config(self) -> None:
        """Set gunicorn up."""
        settings: dict[str, object] = {
            "bind": self._bind,
            "worker_class": CarWorker,
            "workers": 1,
            "threads": THREADS,
            "graceful_timeout": 1,
            "control_socket_disable": True,
            "forwarded_allow_ips": "",  # no proxy stands before this page, and nobody may pose as one
            "loglevel": "warning",
            "post_fork": _after_fork,
            "post_worker_init": self._announce,
        }
        if self._tls is not None:
            pem = str(self._tls.certificates.server_file)
            settings |= {"certfile": pem, "keyfile": pem, "ssl_context": self._tls.hook}
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """Return the application; gunicorn calls this in the worker."""
        hil_dir = self._settings.hil_dir
        vehicle = VehicleClient(self._settings.run_dir, source="page")
        if self._name:
            secure, port = self._tls is not None, self._settings.port
            Announcer(
                self._name,
                port,
                is_secure=secure,
                addresses=self._hosts.addresses,
                tell_taken=self._hosts.note_taken,
            ).start()
        webhook = Webhook(
            self._webhook,
            lambda: webhook_key(self._access.root),
            is_fixed=bool(self._settings.webhook),
        )
        webhook.start()
        app = create_app(
            vehicle,
            None if hil_dir is None else WorldFollower(hil_dir),
            vehicle.now_ns,
            access_store=self._access,
            hosts=self._hosts,
            certificates=None if self._tls is None else self._tls.certificates,
            simulator=None if hil_dir is None else SimulatorDesk(hil_dir),
            shelf=RunShelf(self._settings.runs_dir, followed_quota(self._settings.config)),
            recorder=RecorderFollower(self._settings.run_dir),
            marker=MarkerFollower(self._settings.run_dir),
            config_file=self._settings.config,
            logs=CarLogs(self._settings.log_dir),
            webhook=webhook,
            sticks=Sticks(),
            wifi=Wifi(vehicle) if hil_dir is None else None,
        )
        watch = app.extensions["race_watch"]
        assert isinstance(watch, RaceWatch)
        watch.start()
        return app

    def _announce(self, worker: Worker) -> None:
        if worker.age == 1:  # not again when a worker is replaced
            scheme = "http" if self._tls is None else "https"
            sys.stdout.write(f"{scheme}://{self._bind}/\n")
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
    parser.add_argument("--host", default="127.0.0.1", help="`all`, localhost or an address")
    parser.add_argument("--port", type=int, default=8080)
    scheme = parser.add_mutually_exclusive_group()
    scheme.add_argument("--https", dest="is_secure", action="store_true", default=None)
    scheme.add_argument("--http", dest="is_secure", action="store_false")
    parser.add_argument("--name", dest="names", action="append", default=[], help="another name of this car")
    parser.add_argument("--access-dir", type=Path)
    parser.add_argument("--webhook", default="", help="where race events are sent")
    parser.add_argument("--runs", dest="runs_dir", type=Path, help="folder of the recorded runs")
    parser.add_argument("--config", type=Path, help="this car's car.toml")
    parser.add_argument("--log-dir", type=Path, help="folder of the processes' logs")
    given = vars(parser.parse_args())
    try:
        serve(PageSettings(**{**given, "names": tuple(given["names"])}))
    except LapwingError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
