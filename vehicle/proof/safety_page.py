"""The tables of docs/safety.md, made from what the fault matrix proves, so that the two cannot differ.

`python -m vehicle.proof.safety_page docs/safety.md` renews them; with files of soaks behind it, what those
saw too.
"""

import sys
from pathlib import Path

from vehicle.hil.faults import FAULTS, Part
from vehicle.messages import DriveState
from vehicle.proof.bench_check import as_text
from vehicle.proof.outcomes import ALL, PROVED_PARTS, TABLE, Outcome, Undetectable, in_words, rows
from vehicle.proof.soak import as_markdown, was_live

STEPS_BEGIN, STEPS_END = "<!-- made from vehicle/proof/bench_check.py: begin -->", "<!-- steps end -->"
SOAK_BEGIN, SOAK_END = "<!-- made from the file of a soak: begin -->", "<!-- soak end -->"
LIVE_BEGIN, LIVE_END = "<!-- made from the file of a soak in real time: begin -->", "<!-- live soak end -->"
BEGIN, END = "<!-- made from vehicle/proof/outcomes.py: begin -->", "<!-- end -->"

TITLES = {
    Part.CAMERA: "The camera",
    Part.SERIAL_OUT: "The line to the board",
    Part.SERIAL_IN: "The line from the board",
    Part.BOARD: "The board",
    Part.CAR: "Servo, ESC, battery, wheel sensor",
    Part.POLICY: "The policy",
    Part.OPERATOR_LINK: "The link to the driver",
    Part.CLOCK: "The computer's clock",
    Part.DISK: "The disk",
}


def tables() -> str:
    """Return one table for each part."""
    rows()  # raises where a row is missing
    return "\n".join(_table(part) for part in PROVED_PARTS)


def renewed(page: str) -> str:
    """Return the page with its tables as they are proved now; raises LookupError without their place."""
    return _between(_between(page, BEGIN, END, tables()), STEPS_BEGIN, STEPS_END, as_text())


def with_soak(page: str, kept: Path) -> str:
    """Return the page with what a soak saw; raises LapwingError where the file holds nothing."""
    seen = as_markdown(kept)
    places = (LIVE_BEGIN, LIVE_END) if was_live(kept) else (SOAK_BEGIN, SOAK_END)
    return _between(page, *places, seen)


def _between(page: str, begin: str, end: str, text: str) -> str:
    if page.count(begin) != 1 or page.count(end) != 1:
        raise LookupError(f"the page must have one line '{begin}' and one line '{end}'")
    before, rest = page.split(begin)
    return f"{before}{begin}\n\n{text.rstrip()}\n\n{end}{rest.split(end)[1]}"


def _table(part: Part) -> str:
    lines = [f"### {TITLES[part]}", "", "| what breaks | while | the car |", "|---|---|---|"]
    for fault, kind in FAULTS[part].items():
        for states, outcome in TABLE[part][fault].items():
            lines.append(f"| `{part}={fault}`: {kind.meaning} | {_in_words(states)} | {_claim(outcome)} |")
    return "\n".join([*lines, ""])


def _in_words(states: tuple[DriveState, ...]) -> str:
    return "always" if set(states) == set(ALL) else ", ".join(state.value for state in states)


def _claim(outcome: Outcome) -> str:
    words = in_words(outcome)
    return f"**{words}**" if isinstance(outcome, Undetectable) else words


def main() -> int:
    """Renew the page that is named, and the summary of a soak where its file is named too."""
    page, *soaks = (Path(argument) for argument in sys.argv[1:])
    text = renewed(page.read_text())
    for kept in soaks:
        text = with_soak(text, kept)
    page.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
