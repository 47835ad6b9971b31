"""What people, pages and tests can ask of a HIL world: one JSON object each, named by its `op`."""

from typing import Annotated, Any

import msgspec

from vehicle.errors import HilError
from vehicle.hil.faults import MOMENTARY, FaultOrder, FaultSchedule, order_fault, refuse_host_part


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


Order = Ping | FaultOp | StopInputOp | ResetOp | PulsesOp | TruthOp | AdvanceOp | QuitOp
Answer = dict[str, Any]


def switch_fault(order: FaultOp, faults: FaultSchedule, now_s: float) -> FaultOrder:
    """Put an order to break or mend something into the schedule, and return it; raises HilError."""
    start_s = now_s if order.at_s is None else order.at_s
    end_s = None if order.for_s is None else start_s + order.for_s
    checked = order_fault(order.part, order.fault, order.amount, start_s, end_s)
    refuse_host_part(checked)
    if order.on:
        faults.add(checked)
    elif (checked.part, checked.fault) in MOMENTARY:
        raise HilError(f"{checked.part}={checked.fault} happens once; there is nothing to switch off")
    else:
        faults.switch_off(checked.part, checked.fault, start_s)
    return checked
