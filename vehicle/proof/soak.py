"""`lapwing soak`: hours of driving in lockstep with random faults, starts and stops, judged in every cycle.

Time is cut into stretches, each with its own seed and car; finished ones are kept in a file, so that a soak
that was ended goes on where it was.
"""

import multiprocessing
import os
import random
import resource
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from models.bundle import load_bundle
from vehicle.errors import HilError
from vehicle.hil.faults import FAULTS, HOST_PARTS, MOMENTARY, Part, order_fault
from vehicle.messages import GUARDED_STATES, MOVING_STATES, DriveState, RequestKind, TickRecord
from vehicle.proof.outcomes import ALL, BOARD_BOUND_S, PROVED_PARTS
from vehicle.proof.software import software
from vehicle.proof.stepped_car import NEUTRAL_TOLERANCE_US, SteppedCar, stepped_car
from vehicle.realtime import die_with_parent

STRETCH_S = 120.0
PROCESSES = 2
LONGEST_DRIVE_S = 8.0
LOOK_EVERY_S = 0.5
FAULT_SHARE = 0.7
"""Of the drives that something breaks in."""
WAYS_TO_STOP = (RequestKind.DISARM, RequestKind.EMERGENCY_STOP)
ENDING = frozenset({(Part.BOARD, "wrong")})
"""Not among the random faults: the board's neutral is another car's then, which a start refuses."""


class Stretch(msgspec.Struct):
    """What one stretch saw."""

    seed: int
    simulated_s: float = 0.0
    driven_m: float = 0.0
    drives: int = 0
    faults: int = 0
    stops: int = 0
    worst_neutral_s: float = 0.0
    """From the tick that decided to stop, by the board's pulses."""
    missed: int = 0
    memory_mb: float = 0.0
    descriptors: int = 0
    broken: list[str] = []
    """Invariants that did not hold; none may be here."""
    is_live: bool = False
    """On the real clock, by every process of a car; else in lockstep."""
    inconclusive: int = 0
    """Stops that the board's diary cannot date, because its process woke up too late."""
    gaps: int = 0
    """Times when records were lost on their way to the judge."""
    software: str = ""
    """What was soaked: a commit, or a version; empty in files of before that was kept."""


class Judge:
    """Looks at every tick. What may never be, whatever breaks."""

    def __init__(self, neutral_us: float, reverse_side: float) -> None:
        self._neutral_us = neutral_us
        self._reverse_side = reverse_side
        self._before = DriveState.DISARMED
        self.stopped_ns: int | None = None
        """When the last stop was decided."""

    def look(self, record: TickRecord, now_ns: int) -> list[str]:
        """Return what is wrong with this tick, which began now by a clock that nothing breaks."""
        wrong, before, now = [], self._before, record.state
        off_us = record.sent.throttle_us - self._neutral_us
        if now not in GUARDED_STATES and record.sent.armed:
            wrong.append(f"armed while {now}")
        if now not in MOVING_STATES and abs(off_us) > NEUTRAL_TOLERANCE_US:
            wrong.append(f"throttle {record.sent.throttle_us:.0f} us while {now}")
        if now in MOVING_STATES and before not in {now, DriveState.ARMING}:
            wrong.append(f"from {before} straight to {now}")
        if before is DriveState.FAILSAFE and now not in {DriveState.FAILSAFE, DriveState.DISARMED}:
            wrong.append(f"from failsafe to {now}")
        if now is DriveState.AUTONOMOUS and off_us * self._reverse_side > NEUTRAL_TOLERANCE_US:
            wrong.append(f"the policy drives backwards: {record.sent.throttle_us:.0f} us")
        if before in GUARDED_STATES and now not in GUARDED_STATES:
            self.stopped_ns = now_ns
        elif now in GUARDED_STATES:
            self.stopped_ns = None
        self._before = now
        return wrong

    def forget(self, state: DriveState = DriveState.DISARMED) -> None:
        """Begin with a fresh process, or after ticks that nobody saw."""
        self._before, self.stopped_ns = state, None


