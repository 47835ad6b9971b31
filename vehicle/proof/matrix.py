"""Proves the fault matrix row after row on one car: breaks a part and watches the motor's pulses."""

from collections.abc import Iterable, Iterator

import msgspec

from vehicle.hil.faults import HOST_PARTS, MOMENTARY, Part, order_fault
from vehicle.messages import DriveState, Fault
from vehicle.proof.outcomes import NotUsed, Row, Stop, Tolerated, Undetectable
from vehicle.proof.stepped_car import SteppedCar, distance_m
from vehicle.truth import WorldTruth

DRIVEN_S = 0.4
"""Of driving before a part is broken."""
WATCHED_S = 0.8
"""Of driving on with a fault that stops nothing."""
WATCHED_LINK_S = 2.0
"""Where only a driver's silence could stop it: longer than any lease."""
NOT_USED_S = 0.4
AFTER_S = 0.3
"""Of watching a stopped car, once with the fault and once after it."""
STANDSTILL_S = 3.0
SLOWEST_MPS = 0.02
LOOK_EVERY_S = 0.1


class Proof(msgspec.Struct, frozen=True):
    """What was seen of one row."""

    row: Row
    amount: float | None
    neutral_s: float | None = None
    """From the beginning of the fault; None where the car drove on."""
    distance_m: float | None = None
    """From the beginning of the fault to standstill."""
    fault: Fault | None = None
    """What the car named."""
    problems: tuple[str, ...] = ()
    """What was seen and not claimed; empty: proved."""

    def in_words(self) -> str:
        """Return what was seen, for a table."""
        if self.problems:
            return "; ".join(self.problems)
        if self.neutral_s is None:
            return "drives on"
        return f"{self.fault or 'process ended'}, {self.neutral_s * 1e3:.0f} ms, {self.distance_m:.2f} m"


def prove(car: SteppedCar, rows: Iterable[Row]) -> Iterator[Proof]:
    """Prove rows in their order on one car; each start shows that the row before has left nothing behind."""
    for row in rows:
        match row.outcome:
            case Stop() as outcome:
                yield _prove_stop(car, row, outcome)
            case Tolerated():
                yield _prove_drives_on(car, row, row.outcome.amount)
                yield _prove_stop(car, row, row.outcome.beyond)
            case Undetectable() | NotUsed() as outcome:
                yield _prove_drives_on(car, row, outcome.amount)
    reason = car.start(DriveState.MANUAL)
    assert not reason, f"the car could not be driven after the last row: {reason}"


def _prove_stop(car: SteppedCar, row: Row, claim: Stop) -> Proof:
    problems: list[str] = []
    if reason := _set_off(car, row.state):
        return Proof(row, claim.amount, problems=(reason,))
    where, began_ns = car.truth(), car.now_ns
    _break(car, row, claim.amount)

    car.run(claim.bound_s + AFTER_S, until=lambda: car.state is DriveState.FAILSAFE or car.crash is not None)
    car.run(AFTER_S)
    named = car.latched_fault
    if claim.faults and named not in claim.faults:
        problems.append(f"named {named}, not {' or '.join(sorted(claim.faults))}")
    if not claim.faults and car.crash is None:
        problems.append("the process goes on")
    if claim.faults and car.crash is not None:
        problems.append(f"the process ended: {car.crash!r}")
    if claim.faults and not car.status.sentence.startswith("Stopped: "):
        problems.append(f"the page says '{car.status.sentence}'")
    distance = distance_m(where, _standing(car))

    neutral_s = car.neutral_after_s(began_ns, claim.neutral_shift_us)
    if neutral_s > claim.bound_s:
        problems.append(f"neutral after {neutral_s * 1e3:.0f} ms, claimed {claim.bound_s * 1e3:.0f} ms")
    problems += _mend_and_watch(car, row)
    return Proof(row, claim.amount, neutral_s, distance, named if claim.faults else None, tuple(problems))


def _standing(car: SteppedCar) -> WorldTruth:
    """Run until the car stands; return where."""
    end_ns = car.now_ns + round(STANDSTILL_S * 1e9)
    while abs((truth := car.truth()).speed_mps) > SLOWEST_MPS and car.now_ns < end_ns:
        car.run(LOOK_EVERY_S)
    return truth


def _mend_and_watch(car: SteppedCar, row: Row) -> list[str]:
    """Let the fault end; it must start nothing, and a process that ended must come back disarmed."""
    expected = DriveState.FAILSAFE
    if car.crash is not None:
        _mend(car, row)
        car.restart()
        expected = DriveState.DISARMED
    else:
        _mend(car, row)
    mended_ns = car.now_ns + 1  # a pulse that starts in this very moment is still of the time before
    car.run(AFTER_S)
    problems = []
    if car.state is not expected:
        problems.append(f"{car.state} after the fault was over, not {expected}")
    if car.neutral_after_s(mended_ns) > 0.0:
        problems.append("drove after the fault was over, and nobody had started it")
    return problems


def _prove_drives_on(car: SteppedCar, row: Row, amount: float | None) -> Proof:
    problems = []
    if reason := _set_off(car, row.state):
        return Proof(row, amount, problems=(reason,))
    _break(car, row, amount)
    car.run(_watch_s(row), until=lambda: car.state is not row.state or car.crash is not None)
    if car.crash is not None:
        problems.append(f"the process ended: {car.crash!r}")
    elif car.state is not row.state:
        problems.append(f"stopped by itself: {car.latched_fault}")
    elif not isinstance(row.outcome, Undetectable) and all(
        car.is_neutral(pulse) for pulse in car.pulses(car.now_ns - 100_000_000)
    ):
        problems.append("the motor got neutral")
    if car.vehicle.disk.writes_tried:
        problems.append(f"{car.vehicle.disk.writes_tried} files were opened to write")
    _mend(car, row)
    if car.crash is not None:
        car.restart()
    return Proof(row, amount, problems=tuple(problems))


def _watch_s(row: Row) -> float:
    if isinstance(row.outcome, NotUsed):
        return NOT_USED_S
    return WATCHED_LINK_S if row.part is Part.OPERATOR_LINK else WATCHED_S


def _set_off(car: SteppedCar, state: DriveState) -> str:
    """Have the car drive; return why it does not, or nothing."""
    if reason := car.start(state):
        return f"does not start: {reason}"
    car.put_down()
    car.run(DRIVEN_S, until=lambda: car.state is not state)
    if car.state is not state:
        return f"stopped before anything was broken: {car.latched_fault}"
    if abs(car.truth().speed_mps) < SLOWEST_MPS:
        return "does not move before anything is broken"
    return ""


def _break(car: SteppedCar, row: Row, amount: float | None) -> None:
    if row.part in HOST_PARTS:
        assert car.vehicle.host_faults is not None
        at_s = car.vehicle.host_faults.elapsed_s()
        car.vehicle.host_faults.order(order_fault(row.part, row.fault, amount, at_s))
    else:
        car.world.control("fault", part=row.part, fault=row.fault, amount=amount)


def _mend(car: SteppedCar, row: Row) -> None:
    if row.part in HOST_PARTS:
        assert car.vehicle.host_faults is not None
        car.vehicle.host_faults.mend()
    elif (row.part, row.fault) not in MOMENTARY:
        car.world.control("fault", part=row.part, fault=row.fault, on=False)
