"""What an owner starts of a policy that has been checked: measure its time again, or make and judge its int8.

Either happens in the check's own process, in turn with uploads and while the car stands still, and in a
place of its own: a kill at any moment leaves the policy as it was.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from models.bundle import check_bundle
from models.check_process import Progress, no_progress, work_in_turn
from models.check_trial import Trial, timing_warning
from models.errors import PolicyError
from models.int8 import Int8Report, keep_int8, make_int8, read_int8_report
from models.int8_frames import FrameSource, Recordings
from models.session_choice import SessionChoice, choose
from models.store import Entry, PolicyStore
from models.store_files import as_store_error

MEASURED_NAME = "measured.json"
INT8_TIME_LIMIT_S = 3600.0


class Measured(msgspec.Struct, frozen=True):
    """A policy's decisions on this computer, now."""

    choice: SessionChoice
    warning: str
    """What the owner should know of its time, or empty."""


def measure(
    store: PolicyStore,
    entry: Entry,
    *,
    progress: Progress = no_progress,
    may_run: Callable[[], bool] = lambda: True,
) -> Measured:
    """Measure every way to run a policy, once a control period; raises PolicyError."""
    folder = store.checked_folder(entry.key)
    with store.begin() as incoming:
        arguments = ["--measure"]
        work_in_turn(
            folder, incoming.bundle, arguments, lock=store.check_lock, progress=progress, may_run=may_run
        )
        return msgspec.json.decode((incoming.bundle / MEASURED_NAME).read_bytes(), type=Measured)


def judge_int8(
    store: PolicyStore,
    entry: Entry,
    *,
    frames: Sequence[Path] = (),
    hil: bool = False,
    progress: Progress = no_progress,
    may_run: Callable[[], bool] = lambda: True,
) -> Int8Report:
    """Make int8 of a policy and judge it; keep the report beside it, and the network if it is accepted.

    Of a policy that ships nothing is kept: it drives as it came. Raises PolicyError.

    Args:
        store: where the policy is.
        entry: the policy.
        frames: recordings of this car's drives: runs, videos, or folders of pictures.
        hil: take the simulated car's pictures, and let both drive laps; only for policies trained there.
        progress: hears what is being done.
        may_run: whether the car stands still, disarmed.

    """
    if hil == bool(frames):
        raise PolicyError(
            "give either recordings of this car (--frames) or, for a policy trained in the HIL car, --hil"
        )
    folder = store.checked_folder(entry.key)
    arguments = ["--int8", *(["--hil"] if hil else [])]
    for path in frames:
        arguments += ["--frames", str(path.absolute())]
    with store.begin() as incoming:
        work_in_turn(
            folder,
            incoming.bundle,
            arguments,
            lock=store.check_lock,
            progress=progress,
            may_run=may_run,
            time_limit_s=INT8_TIME_LIMIT_S,
        )
        report = read_int8_report(incoming.bundle)
        assert report is not None, "a child that ends well has written one"
        if not entry.built_in:
            try:
                keep_int8(incoming.bundle, folder)
            except OSError as error:
                raise as_store_error("int8 could not be kept", error) from error
        return report


def measure_here(source: Path, into: Path) -> str:
    """Measure in this process and write the result; return words for the end of it."""
    bundle, runtime = check_bundle(source)
    rate_hz = bundle.metadata.control_rate_hz
    choice = choose(bundle.model, Trial(bundle, runtime).feeds(), 1.0 / rate_hz)
    measured = Measured(choice, timing_warning(rate_hz, choice.p99_ms))
    (into / MEASURED_NAME).write_bytes(msgspec.json.encode(measured))
    return choice.reason


def int8_here(
    source: Path, into: Path, *, frames: Sequence[Path], hil: bool, tell: Callable[[str, float], None]
) -> str:
    """Make and judge int8 in this process; return words for the end of it."""
    found: FrameSource
    drive_laps = None
    if hil:
        from models.training.hil_frames import HilFrames, drive_laps_in_hil  # noqa: PLC0415 - only where asked for

        found, drive_laps = HilFrames(source), drive_laps_in_hil
    else:
        from vehicle.run_sights import sights_of  # noqa: PLC0415 - as above

        found = Recordings(frames, sights_of)
    report = make_int8(source, found, into=into, drive_laps=drive_laps, tell=lambda words: tell(words, 0.0))
    return "accepted" if report.accepted else "refused"
