"""Sums a run up: message by message as it is recorded, or from its file where nobody got to the end."""

import msgspec

from vehicle.laps import MarkerLaps, TimedLap
from vehicle.messages import DriveState, TickRecord
from vehicle.run_file import Entry
from vehicle.run_schemas import Topic
from vehicle.run_stream import RunStart
from vehicle.run_summary import RunSummary
from vehicle.truth import WorldTruth, laps_begun_since

STANDING = frozenset({DriveState.ARMING, DriveState.FAILSAFE, DriveState.DISARMED})
OF_THE_LEASE = frozenset({"renew lease", "drive"})  # asked many times a second, and say nothing of who drives


class RunTally:
    """Keeps one run's summary up to date."""

    def __init__(self, summary: RunSummary, *, has_truth: bool = False) -> None:
        """Begin with what is known; with `has_truth` the start marker's laps do not count."""
        self.summary = summary
        self._has_truth = has_truth

    def start(self, start: RunStart) -> None:
        """Take what it was driven with."""
        summary = self.summary
        summary.car, summary.is_hil = start.car.name, start.car.is_hil
        summary.policy, summary.policy_hash = start.begin.policy, start.begin.policy_hash
        summary.calibration_version = start.begin.calibration.version

    def tick(self, record: TickRecord) -> None:
        """Take one tick."""
        summary = self.summary
        summary.started_ns = summary.started_ns or record.now_ns
        summary.ticks += 1
        summary.decisions += record.decided
        summary.duration_s = (record.now_ns - summary.started_ns) / 1e9
        if record.state not in STANDING:
            summary.driven_s = summary.duration_s
            summary.modes = _with(summary.modes, record.state.value)
        for request in record.requests:
            if request.kind.value not in OF_THE_LEASE:
                summary.drivers = _with(summary.drivers, request.source)
        for fault in record.faults:
            summary.faults = _with(summary.faults, fault.value)
        if record.state is DriveState.FAILSAFE and not summary.latched_fault and record.faults:
            summary.latched_fault = record.faults[0].value

    def picture(self) -> None:
        """Count a picture."""
        self.summary.pictures += 1

    def truth(self, truth: WorldTruth) -> tuple[float, ...]:
        """Take what really happens in a HIL world; return the times of laps that are new."""
        self._has_truth = True
        if not self.summary.started_ns:
            return ()
        known = len(self.summary.laps_s)
        laps = tuple(lap.time_s for lap in laps_begun_since(truth, self.summary.started_ns))
        if len(laps) >= known:
            self.summary.laps_s, self.summary.laps_source = laps, "world"
        return laps[known:]

    def marker(self, told: MarkerLaps) -> tuple[TimedLap, ...]:
        """Take what the start marker says; return the laps that are new. A HIL world knows better."""
        summary = self.summary
        if self._has_truth or told.began_ns < summary.started_ns:
            return ()
        fresh = tuple(lap for lap in told.laps if lap.lap > len(summary.laps_s))
        for lap in fresh:
            summary.laps_s, summary.laps_source = (*summary.laps_s, lap.time_s), "marker"
        return fresh

    def entry(self, entry: Entry) -> None:
        """Take what stands in a run's file, if it is one of these; raises DecodeError."""
        match entry.topic:
            case Topic.START:
                self.start(msgspec.msgpack.decode(entry.data, type=RunStart))
            case Topic.EXACT_TICK:
                self.tick(msgspec.msgpack.decode(entry.data, type=TickRecord))
            case Topic.PICTURE:
                self.picture()
            case Topic.TRUTH:
                self.truth(msgspec.json.decode(entry.data, type=WorldTruth))
            case Topic.MARKER:
                self.marker(msgspec.json.decode(entry.data, type=MarkerLaps))


def _with(known: tuple[str, ...], one: str) -> tuple[str, ...]:
    return known if one in known else (*known, one)
