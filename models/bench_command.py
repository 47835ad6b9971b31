"""`lapwing models bench`: one policy's decisions measured here, once a control period."""

import sys
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from models.activation import may_check
from models.commands import heard_vehicle, progress_bar
from models.recheck import measure
from models.store import PolicyStore


def bench_command(store: PolicyStore, wanted: str, run_dir: Path, *, as_json: bool) -> int:
    """Print what each way to run the policy takes and which is chosen; return the exit status."""
    entry = store.find(wanted)
    with heard_vehicle(run_dir) as vehicle, progress_bar(as_json=as_json) as tell:
        measured = measure(store, entry, progress=tell, may_run=lambda: may_check(vehicle.status()))
    choice, slow = measured.choice, measured.warning
    if as_json:
        document = {"key": entry.key, "name": entry.name, "choice": choice, "warning": slow}
        sys.stdout.write(msgspec.json.encode(document).decode() + "\n")
        return 0
    table = Table(
        title=Text(f"{entry.name}, every {1e3 * choice.period_s:.0f} ms"), title_justify="left", box=None
    )
    for heading in ("threads", "bound", "median ms", "p99 ms", "samples", ""):
        table.add_column(heading, justify="right")
    for row in choice.candidates:
        chosen = "chosen" if row.settings == choice.settings else ""
        bound = "yes" if row.settings.bind else "no"
        times = (f"{row.p50_ms:.2f}", f"{row.p99_ms:.2f}", str(row.samples))
        table.add_row(str(row.settings.threads), bound, *times, chosen)
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    console.print(Text(f"{choice.reason}; {choice.machine.words}"))
    if slow:
        console.print(Text(slow, style="yellow"))
    return 0
