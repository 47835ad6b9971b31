"""What `lapwing doctor` found, each lack with what it is needed for and its remedy."""

import enum

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

LOG_IN_AGAIN = "then log in again"


class Level(enum.StrEnum):
    """How a finding looks."""

    OK = "ok"
    WARN = "warn"  # works, with a drawback
    MISSING = "missing"


class Need(enum.StrEnum):
    """What cannot be done without it."""

    EVERYTHING = "everything"
    REAL_CAR = "a real car"
    STEADY_TIMING = "steady timing"
    TRAINING = "training"
    BROWSER_TESTS = "browser tests"


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at."""

    name: str
    level: Level
    seen: str
    needed_for: Need
    remedy: str = ""
    """What to type or do; empty where nothing needs doing."""


def is_fit(findings: list[Finding]) -> bool:
    """True when nothing is missing that everything needs."""
    return not any(
        finding.level is Level.MISSING and finding.needed_for is Need.EVERYTHING for finding in findings
    )


def print_findings(findings: list[Finding], console: Console) -> None:
    """Print a table, then the remedies, each on lines of its own so that it can be copied."""
    styles = {Level.OK: "green", Level.WARN: "yellow", Level.MISSING: "red"}
    table = Table(title="This computer", title_justify="left", title_style="bold")
    table.add_column("what", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("seen", overflow="fold")
    for finding in findings:
        table.add_row(finding.name, Text(finding.level, style=styles[finding.level]), Text(finding.seen))
    console.print(table)
    for finding in findings:
        if finding.remedy:
            console.print(Text(f"\n{finding.name}, for {finding.needed_for}:", style="bold"))
            console.print(Text(f"  {finding.remedy}"), soft_wrap=True)
