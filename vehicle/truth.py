"""What really happens in the HIL world: for people, pages and recorders, never for the driving software.

The world publishes one `WorldTruth` per camera frame on a ZeroMQ PUB socket of its own
(`truth_endpoint`). An import contract keeps this module out of everything that drives.
"""

from pathlib import Path

import msgspec

SCHEMA_VERSION = 1


class Crossing(msgspec.Struct, frozen=True):
    """One completed lap."""

    lap: int
    """Counts from 1."""
    time_s: float


class Thing(msgspec.Struct, frozen=True):
    """Something in the way: an obstacle or another car, from above."""

    x_m: float
    """Of its middle."""
    y_m: float
    heading_rad: float
    length_m: float
    width_m: float


class TrackLayout(msgspec.Struct, frozen=True):
    """The lines of a track from above, in metres, with as many points as an eye needs."""

    track: str
    length_m: float
    center: list[tuple[float, float]]
    inner: list[tuple[float, float]]
    outer: list[tuple[float, float]]


class WorldTruth(msgspec.Struct, frozen=True):
    """The car's real state at one instant of the world's clock."""

    now_ns: int
    frame_number: int
    track: str
    x_m: float
    y_m: float
    heading_rad: float
    speed_mps: float
    steering_rad: float
    """Of the front wheels, positive left."""
    progress_frac: float
    """Share of the current lap, 0 to 1."""
    offset_m: float
    """From the centre line, positive left."""
    off_track: bool
    crashed: bool
    laps: tuple[Crossing, ...]
    lap_started_ns: int
    """0 before the first crossing of the start line."""
    servo_pulse_us: float
    """What the servo receives now; 0 without pulses."""
    esc_pulse_us: float
    faults: tuple[str, ...] = ()
    """Those switched on now, as `part=fault`."""
    crashed_into: str = ""
    """`wall` or `thing`; empty: into nothing."""
    things: tuple[Thing, ...] = ()
    """What stands and drives beside the car now."""
    version: int = SCHEMA_VERSION


def laps_begun_since(truth: WorldTruth, begun_ns: int) -> tuple[Crossing, ...]:
    """Return the laps that began at this moment of the world's clock or later.

    A lap that the car was in before, and stood still in for a while, says nothing of the drive since.
    """
    lap_began_ns = truth.lap_started_ns
    kept: list[Crossing] = []
    for lap in reversed(truth.laps):
        lap_began_ns -= round(lap.time_s * 1e9)
        if lap_began_ns < begun_ns:
            break
        kept.append(lap)
    return tuple(reversed(kept))


def truth_endpoint(hil_dir: Path) -> str:
    """Return where the world of this HIL directory publishes the truth."""
    return f"ipc://{hil_dir}/truth"


def control_endpoint(hil_dir: Path) -> str:
    """Return where the world of this HIL directory takes orders (faults, reset, quit)."""
    return f"ipc://{hil_dir}/control"
