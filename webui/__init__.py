"""The car's web page, in a process of its own."""

import time
from collections.abc import Callable
from pathlib import Path

from flask import Flask
from markupsafe import Markup, escape

from models.store import PolicyStore
from vehicle.runs import RunShelf
from webui import (
    access,
    access_pages,
    api,
    calibrate,
    clock,
    control,
    drive,
    guard,
    models,
    page_scripts,
    race,
    runs,
    settings,
    sockets,
    static_files,
    stick_models,
    support,
    video,
)
from webui import simulator as simulation
from webui import wifi as network
from webui.access import Access
from webui.access_store import AccessStore
from webui.car import Simulator, Vehicle, World
from webui.car_logs import CarLogs
from webui.certificates import Certificates
from webui.commands import Commands
from webui.glance import Glance
from webui.hosts import Hosts
from webui.laps import Laps
from webui.marker import Marker
from webui.model_changes import ModelChanges
from webui.race_watch import RaceWatch
from webui.recording import Recorder, WatchedRecorder
from webui.run_films import RunFilms
from webui.settings import car_name
from webui.sockets import Places
from webui.speed_caps import SpeedCaps
from webui.sticks import Sticks
from webui.uploads import Uploads
from webui.webhook import Webhook
from webui.wifi import Wifi

PAGES = (
    ("drive.page", "Drive"),
    ("race.page", "Race"),
    ("runs.page", "Runs"),
    ("models.page", "Models"),
    ("calibrate.page", "Calibrate"),
    ("settings.page", "Settings"),
)
"""Endpoint and name of each page that the navigation leads to."""

SIMULATOR_PAGE = ("simulator.page", "Simulator")
"""In front of a HIL car only."""


def create_app(
    vehicle: Vehicle,
    world: World | None = None,
    clock_ns: Callable[[], int] = time.monotonic_ns,
    store: PolicyStore | None = None,
    *,
    access_store: AccessStore | None = None,
    hosts: Hosts | None = None,
    certificates: Certificates | None = None,
    simulator: Simulator | None = None,
    shelf: RunShelf | None = None,
    recorder: Recorder | None = None,
    marker: Marker | None = None,
    config_file: Path | None = None,
    logs: CarLogs | None = None,
    webhook: Webhook | None = None,
    wifi: Wifi | None = None,
    sticks: Sticks | None = None,
) -> Flask:
    """Return the page's application; whoever serves it starts its `race_watch`.

    Args:
        vehicle: made in the process that serves, because ZeroMQ does not survive a fork.
        world: the truth of a HIL car, for people to look at; None in front of a real car.
        clock_ns: the vehicle's clock, that of every stamp which a page echoes.
        store: where this car's policies are kept; this user's own place where none is given.
        access_store: who may come in; this user's own where none is given.
        hosts: the names and addresses that the page answers to; loopback alone where none are given.
        certificates: of a car whose page is served over HTTPS.
        simulator: takes orders for a HIL car; None in front of a real car, which has no such page.
        shelf: where this car's runs are kept; this user's own place where none is given.
        recorder: how the recorder fares; None where nobody records.
        marker: what the start marker says; None where nobody keeps time by one.
        config_file: this car's `car.toml`; None where it was started without one.
        logs: of the car's processes; the system's journal where none are given.
        webhook: where the owner wants race events sent; None where nowhere.
        sticks: looks for USB sticks with policies; None where nobody does.
        wifi: of this computer, to be changed from the page; None in front of a simulated car.

    """
    app = Flask(__name__, static_folder=None)
    pages = PAGES if simulator is None else (*PAGES, SIMULATOR_PAGE)
    app.config["PAGES"] = pages
    app.jinja_env.globals["pages"] = pages
    app.jinja_env.globals["modules_of"] = page_scripts.modules_of
    app.jinja_env.filters["in_code"] = in_code
    app.context_processor(lambda: {"simulated": _is_simulated(vehicle, world)})
    hosts = hosts or Hosts(loopback_only=True)
    static_files.give_static_files(app, hosts)
    guard.protect(app, hosts)
    access.protect(app, Access(access_store or AccessStore()))
    app.register_blueprint(access_pages.make_blueprint(certificates))
    laps = Laps(vehicle, world, clock_ns, marker)
    policies = store or PolicyStore()
    caps = SpeedCaps(policies.root / "speed-caps.json")
    uploads = Uploads(policies, vehicle)
    changes = ModelChanges(policies, uploads)
    if recorder is not None:
        recorder = WatchedRecorder(recorder, vehicle.status)
    glance = Glance(vehicle, world, laps, caps, clock_ns, recorder=recorder, models=changes)
    places = Places()
    app.config["SOCK_SERVER_OPTIONS"] = sockets.OPTIONS
    app.register_blueprint(drive.make_blueprint(vehicle, glance, clock_ns))
    commands = Commands(vehicle, laps, caps, clock_ns)
    app.register_blueprint(control.make_blueprint(vehicle, commands, glance, places))
    app.register_blueprint(api.make_blueprint(commands, glance))
    app.register_blueprint(video.make_blueprint(vehicle, places))
    watch = RaceWatch(vehicle, laps, clock_ns)
    if webhook is not None:
        watch.listen(webhook.put)
    app.extensions["race_watch"] = watch
    app.register_blueprint(race.make_blueprint(vehicle, glance, laps, watch, places))
    app.register_blueprint(runs.make_blueprint(shelf or RunShelf(), recorder, RunFilms(vehicle)))
    app.register_blueprint(models.make_blueprint(policies, vehicle, uploads))
    app.register_blueprint(stick_models.make_blueprint(policies, vehicle, uploads, sticks))
    app.register_blueprint(calibrate.make_blueprint(vehicle, clock_ns))
    logs = logs or CarLogs(None)
    is_hil = world is not None
    app.register_blueprint(settings.make_blueprint(config_file, vehicle, logs, hosts, is_hil=is_hil))
    app.register_blueprint(support.make_blueprint(config_file, vehicle, logs, webhook))
    app.register_blueprint(network.make_blueprint(wifi, lambda: car_name(config_file), hosts))
    app.register_blueprint(clock.make_blueprint(shelf or RunShelf(), is_told=shelf is not None))
    if world is not None and simulator is not None:
        app.register_blueprint(simulation.make_blueprint(vehicle, world, simulator))
    return app


def in_code(words: str) -> Markup:
    """Return words as HTML, what stands in backticks as code."""
    pieces = words.split("`")
    code = Markup("<code>{}</code>")
    return Markup().join(code.format(piece) if k % 2 else escape(piece) for k, piece in enumerate(pieces))


def _is_simulated(vehicle: Vehicle, world: World | None) -> bool:
    """Whether nothing real moves; the world is there while its vehicle restarts, too."""
    status = vehicle.status()
    return world is not None if status is None else status.hil
