"""From tick records and a board's diary to rows of the budget table: pure functions, no clock, no process."""

import bisect
import enum
import math
from collections.abc import Sequence

import msgspec
import numpy as np

from vehicle.hil.boards import AcceptedCommand
from vehicle.hil.pulse_log import NEUTRAL_TOLERANCE_US
from vehicle.messages import DriveState, TickRecord

NS_PER_MS = 1e6


class Verdict(enum.StrEnum):
    """How a measurement stands against its budget."""

    MET = "met"
    MISSED = "missed"
    SHOWN = "-"  # there is no budget for it
    IMPOSSIBLE = "not possible here"


class Row(msgspec.Struct, frozen=True):
    """One line of the table."""

    name: str
    measured: str
    """The raw percentiles, in words."""
    budget: str
    verdict: Verdict
    note: str = ""
    values: dict[str, float] = {}
    """The same numbers for programs."""


class Limit(msgspec.Struct, frozen=True):
    """The most that one percentile may be."""

    percentile: float
    most: float


def judged(
    name: str, values: Sequence[float], unit: str, limits: Sequence[Limit] = (), note: str = ""
) -> Row:
    """Return the row of one quantity: p50, p99 and the worst, against limits on its percentiles."""
    budget = ", ".join(f"p{limit.percentile:g} <= {limit.most:g} {unit}" for limit in limits) or "-"
    if not len(values):
        return impossible(name, budget, note or "nothing was measured")
    p50, p99, most = np.percentile(values, [50, 99, 100])
    is_met = all(np.percentile(values, limit.percentile) <= limit.most for limit in limits)
    verdict = (Verdict.MET if is_met else Verdict.MISSED) if limits else Verdict.SHOWN
    return Row(
        name,
        f"p50 {p50:.2f}, p99 {p99:.2f}, worst {most:.2f} {unit} of {len(values)}",
        budget,
        verdict,
        note,
        {"p50": float(p50), "p99": float(p99), "worst": float(most), "count": float(len(values))},
    )


def at_most(name: str, value: float, unit: str, most: float, note: str = "") -> Row:
    """Return the row of one number that should be small."""
    verdict = Verdict.MET if value <= most else Verdict.MISSED
    return Row(name, f"{value:.4g} {unit}", f"<= {most:g} {unit}", verdict, note, {"value": value})


def at_least(name: str, value: float, unit: str, least: float, note: str = "") -> Row:
    """Return the row of one number that should be large."""
    verdict = Verdict.MET if value >= least else Verdict.MISSED
    return Row(name, f"{value:.4g} {unit}", f">= {least:g} {unit}", verdict, note, {"value": value})


def impossible(name: str, budget: str, why: str) -> Row:
    """Return the row of something that this computer cannot show."""
    return Row(name, "-", budget, Verdict.IMPOSSIBLE, why)


def decisions(records: Sequence[TickRecord]) -> list[TickRecord]:
    """Return the ticks in which the policy chose something for a frame."""
    return [
        record
        for record in records
        if record.decided
        and record.state is DriveState.AUTONOMOUS
        and record.action is not None
        and record.times.frame_to_wire_ns > 0
    ]


def overhead_ms(records: Sequence[TickRecord]) -> list[float]:
    """Return, per decision, what is neither decoding nor inference between a frame's stamp and the write."""
    return [
        (record.times.frame_to_wire_ns - record.times.decode_ns - record.times.infer_ns) / NS_PER_MS
        for record in decisions(records)
    ]


def decode_ms(records: Sequence[TickRecord]) -> list[float]:
    """Return, per decision, from the frame's stamp until it was decoded."""
    return [record.times.decode_ns / NS_PER_MS for record in decisions(records)]


def infer_ms(records: Sequence[TickRecord]) -> list[float]:
    """Return, per decision, what the network took."""
    return [record.times.infer_ns / NS_PER_MS for record in decisions(records)]


def frame_to_wire_ms(records: Sequence[TickRecord]) -> list[float]:
    """Return, per decision, from the frame's stamp to the serial write."""
    return [record.times.frame_to_wire_ns / NS_PER_MS for record in decisions(records)]


def lateness_ms(records: Sequence[TickRecord]) -> list[float]:
    """Return how late each decision started after what triggered it."""
    return [record.lateness_ns / NS_PER_MS for record in decisions(records)]


def wait_ms(records: Sequence[TickRecord]) -> list[float]:
    """Return, per decision, from the frame being usable to the start of the tick."""
    return [record.times.wait_ns / NS_PER_MS for record in decisions(records)]


