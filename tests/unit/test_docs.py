"""The guides name what there is: commands with their options, make's targets, files, modules, links."""

import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.core
import typer.main

from models.store_builtin import zoo_names
from vehicle.cli import app

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "models" / "zoo").rglob("*.md")),
]
ROOMS = ("calibration", "models", "vehicle", "webui", "tests", "docs")
SPAN = re.compile(r"`([^`\n]+)`")
BLOCK_LINE = re.compile(r"^(?: {4}|\t)(.+)$", re.MULTILINE)
FENCED = re.compile(r"^ *```\w*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
MADE_BY_TRAINING = {"REPORT.md"}
"""Named in general; each training has one of its own."""
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def code(text: str) -> Iterator[str]:
    """What stands as code: between backticks, indented, or in a fence; a line that goes on is one."""
    text = text.replace("\\\n", " ")
    yield from SPAN.findall(FENCED.sub("", text))
    yield from BLOCK_LINE.findall(text)
    for block in FENCED.findall(text):
        yield from block.splitlines()


def wrong_commands(text: str) -> list[str]:
    """The calls of `lapwing` that it does not understand."""
    called = [call for one in code(text) for call in calls(one)]
    return [call for call in called if not is_understood(whole_command(), call.split()[1:])]


@functools.cache
def whole_command() -> typer.core.TyperGroup:
    command = typer.main.get_command(app)
    assert isinstance(command, typer.core.TyperGroup)
    return command


def calls(line: str) -> list[str]:
    return re.findall(r"(?<![\w/.-])lapwing [a-z-][^#`]*|(?<=bin/)lapwing [a-z][^#`]*", line)


def is_understood(command: typer.core.TyperCommand | typer.core.TyperGroup, words: list[str]) -> bool:
    """Whether each subcommand and option is there and takes no more words; values are not looked at."""
    words = [word.strip("[],;.").partition("=")[0] for word in words if word != "..."]
    while isinstance(command, typer.core.TyperGroup) and words and not words[0].startswith("-"):
        found = command.commands.get(words.pop(0))
        if found is None:
            return False
        command = found  # type: ignore[assignment]
    options = {name: one for one in command.params for name in (*one.opts, *one.secondary_opts)}
    places = sum(one.param_type_name == "argument" for one in command.params)
    while words:
        word = words.pop(0)
        if not word.startswith("--"):
            places -= 1
        elif word not in options and word != "--help":
            return False
        elif words and not getattr(options.get(word), "is_flag", True):
            words.pop(0)
    return places >= 0


def wrong_targets(text: str) -> list[str]:
    """What is to be made and stands in no Makefile."""
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = [target for one in code(text) for target in re.findall(r"^make ([a-z-]+)", one)]
    return [target for target in named if target not in known]


def missing_files(text: str, page: Path) -> list[str]:
    """Files and folders of the repository, and things in them, that are not there."""
    named = [one for one in SPAN.findall(text) if is_path(one)]
    named = [one for one in (*named, *LINK.findall(text)) if one not in MADE_BY_TRAINING]
    return [one for one in named if not is_there(one, page)]


def is_path(span: str) -> bool:
    room, slash, _ = span.partition("/")
    return (
        bool(slash and room in ROOMS and " -" not in span) or re.fullmatch(r"[\w/-]+\.md", span) is not None
    )


def is_there(named: str, page: Path) -> bool:
    """Also by the beginning of its name before `...`; of `file.py: name` the name too."""
    if named.startswith(("http:", "https:")):
        return True
    place, _, inside = named.partition(": ")
    for folder in (ROOT, page.parent):
        if place.endswith("..."):
            if any(folder.glob(place.removesuffix("...") + "*")):
                return True
        elif any(folder.glob(place)):
            return (
                not inside or re.search(rf"\b{re.escape(inside)}\b", (folder / place).read_text()) is not None
            )
    return False


def missing_modules(text: str) -> list[str]:
    """Modules of ours, or names in them, that are not there."""
    pattern = re.compile(rf"(?:python -m )?((?:{'|'.join(ROOMS)})(?:\.\w+)+)(?:\(\))?")
    named = [match[1] for one in SPAN.findall(text) if (match := pattern.fullmatch(one))]
    return [one for one in named if not one.endswith((".json", ".md", ".py", ".toml")) and not is_module(one)]


def is_module(named: str) -> bool:
    place = ROOT / named.replace(".", "/")
    if place.is_dir() or place.with_suffix(".py").is_file():
        return True
    holder, name = place.parent.with_suffix(".py"), place.name
    return holder.is_file() and re.search(rf"\b{name}\b", holder.read_text()) is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_is_there(page: Path) -> None:
    text = page.read_text()

    assert not wrong_commands(text), "no such command or option"
    assert not wrong_targets(text), "no such target of make"
    assert not missing_files(text, page), "no such file, or nothing of that name in it"
    assert not missing_modules(text), "no such module"


@pytest.mark.parametrize(
    "text",
    [
        "`lapwing fly`", "`lapwing laps --wings 2`", "    lapwing models ad swift.tar.gz",
        "`lapwing bench marker`", "```\nlapwing board forget\n```", "`lapwing train --no-both-wings`",
    ],
)  # fmt: skip
def test_a_command_that_is_not_there_is_seen(text: str) -> None:
    assert wrong_commands(text)


def test_what_else_is_not_there_is_seen() -> None:
    page = ROOT / "docs" / "laps.md"

    assert wrong_targets("`make coffee`") == ["coffee"]
    assert missing_files("`vehicle/flight.py` [why](decisions/0999-no.md) `vehicle/loop.py: leap`", page) == [
        "vehicle/flight.py", "vehicle/loop.py: leap", "decisions/0999-no.md",
    ]  # fmt: skip
    assert missing_modules("`vehicle.flight`, `vehicle.loop.Leap`") == ["vehicle.flight", "vehicle.loop.Leap"]


# --- figures of the shipped policies, which `lapwing evaluate --report` has written into report.json

KNOWN_TRACKS = ("oval", "wide", "kidney", "chicane")


def judged(policy: str) -> dict[str, dict]:
    """Track -> what 50 randomised starts of seed 4711 came to."""
    report = json.loads((ROOT / "models" / "zoo" / policy / "report.json").read_text())
    return {
        track["track"]: track
        for one in report["evaluations"]
        if one["randomise"] and (one["seed"], one["starts"], one["control"]) == (4711, 50, "none")
        for track in one["tracks"]
    }


@pytest.mark.parametrize("policy", zoo_names())
def test_the_table_of_the_shipped_policies_is_that_of_their_reports(policy: str) -> None:
    tracks = judged(policy)
    known = [str(tracks[name]["finished"]) for name in KNOWN_TRACKS]
    others = [track for name, track in tracks.items() if name not in KNOWN_TRACKS]
    ratios = [track["ratio"] for track in tracks.values()]
    row = [
        policy, *known,
        f"{sum(one['finished'] for one in others)} of {sum(one['starts'] for one in others)}",
        f"{min(ratios):.2f} to {max(ratios):.2f}",
    ]  # fmt: skip

    assert f"| {' | '.join(row)} |" in (ROOT / "docs" / "training.md").read_text()


def test_the_readme_says_of_the_shipped_policies_what_their_reports_say() -> None:
    plover, whimbrel, curlew = (judged(name) for name in ("plover", "whimbrel", "curlew"))
    failed = [
        sum(one["starts"] - one["finished"] for one in its.values()) for its in (plover, whimbrel, curlew)
    ]
    starts = sum(one["starts"] for one in plover.values())
    longer = [
        [100 * (its[name]["lap_median_s"] / plover[name]["lap_median_s"] - 1) for name in plover]
        for its in (whimbrel, curlew)
    ]
    words = (
        f"of {starts} randomised starts *plover* leaves the track in {failed[0]}, *whimbrel* in {failed[1]} "
        f"with laps up to {max(longer[0]):.0f} % longer, and *curlew* in {failed[2]} "
        f"with laps {min(longer[1]):.0f} to {max(longer[1]):.0f} % longer"
    )

    assert words in " ".join((ROOT / "README.md").read_text().split())
