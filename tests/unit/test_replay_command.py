"""`lapwing replay` and `--version`, as they are typed: what they say and how they end."""

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.golden.make_run import FILE, POLICY
from vehicle import cli, replay_command
from vehicle.messages import DriveState, TickRecord
from vehicle.replay_parts import Recording
from vehicle.run_file import Entry, RunWriter, read
from vehicle.run_schemas import Topic
from vehicle.runs import RunShelf

NAME = "2026-01-01_00-00-00"

Told = tuple[int, str, str]


@pytest.fixture
def lapwing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Told]:
    """Type a command; return its exit status, what it printed and what it said beside."""
    monkeypatch.setattr(replay_command, "zoo_names", lambda: [str(POLICY)])

    def typed(*words: object) -> Told:
        monkeypatch.setattr("sys.argv", ["lapwing", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), " ".join(said.out.split()), " ".join(said.err.split())

    return typed


def rewritten(folder: Path, change: Callable[[Entry], Entry | None], *, whole: bool = True) -> Path:
    """Return a copy of the short run whose messages were changed, or left out."""
    path = folder / f"{NAME}.mcap"
    writer = RunWriter(path)
    for entry in read(FILE, Topic):
        kept = change(entry)
        if kept is not None:
            writer.add(*kept)
    if whole:
        writer.finish({})
        return path
    writer.sync()
    writer.abandon()
    return folder / f"{NAME}.mcap.part"


def faster(entry: Entry) -> Entry:
    """Change the throttle pulse of every tick of the drive."""
    if entry.topic is not Topic.EXACT_TICK:
        return entry
    tick = msgspec.msgpack.decode(entry.data, type=TickRecord)
    if tick.state is not DriveState.AUTONOMOUS:
        return entry
    sent = msgspec.structs.replace(tick.sent, throttle_us=tick.sent.throttle_us + 2.0)
    return entry._replace(data=msgspec.msgpack.encode(msgspec.structs.replace(tick, sent=sent)))


def test_a_run_that_gives_the_same_commands_ends_well(lapwing: Callable[..., Told]) -> None:
    code, out, err = lapwing("replay", FILE, "--elsewhere", "--diff")
    assert (code, err) == (0, "")
    assert out.startswith("short_run: 86 ticks, 61 of them moving, 15 decisions")
    assert "same action in 100.00% of the decisions" in out
    assert out.endswith("The same commands in every tick.")


def test_every_tick_that_comes_out_otherwise_is_shown_when_asked_for(
    lapwing: Callable[..., Told], tmp_path: Path
) -> None:
    path = rewritten(tmp_path, faster)
    code, out, _ = lapwing("replay", path, "--elsewhere")
    assert code == 1
    assert "differences; --diff shows them" in out
    assert "largest difference of a pulse: 2 us" in out
    assert "tick " not in out.partition("--diff")[2]
    code, out, _ = lapwing("replay", path, "--elsewhere", "--diff")
    assert code == 1
    lines = out.partition("differences ")[2]
    first = next(t for t in Recording(path).ticks if t.state is DriveState.AUTONOMOUS)
    assert f"tick {first.sequence}, " in lines
    assert lines.count(": pulses ") == 50  # no terminal is filled with more


def test_a_script_reads_one_json_document(lapwing: Callable[..., Told], tmp_path: Path) -> None:
    code, out, _ = lapwing("replay", FILE, "--elsewhere", "--json")
    told = json.loads(out)
    assert (code, told["same"], told["moved"], told["differences"]) == (0, True, True, [])
    assert (told["run"], told["ticks"], told["actions_equal_frac"]) == ("short_run", 86, 1.0)
    code, out, _ = lapwing("replay", rewritten(tmp_path, faster), "--elsewhere", "--json")
    told = json.loads(out)
    assert (code, told["same"], told["moved"]) == (1, False, True)
    assert {one["what"] for one in told["differences"]} == {"pulses"}


def test_a_run_that_never_moved_fails(lapwing: Callable[..., Told], tmp_path: Path) -> None:
    end_ns = next(t.now_ns for t in Recording(FILE).ticks if t.state is not DriveState.ARMING)
    path = rewritten(tmp_path, lambda entry: entry if entry.time_ns < end_ns else None)
    code, out, _ = lapwing("replay", path, "--elsewhere")
    assert code == 1
    assert out.endswith("The run never moved: it shows nothing.")
    code, out, _ = lapwing("replay", path, "--elsewhere", "--json")
    assert (code, json.loads(out)["moved"], json.loads(out)["same"]) == (1, False, False)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("replay", "no-such-run"), "no run 'no-such-run'"),
        (("replay", "no-such-file.mcap"), "there is no file no-such-file.mcap"),
        (("replay",), "there is no run in"),
        (("replay", FILE, "--policy", "models/zoo/whimbrel"), "was driven with plover"),
    ],
)
def test_what_cannot_be_replayed_is_a_sentence(
    lapwing: Callable[..., Told], tmp_path: Path, words: tuple[object, ...], sentence: str
) -> None:
    code, out, err = lapwing(*words, "--runs", tmp_path)
    assert (code, out) == (2, "")
    assert sentence in err
    assert "Traceback" not in err


def test_a_run_that_lacks_a_picture_names_it(lapwing: Callable[..., Told], tmp_path: Path) -> None:
    tick = next(t for t in Recording(FILE).ticks if t.decided and t.state is DriveState.AUTONOMOUS)
    lost = tick.frame_stamp_ns
    path = rewritten(
        tmp_path, lambda entry: None if (entry.topic, entry.time_ns) == (Topic.CAMERA, lost) else entry
    )
    code, _, err = lapwing("replay", path, "--elsewhere")
    assert code == 2
    assert f"picture {tick.frame_number}" in err
    assert "missing from the run" in err


def test_a_run_that_was_cut_off_is_made_whole_and_replayed(
    lapwing: Callable[..., Told], tmp_path: Path
) -> None:
    ticks = Recording(FILE).ticks
    end_ns = ticks[-20].now_ns
    part = rewritten(tmp_path, lambda entry: entry if entry.time_ns < end_ns else None, whole=False)
    code, _, err = lapwing("replay", part, "--elsewhere")
    assert code == 2
    assert f"was cut off; make it whole with `lapwing runs list --runs {tmp_path}` first" in err
    code, out, err = lapwing("replay", "last", "--elsewhere", "--runs", tmp_path)
    assert "was cut off; what is there was saved" in err
    assert code == 0
    assert f"{NAME}: {len(ticks) - 20} ticks" in out
    assert RunShelf(tmp_path).cut_off() == []


def test_the_version_is_told(lapwing: Callable[..., Told], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vehicle.version.importlib.metadata.version", {"lapwing": "12.3"}.__getitem__)
    assert lapwing("--version") == (0, "lapwing 12.3", "")
    code, out, _ = lapwing("--help")
    assert code == 0
    assert "--version" in out
    assert "Lapwing drives a DeepRacer-class car" in out
