"""What `lapwing models int8` does and prints."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from models.bundle import load_bundle
from models.errors import PolicyError
from models.int8 import Int8Report, make_int8, use_int8
from models.int8_frames import FrameSource, Recordings
from vehicle.run_sights import sights_of


def int8_command(
    source: str | Path,
    *,
    frames: Sequence[Path] = (),
    hil: bool = False,
    into: Path | None = None,
    use: bool | None = None,
    as_json: bool = False,
) -> int:
    """Make and judge int8 of a policy, or (`use`) choose it or the float one again; return the exit status.

    0 when it is accepted or the choice is kept, 1 when it is refused. Raises PolicyError for what cannot
    be used.

    Args:
        source: the policy: a folder, a file or a shipped policy's name.
        frames: recordings of this car's drives: videos, or folders of pictures.
        hil: take the simulated car's pictures, and let both drive laps; only for policies trained there.
        into: where the result is kept; beside the policy if left out.
        use: True drives with int8 from the next activation, False with float.
        as_json: print the report as one JSON document.

    """
    if use is not None:
        folder = into or load_bundle(source).model.parent
        use_int8(folder, load_bundle(source).sha256, wanted=use)
        Console(stderr=as_json).print(f"the car will drive with {'int8' if use else 'float'}")
        return 0
    if hil == bool(frames):
        raise PolicyError(
            "give either recordings of this car (--frames) or, for a policy trained in the HIL car, --hil"
        )
    told = Console(stderr=True)
    found: FrameSource
    drive_laps = None
    if hil:
        from models.training.hil_frames import HilFrames, drive_laps_in_hil  # noqa: PLC0415 - only where asked for

        found, drive_laps = HilFrames(source), drive_laps_in_hil
    else:
        found = Recordings(frames, sights_of)
    report = make_int8(source, found, into=into, drive_laps=drive_laps, tell=told.print)
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(report), indent=1).decode())  # noqa: T201 - the document asked for
    else:
        Console().print(as_table(report))
        Console().print(_verdict(report))
    return 0 if report.accepted else 1


def as_table(report: Int8Report) -> Table:
    """Return every number of the judgement for people."""
    table = Table(
        title=f"int8 on {report.machine.words}; frames from {report.frames_from}", title_justify="left"
    )
    for name in (
        "quantised",
        "frames",
        "actions",
        "within",
        "worst",
        "misses in a row",
        "float ms",
        "int8 ms",
        "laps",
    ):
        table.add_column(name)
    for trial in report.trials:
        agreement, speed = trial.agreement, trial.speed
        laps = "-" if trial.laps is None else f"{trial.laps.completed} of {trial.laps.wanted}"
        table.add_row(
            trial.recipe,
            str(agreement.frames),
            str(agreement.actions_used),
            f"{agreement.within_frac:.2%}",
            f"{agreement.worst:.3f}",
            str(agreement.misses_in_a_row),
            f"{speed.float_p50_ms:.2f} (p99 {speed.float_p99_ms:.2f})",
            f"{speed.int8_p50_ms:.2f} (p99 {speed.int8_p99_ms:.2f})",
            laps,
        )
    return table


def _verdict(report: Int8Report) -> str:
    if report.accepted:
        return f"accepted ({report.trials[-1].recipe}); it is used when you choose it"
    lines = [f"refused, {trial.recipe}: {reason}" for trial in report.trials for reason in trial.objections]
    return "\n".join(lines)