def drive_stretch(policy: str, seed: int, length_s: float) -> Stretch:
    """Drive one stretch and return what was seen."""
    rng = random.Random(seed)  # noqa: S311 # repeatable, not secret
    seen = Stretch(seed, software=software())
    with stepped_car(policy, wiring=("aws", "standard")[seed % 2], seed=seed) as car:
        throttle = car.calibration.throttle
        judge = Judge(car.neutral_us, -1.0 if throttle.reverse_us < throttle.neutral_us else 1.0)
        car.on_tick = lambda record: seen.broken.extend(judge.look(record, car.now_ns))
        began_ns = car.now_ns
        while car.now_ns - began_ns < length_s * 1e9:
            _one_drive(car, rng, judge, seen)
        seen.simulated_s = (car.now_ns - began_ns) / 1e9
    seen.memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seen.descriptors = len(os.listdir("/proc/self/fd"))
    return seen


def _one_drive(car: SteppedCar, rng: random.Random, judge: Judge, seen: Stretch) -> None:
    state = rng.choice(ALL)
    car.put_down(s_m=rng.uniform(0.0, 15.0))
    if reason := car.start(state, speed_cap_frac=rng.choice([0.3, 0.6, 1.0])):
        seen.broken.append(f"does not start {state}: {reason}")
        return
    seen.drives += 1
    _watch(car, rng.uniform(0.2, LONGEST_DRIVE_S), judge, seen)
    broken = _break_something(car, rng) if rng.random() < FAULT_SHARE else None
    seen.faults += broken is not None
    _watch(car, rng.uniform(0.5, 3.0), judge, seen)
    seen.missed += car.status.missed_decisions  # counted anew in every drive
    if broken is not None:
        _mend(car, *broken)
    if car.crash is not None:
        judge.forget()
        car.restart()
    elif car.state is DriveState.FAILSAFE:
        seen.stops += 1
        _watch(car, 0.5, judge, seen)
    car.ask(rng.choice(WAYS_TO_STOP))
    _watch(car, 0.5, judge, seen)


def _watch(car: SteppedCar, duration_s: float, judge: Judge, seen: Stretch) -> None:
    """Run for a while, and judge every tick and, now and then, the motor's pulses."""
    end_ns = car.now_ns + round(duration_s * 1e9)
    while car.now_ns < end_ns and car.crash is None:
        look_ns = car.now_ns + round(LOOK_EVERY_S * 1e9)
        while car.now_ns < min(look_ns, end_ns) and car.crash is None:
            car.tick()
        seen.driven_m += abs(car.truth().speed_mps) * LOOK_EVERY_S
        if judge.stopped_ns is not None:
            neutral_s = car.neutral_after_s(judge.stopped_ns)
            seen.worst_neutral_s = max(seen.worst_neutral_s, neutral_s)
            if neutral_s > BOARD_BOUND_S:
                seen.broken.append(f"neutral {neutral_s * 1e3:.0f} ms after the stop")


def _break_something(car: SteppedCar, rng: random.Random) -> tuple[Part, str]:
    part = rng.choice(PROVED_PARTS)
    fault = rng.choice([fault for fault in FAULTS[part] if (part, fault) not in ENDING])
    if part in HOST_PARTS:
        assert car.vehicle.host_faults is not None
        car.vehicle.host_faults.order(order_fault(part, fault, None, car.vehicle.host_faults.elapsed_s()))
    else:
        car.world.control("fault", part=part, fault=fault)
    return part, fault


def _mend(car: SteppedCar, part: Part, fault: str) -> None:
    if part in HOST_PARTS:
        assert car.vehicle.host_faults is not None
        car.vehicle.host_faults.mend()
    elif (part, fault) not in MOMENTARY:
        car.world.control("fault", part=part, fault=fault, on=False)


def run_soak(policy: str, hours: float, *, seed: int, kept: Path, as_json: bool = False) -> int:
    """Soak for so many simulated hours; return 0 only when every invariant held.

    Raises LapwingError for a policy that cannot be loaded.
    """
    load_bundle(policy)
    console = Console(stderr=as_json)
    done, missing = begin(kept, hours, seed, console, STRETCH_S)
    context = multiprocessing.get_context("spawn")
    workers = ProcessPoolExecutor(PROCESSES, context, initializer=die_with_parent)
    with workers as pool, kept.open("ab") as file:
        waiting = [pool.submit(drive_stretch, policy, number, STRETCH_S) for number in missing]
        for future in as_completed(waiting):
            stretch = future.result()
            done[stretch.seed] = stretch
            file.write(msgspec.json.encode(stretch) + b"\n")
            file.flush()
            console.print(f"seed {stretch.seed}: {stretch.drives} drives, {len(stretch.broken)} broken")
    return finish([done[number] for number in sorted(done)], console, as_json=as_json)


