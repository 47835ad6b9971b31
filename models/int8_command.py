"""What `lapwing models int8` does and prints."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from models.activation import may_check
from models.commands import heard_vehicle, progress_bar
from models.errors import PolicyError
from models.int8 import Int8Report, use_int8
from models.recheck import judge_int8
from models.store import Entry, PolicyStore

SHIPPED_STAYS = (
    "{name} ships with Lapwing and drives as it came; to drive with its int8: "
    "lapwing models export {name} --tidy, lapwing models add the file, then lapwing models int8"
)


def int8_command(
    store: PolicyStore,
    wanted: str,
    run_dir: Path,
    *,
    frames: Sequence[Path] = (),
    hil: bool = False,
    use: bool | None = None,
    as_json: bool = False,
) -> int:
    """Make and judge int8 of a policy, or (`use`) choose it or the float one again; return the exit status.

    0 when it is accepted or the choice is kept, 1 when it is refused. Raises PolicyError for what cannot
    be used.

    Args:
        store: where the policy is.
        wanted: key, name or start of the key.
        run_dir: of the vehicle that may run here; while it is armed nothing is measured.
        frames: recordings of this car's drives: runs, videos, or folders of pictures.
        hil: take the simulated car's pictures, and let both drive laps; only for policies trained there.
        use: True drives with int8 from the next activation, False with float.
        as_json: print the report as one JSON document.

    """
    entry = store.find(wanted)
    if use is not None:
        _choose(store, entry, use=use)
        Console(stderr=as_json).print(f"the car will drive with {'int8' if use else 'float'}")
        return 0
    with heard_vehicle(run_dir) as vehicle, progress_bar(as_json=as_json) as tell:
        report = judge_int8(
            store, entry, frames=frames, hil=hil, progress=tell, may_run=lambda: may_check(vehicle.status())
        )
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(report), indent=1).decode())  # noqa: T201 - the document asked for
    else:
        console = Console(soft_wrap=True)
        console.print(as_table(report))
        console.print(_verdict(report))
        if report.accepted and entry.built_in:
            console.print(SHIPPED_STAYS.format(name=entry.name))
    return 0 if report.accepted else 1


def _choose(store: PolicyStore, entry: Entry, *, use: bool) -> None:
    if entry.built_in:
        raise PolicyError(SHIPPED_STAYS.format(name=entry.name))
    use_int8(store.checked_folder(entry.key), entry.key, wanted=use)


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