def observe_ms(records: Sequence[TickRecord]) -> list[float]:
    """Return, per decision, what making the network's input took."""
    return [record.times.observe_ns / NS_PER_MS for record in decisions(records)]


def rest_of_step_ms(records: Sequence[TickRecord]) -> list[float]:
    """Return, per decision, what the tick took beside observing and inference."""
    return [
        (record.times.step_ns - record.times.observe_ns - record.times.infer_ns) / NS_PER_MS
        for record in decisions(records)
    ]


def late_frames_note(records: Sequence[TickRecord]) -> str:
    """Return how many decisions did not wait for a late frame and used the one before again."""
    made = decisions(records)
    late = sum(record.trigger == "deadline" for record in made)
    return f"{late} of {len(made)} on the deadline with the frame before: the next was late" if late else ""


def missed_decisions(records: Sequence[TickRecord], rate_hz: float) -> int:
    """Return how many decisions started over one period late."""
    period_ns = 1e9 / rate_hz
    return sum(record.lateness_ns > period_ns for record in decisions(records))


def far_end_ms(records: Sequence[TickRecord], accepted_ns: Sequence[int]) -> list[float]:
    """Return, per decision, from the serial write until the board had accepted that command.

    A write belongs to the next acceptance after it, when that comes before the next write.
    """
    writes_ns = [record.now_ns + record.times.step_ns for record in records]
    decided = {id(record) for record in decisions(records)}
    delays_ms = []
    for index, (record, write_ns) in enumerate(zip(records, writes_ns, strict=True)):
        if id(record) not in decided:
            continue
        next_write_ns = writes_ns[index + 1] if index + 1 < len(records) else write_ns + 1_000_000_000
        found = bisect.bisect_left(accepted_ns, write_ns)
        if found < len(accepted_ns) and accepted_ns[found] < next_write_ns:
            delays_ms.append((accepted_ns[found] - write_ns) / NS_PER_MS)
    return delays_ms


def stop_to_wire_ms(
    taps_ns: Sequence[int], commands: Sequence[AcceptedCommand], neutral_us: float
) -> list[float]:
    """Return, per tap of a stop, until the board accepted the first neutral command; infinite for never.

    A tap at a car that stood by its last command tells nothing and is left out.
    """
    accepted_ns = [command.t_ns for command in commands]
    drives = [abs(command.throttle_us - neutral_us) > NEUTRAL_TOLERANCE_US for command in commands]
    times_ms = []
    for tap_ns in taps_ns:
        first = bisect.bisect_right(accepted_ns, tap_ns)
        if first and drives[first - 1]:
            ended_ns = next((accepted_ns[k] for k in range(first, len(commands)) if not drives[k]), math.inf)
            times_ms.append((ended_ns - tap_ns) / NS_PER_MS)
    return times_ms


def beside_bare_loop(
    name: str, ours_ms: Sequence[float], bare_ms: Sequence[float], most_ms: float, note: str = ""
) -> Row:
    """Return the row that compares our p99 under load with that of a loop that does the same work alone."""
    budget = f"p99 within {most_ms:g} ms of a bare loop"
    if not len(ours_ms) or not len(bare_ms):
        return impossible(name, budget, "one of the two loops made no decision under this load")
    ours_p50, ours_p99 = np.percentile(ours_ms, [50, 99])
    bare_p50, bare_p99 = np.percentile(bare_ms, [50, 99])
    excess_ms = float(ours_p99 - bare_p99)
    return Row(
        name,
        f"p50 {ours_p50:.2f}, p99 {ours_p99:.2f} ms; bare loop p50 {bare_p50:.2f}, p99 {bare_p99:.2f} ms",
        budget,
        Verdict.MET if excess_ms <= most_ms else Verdict.MISSED,
        f"{excess_ms:+.2f} ms beside the bare loop{note and '; '}{note}",
        {
            "p50": float(ours_p50),
            "p99": float(ours_p99),
            "bare_p50": float(bare_p50),
            "bare_p99": float(bare_p99),
        },
    )


def neutral_row(name: str, times_s: Sequence[float], limit_s: float, note: str = "") -> Row:
    """Return the row of a fault: every trial must have ended in neutral within the limit."""
    budget = f"<= {limit_s * 1e3:.0f} ms"
    if not len(times_s):
        return impossible(name, budget, note or "no trial could be made")
    each = ", ".join(f"{time_s * 1e3:.0f}" for time_s in times_s)
    verdict = Verdict.MET if max(times_s) <= limit_s else Verdict.MISSED
    return Row(name, f"{each} ms", budget, verdict, note, {"worst_ms": max(times_s) * 1e3})