def begin(
    kept: Path, hours: float, seed: int, console: Console, stretch_s: float
) -> tuple[dict[int, Stretch], list[int]]:
    """Return the stretches of this soak that are done, and the seeds of those that are not."""
    known = _read(kept)
    kept.write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in known.values()))
    count = max(1, round(hours * 3600 / stretch_s))
    wanted = range(seed, seed + count)
    done = {number: known[number] for number in wanted if number in known}
    if done:
        console.print(f"{len(done)} stretches are done already, by {kept}")
    return done, [number for number in wanted if number not in done]


def finish(stretches: Sequence[Stretch], console: Console, *, as_json: bool) -> int:
    """Report; return 0 only when every invariant held."""
    console.print(_report(stretches))
    broken = [(stretch.seed, text) for stretch in stretches for text in stretch.broken]
    for number, text in broken:
        console.print(f"[red]seed {number}: {text}[/red]")
    if as_json:
        print(msgspec.json.encode(stretches).decode())  # noqa: T201 - the answer
    return 1 if broken else 0


def _read(kept: Path) -> dict[int, Stretch]:
    """Return the stretches that a file holds; a last line cut short is left out."""
    if not kept.exists():
        return {}
    lines = kept.read_bytes().split(b"\n")[:-1]
    stretches = [msgspec.json.decode(line, type=Stretch) for line in lines if line.endswith(b"}")]
    return {stretch.seed: stretch for stretch in stretches}


def figures(stretches: Sequence[Stretch]) -> dict[str, str]:
    """Return what all stretches together saw, in words."""
    is_live = any(one.is_live for one in stretches)
    hours = sum(one.simulated_s for one in stretches) / 3600
    live = {
        "stops whose time the busy computer spoilt": str(sum(one.inconclusive for one in stretches)),
        "times that records were lost": str(sum(one.gaps for one in stretches)),
    }
    return {
        "on the real clock" if is_live else "simulated": f"{hours:.2f} h",
        "driven": f"{sum(one.driven_m for one in stretches) / 1000:.2f} km",
        "drives": str(sum(one.drives for one in stretches)),
        "faults injected": str(sum(one.faults for one in stretches)),
        "stops by the car itself": str(sum(one.stops for one in stretches)),
        "worst time from stop to neutral": f"{max(one.worst_neutral_s for one in stretches) * 1e3:.0f} ms",
        "missed decisions": str(sum(one.missed for one in stretches)),
        "memory, least and most": f"{_span([one.memory_mb for one in stretches])} MB",
        "descriptors, least and most": _span([float(one.descriptors) for one in stretches]),
        "invariants broken": str(sum(len(one.broken) for one in stretches)),
        **(live if is_live else {}),
    }


def _report(stretches: Sequence[Stretch]) -> Table:
    table = Table("what", "seen", title="The soak")
    for what, figure in figures(stretches).items():
        table.add_row(what, figure)
    return table


def as_markdown(kept: Path) -> str:
    """Return the table of what a file of stretches holds, for docs/safety.md; raises LapwingError."""
    stretches = list(_read(kept).values())
    if not stretches:
        raise HilError(f"{kept} holds no finished stretch of a soak; run `lapwing soak --kept {kept}` first")
    rows = [f"| {what} | {figure} |" for what, figure in figures(stretches).items()]
    command = "lapwing soak --real-time" if was_live(kept) else "lapwing soak"
    by = ", ".join(sorted({one.software or "a commit that was not kept" for one in stretches}))
    numbers = [one.seed for one in stretches]
    seeds = f"Seeds {min(numbers)} to {max(numbers)}, by `{command}` at {by}:"
    return "\n".join([seeds, "", "| what | seen |", "|---|---|", *rows])


def was_live(kept: Path) -> bool:
    """Return whether a file is of a soak on the real clock."""
    return any(one.is_live for one in _read(kept).values())


def _span(values: list[float]) -> str:
    return f"{min(values):.0f} to {max(values):.0f}"
