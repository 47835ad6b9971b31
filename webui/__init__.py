"""The car's web page, in a process of its own."""

import time
from collections.abc import Callable

from flask import Flask

from webui import drive, guard, video
from webui.car import Vehicle, World


def create_app(
    vehicle: Vehicle, world: World | None = None, clock_ns: Callable[[], int] = time.monotonic_ns
) -> Flask:
    """Return the page's application.

    Args:
        vehicle: made in the process that serves, because ZeroMQ does not survive a fork.
        world: the truth of a HIL car, for people to look at; None in front of a real car.
        clock_ns: CLOCK_MONOTONIC, the clock of every stamp that a page echoes.

    """
    app = Flask(__name__)
    guard.protect(app)
    app.register_blueprint(drive.make_blueprint(vehicle, world, clock_ns))
    app.register_blueprint(video.make_blueprint(vehicle))
    return app
