"""`lapwing models bench`: one policy's decisions measured here, once a control period."""

import sys

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from models.bundle import check_bundle
from models.check_trial import Trial, timing_warning
from models.session_choice import choose
from models.store import PolicyStore


def bench_command(store: PolicyStore, wanted: str, *, as_json: bool) -> int:
    """Print what each way to run the policy takes and which is chosen; return the exit status."""
    entry = store.find(wanted)
    bundle, runtime = check_bundle(store.checked_folder(entry.key))
    rate_hz = bundle.metadata.control_rate_hz
    choice = choose(bundle.model, Trial(bundle, runtime).feeds(), 1.0 / rate_hz)
    slow = timing_warning(rate_hz, choice.p99_ms)
    if as_json:
        document = {"key": entry.key, "name": entry.name, "choice": choice, "warning": slow}
        sys.stdout.write(msgspec.json.encode(document).decode() + "\n")
        return 0
    table = Table(title=Text(f"{entry.name}, every {1e3 / rate_hz:.0f} ms"), title_justify="left", box=None)
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
