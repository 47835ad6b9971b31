"""What people, pages and tests can ask of a HIL world: one JSON object each, named by its `op`."""

from collections.abc import Callable
from typing import Annotated, Any

import msgspec

from vehicle.errors import HilError
from vehicle.hil.faults import (
    MOMENTARY,
    FaultOrder,
    FaultSchedule,
    order_fault,
    refuse_host_part,
    refuse_world_part,
)


class Ping(msgspec.Struct, frozen=True, tag_field="op", tag="ping"):
    """Answer when ready."""


class FaultOp(msgspec.Struct, frozen=True, tag_field="op", tag="fault"):
    """Switch a fault on or off."""

    part: str
    fault: str
    on: bool = True
    amount: float | None = None
    at_s: float | None = None
    """Of the world's clock since its start; None: now."""
    for_s: float | None = None
    """None: until switched off."""


class StopInputOp(msgspec.Struct, frozen=True, tag_field="op", tag="stop_input"):
    """Hold the board's stop switch, or let go."""

    on: bool = True


class ResetOp(msgspec.Struct, frozen=True, tag_field="op", tag="reset"):
    """Put the car down at rest somewhere; laps count anew."""

    s_m: float | None = None
    """Along the track; None: where cars start."""
    offset_m: float = 0.0
    turned_rad: float = 0.0


class TrackOp(msgspec.Struct, frozen=True, tag_field="op", tag="track"):
    """Carry the car, which must stand, to another track; in real time it stands there a second later."""

    track: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
    """A name or the path of a route file, as `vehicle.hil.track.load_track` takes it."""


class LayoutOp(msgspec.Struct, frozen=True, tag_field="op", tag="layout"):
    """Tell the track's lines, for people to look at."""


class PulsesOp(msgspec.Struct, frozen=True, tag_field="op", tag="pulses"):
    """Tell the board's pulses, and the commands it accepted, since a time."""

    since_ns: int = 0


class TruthOp(msgspec.Struct, frozen=True, tag_field="op", tag="truth"):
    """Tell the truth of this moment."""


class AdvanceOp(msgspec.Struct, frozen=True, tag_field="op", tag="advance"):
    """Let time pass in a lockstep world that nobody drives."""

    s: Annotated[float, msgspec.Meta(ge=0.0, le=3600.0)]


class QuitOp(msgspec.Struct, frozen=True, tag_field="op", tag="quit"):
    """End the world."""


Order = Ping | FaultOp | StopInputOp | ResetOp | TrackOp | LayoutOp | PulsesOp | TruthOp | AdvanceOp | QuitOp
HostOrder = Ping | FaultOp
"""What can be asked of the process that drives a HIL car."""
Answer = dict[str, Any]


def switch_fault(order: FaultOp, faults: FaultSchedule, now_s: float) -> FaultOrder:
    """Put an order to break or mend something of the world into the schedule, and return it.

    Raises:
        HilError: there is no such fault, or it is not the world's to make.

    """
    return _switch(order, faults, now_s, refuse_host_part)


def switch_host_fault(order: FaultOp, faults: FaultSchedule, now_s: float) -> FaultOrder:
    """Put an order to break or mend something of the process that drives into the schedule, and return it.

    Raises:
        HilError: there is no such fault, or it is the world's to make.

    """
    return _switch(order, faults, now_s, refuse_world_part)


def _switch(
    order: FaultOp, faults: FaultSchedule, now_s: float, refuse: Callable[[FaultOrder], None]
) -> FaultOrder:
    start_s = now_s if order.at_s is None else order.at_s
    end_s = None if order.for_s is None else start_s + order.for_s
    checked = order_fault(order.part, order.fault, order.amount, start_s, end_s)
    refuse(checked)
    if order.on:
        faults.add(checked)
    elif (checked.part, checked.fault) in MOMENTARY:
        raise HilError(f"{checked.part}={checked.fault} happens once; there is nothing to switch off")
    else:
        faults.switch_off(checked.part, checked.fault, start_s)
    return checked
