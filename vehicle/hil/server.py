"""The HIL car's world as a process: `python -m vehicle.hil.server SETTINGS_AS_JSON`.

In lockstep it holds the board too; in real time the board is a process of its own (`board_process`).
"""

import sys
import time
from collections.abc import Callable

import numpy as np

from vehicle.hil.dynamics import AWS_CAR, STANDARD_CAR
from vehicle.hil.lens import LIGHTS
from vehicle.hil.lockstep_world import LockstepWorld
from vehicle.hil.realtime_world import RealtimeWorld
from vehicle.hil.scenery import Scenery
from vehicle.hil.settings import LOCKSTEP_START_NS, HilSettings, from_json, prepare_hil_dir
from vehicle.hil.things import Things
from vehicle.hil.track import load_track
from vehicle.hil.world import World
from vehicle.supervisor import StopSignal, exit_status

CARS = {"aws": AWS_CAR, "standard": STANDARD_CAR}


def make_world(settings: HilSettings, now_ns: int) -> World:
    """Return the world these settings describe; raises LapwingError when there is no such track."""
    car, camera, scenery = CARS[settings.wiring], LIGHTS[settings.light], Scenery()
    if settings.randomise:
        rng = np.random.default_rng(settings.seed)
        car, camera, scenery = car.randomised(rng), camera.randomised(rng), scenery.randomised(rng)
    track = load_track(settings.track)
    return World(
        track,
        car=car,
        camera=camera,
        scenery=scenery,
        size=settings.picture_size(),
        right_camera=settings.right_camera,
        lidar=settings.lidar,
        things=Things(track, settings.obstacles, settings.cars, settings.marker, start_ns=now_ns),
        seed=settings.seed,
        now_ns=now_ns,
    )


def serve_world(settings: HilSettings, is_stopping: Callable[[], bool]) -> None:
    """Serve the world in this process until told to stop; raises LapwingError when it cannot start."""
    prepare_hil_dir(settings.hil_dir)
    server: LockstepWorld | RealtimeWorld
    if settings.lockstep:
        server = LockstepWorld(settings, make_world(settings, LOCKSTEP_START_NS))
    else:
        world = make_world(settings, time.monotonic_ns())
        server = RealtimeWorld(settings, world, time.monotonic_ns())
    try:
        server.serve(is_stopping)
    finally:
        server.close()


def main() -> int:
    """Serve the world with the settings given as JSON."""
    return exit_status(lambda: serve_world(from_json(sys.argv[1]), StopSignal(is_hardware=True)))


if __name__ == "__main__":
    sys.exit(main())
