"""Runs on the disk: cut off, full, kept, removed."""

import errno
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcap.reader import make_reader
from typer.testing import CliRunner

from tests.unit.tick_records import record_of
from vehicle.cli import app
from vehicle.config import CarConfig, read_config
from vehicle.messages import DriveState, Fault, Sensed, TickRecord
from vehicle.recorder import Recorder
from vehicle.recorder import record as record_runs
from vehicle.run_file import RunFileError, RunWriter, held, read, read_whole
from vehicle.run_inputs import compact, unpacked
from vehicle.run_mending import mend
from vehicle.run_recording import Moment, RunRecording
from vehicle.run_schemas import Topic
from vehicle.run_stream import InputArray, Picture, PolicyInputs
from vehicle.run_summary import RunSummary
from vehicle.runs import KEPT_AWAY_S, QUOTA_BYTES, RESERVE_BYTES, RunNotFoundError, RunShelf

WALL_NS = 1_770_000_000 * 10**9
TICK_NS = 20_000_000


def recording(
    folder: Path, free: Callable[[], int] = lambda: 2 * RESERVE_BYTES, **parts: object
) -> RunRecording:
    return RunRecording(folder, lambda: Moment(WALL_NS, "boot"), free, **parts)  # type: ignore[arg-type]


def ticks(*states: DriveState, first: int = 0, faults: tuple[Fault, ...] = ()) -> list[TickRecord]:
    return [
        record_of(first + index, now_ns=(first + index + 1) * TICK_NS, state=state, faults=faults)
        for index, state in enumerate(states)
    ]


DRIVE = (
    DriveState.DISARMED,
    DriveState.ARMING,
    *[DriveState.AUTONOMOUS] * 20,
    *[DriveState.DISARMED] * 12,
)


def feed(one: RunRecording, records: list[TickRecord]) -> None:
    for record in records:
        one.picture(Topic.CAMERA, Picture(record.sequence, record.now_ns, record.now_ns, b"jpeg"))
        one.tick(record)


def test_a_run_ends_when_the_car_is_disarmed(tmp_path: Path) -> None:
    one = recording(tmp_path)
    feed(one, ticks(*DRIVE))
    assert [summary.ticks for summary in one.finished] == [22]
    assert one.finished[0].is_complete
    assert one.run == ""


def test_a_start_right_after_a_stop_is_a_run_of_its_own(tmp_path: Path) -> None:
    one = recording(tmp_path)
    short = (*DRIVE[:10], DriveState.DISARMED)
    feed(one, ticks(*short, *short[1:], *[DriveState.DISARMED] * 12))
    names = [summary.name for summary in one.finished]
    assert len(set(names)) == 2
    assert all((tmp_path / f"{name}.mcap").is_file() for name in names)


def test_an_emergency_stop_where_nothing_moved_is_no_run(tmp_path: Path) -> None:
    one = recording(tmp_path)
    feed(one, ticks(DriveState.DISARMED, DriveState.FAILSAFE, DriveState.FAILSAFE, DriveState.DISARMED))
    one.end()
    assert not one.finished


def test_a_failsafe_that_nobody_clears_does_not_fill_the_disk(tmp_path: Path) -> None:
    one = recording(tmp_path)
    feed(one, ticks(*DRIVE[:10], *[DriveState.FAILSAFE] * 600, faults=(Fault.BOARD_LOST,)))
    assert [summary.latched_fault for summary in one.finished] == ["board lost"]
    assert one.finished[0].duration_s < 6.0
    assert one.run == ""


def test_a_missing_tick_or_picture_is_said(tmp_path: Path) -> None:
    for lost in ("tick", "picture"):
        one = recording(tmp_path)
        for record in ticks(*DRIVE):
            if lost != "picture" or record.sequence != 9:
                one.picture(Topic.CAMERA, Picture(record.sequence, record.now_ns, record.now_ns, b"jpeg"))
            if lost != "tick" or record.sequence != 9:
                one.tick(record)
        assert not one.finished[0].is_complete
        assert "incomplete" in one.finished[0].note


def seeing(record: TickRecord, frame: int) -> TickRecord:
    return msgspec.structs.replace(record, sensed=Sensed(newest_frame=frame))


def shown(number: int) -> Picture:
    return Picture(number, number * TICK_NS, number * TICK_NS, b"jpeg")


def pictures_of(folder: Path, summary: RunSummary) -> int:
    return len(list(read(folder / f"{summary.name}.mcap", [Topic.CAMERA])))


@pytest.mark.parametrize("end", ["disarmed", "failsafe for long"])
def test_a_run_waits_for_the_pictures_that_its_ticks_speak_of(tmp_path: Path, end: str) -> None:
    """A recorder on a busy computer reads a second of ticks, and the pictures of that second afterwards."""
    last = DriveState.DISARMED if end == "disarmed" else DriveState.FAILSAFE
    states = (*DRIVE[:22], *[last] * 330)
    if end == "disarmed":
        states = (*DRIVE[:22], *[last] * 60)  # 1.2 s
    one = recording(tmp_path)
    one.picture(Topic.CAMERA, shown(0))
    for record in ticks(*states):
        one.tick(seeing(record, min(record.sequence, 24)))
    assert one.run
    assert not one.has_all
    for number in range(1, 25):
        one.picture(Topic.CAMERA, shown(number))
    assert one.has_all
    one.tick(seeing(ticks(last, first=len(states))[0], 24))
    (summary,) = one.finished
    assert summary.is_complete, summary.note
    assert pictures_of(tmp_path, summary) == 25


def test_pictures_and_inputs_that_never_come_are_said_and_waited_for_no_longer_than_two_seconds(
    tmp_path: Path,
) -> None:
    one = recording(tmp_path)
    one.picture(Topic.CAMERA, shown(0))
    records = ticks(*DRIVE[:22], *[DriveState.DISARMED] * 110)
    for record in records[:30]:
        one.tick(seeing(record, min(record.sequence, 20)))
        if record.sequence < 19:  # the last one of the run is lost, and no later one shows the gap
            one.picture(Topic.CAMERA, shown(record.sequence + 1))
    assert one.run
    for record in records[30:]:
        one.tick(seeing(record, 20))
    (summary,) = one.finished
    assert not summary.is_complete
    assert "incomplete" in summary.note

    for lost in (None, 12):
        one = recording(tmp_path)
        for record in records:
            output = (0.2, 0.8) if record.state is DriveState.AUTONOMOUS else ()
            one.tick(msgspec.structs.replace(record, policy_output=output))
            if output and record.sequence != lost:
                one.inputs(PolicyInputs(record.sequence, 0, ()))
        assert one.finished[0].is_complete is (lost is None)


def test_a_recorder_that_was_late_itself_does_not_take_the_vehicle_for_gone(
    tmp_path: Path, short_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 100.0
    monkeypatch.setattr("vehicle.recorder.time", SimpleNamespace(monotonic=lambda: now_s))
    recorder = Recorder(short_dir, RunShelf(tmp_path, free=lambda _: 2 * RESERVE_BYTES), None)
    try:
        for record in ticks(*DRIVE[:10]):
            recorder.take_tick(record)
        name = recorder.recording.run
        now_s += 8.0  # the disk let it wait, and what was said meanwhile has not been read
        recorder.turn(0)
        assert recorder.recording.run == name
        recorder.take_tick(ticks(DriveState.AUTONOMOUS, first=10)[0])
        for _ in range(15):
            now_s += 0.1
            recorder.turn(0)
        assert recorder.recording.run == name
        for _ in range(15):
            now_s += 0.1
            recorder.turn(0)
        assert recorder.recording.run == ""
        assert "fell silent" in RunShelf(tmp_path).summary(name).note
    finally:
        recorder.close()


def test_a_recorder_that_comes_late_says_so(tmp_path: Path) -> None:
    one = recording(tmp_path)
    feed(one, ticks(*DRIVE)[5:15])
    one.end("the recorder was stopped")
    assert not one.finished[0].is_complete
    assert one.finished[0].note == (
        "the recorder came when the car was driving already; the recorder was stopped"
    )


def test_a_full_disk_costs_the_run_and_not_the_recorder(tmp_path: Path) -> None:
    class Full(RunWriter):
        def add(self, topic: Topic, time_ns: int, data: bytes) -> None:
            if topic is Topic.TICK and time_ns > 10 * TICK_NS:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            super().add(topic, time_ns, data)

    one = recording(tmp_path, open_writer=Full)
    feed(one, ticks(*DRIVE))
    assert "No space left" in one.problem
    assert not one.finished
    again = recording(tmp_path)
    feed(again, ticks(*DRIVE))
    assert again.problem == ""
    assert len(again.finished) == 1


def test_a_real_full_disk_leaves_what_was_whole(tmp_path: Path) -> None:
    """A limit on a file's size ends the writes as a full disk does; what stands there can be mended."""
    code = f"""
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, {os.getcwd()!r})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
from tests.unit.test_runs import DRIVE, recording, ticks
from vehicle.messages import DriveState
from vehicle.run_stream import Picture
from vehicle.run_schemas import Topic
import os
one = recording(Path({str(tmp_path)!r}))
for record in ticks(DriveState.DISARMED, DriveState.ARMING, *[DriveState.AUTONOMOUS] * 60):
    one.picture(Topic.CAMERA, Picture(record.sequence, record.now_ns, record.now_ns, os.urandom(20_000)))
    one.tick(record)
print(one.problem)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert "not recording: File too large" in done.stdout
    assert len(RunShelf(tmp_path).mend()) == 1
    assert 1 < len(list(read(RunShelf(tmp_path).find("last"), [Topic.TICK]))) < 60


def test_nothing_is_recorded_when_the_reserve_is_touched(tmp_path: Path) -> None:
    one = recording(tmp_path, free=lambda: RESERVE_BYTES - 1)
    feed(one, ticks(*DRIVE))
    assert "must stay so" in one.problem
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def cut_off(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What a recorder that was killed after eight seconds has left."""
    folder = tmp_path_factory.mktemp("cut")
    one = recording(folder)
    feed(one, ticks(*DRIVE[:2], *[DriveState.AUTONOMOUS] * 400)[:-1])
    assert one._writer is not None
    one._writer._writer._Writer__finalize_chunk()  # type: ignore[attr-defined]
    one._writer.abandon()
    return next(folder.glob("*.part")).read_bytes()


CUT = "2026-01-01_00-00-00"


def mended_ticks(folder: Path, left: bytes) -> tuple[int, RunSummary | None]:
    """Return how many ticks a run has that is made of what was left, and what its summary says."""
    part = folder / f"{CUT}.mcap.part"
    part.write_bytes(left)
    summary = mend(part)
    assert not part.exists()
    path = folder / f"{CUT}.mcap"
    return (len(list(read(path, [Topic.EXACT_TICK]))) if summary else 0), summary


def test_a_kill_at_any_byte_leaves_what_was_whole(tmp_path: Path, cut_off: bytes) -> None:
    counts = []
    for share in (0.0, 0.001, 0.3, 0.5, 0.77, 0.999, 1.0):
        count, summary = mended_ticks(tmp_path, cut_off[: int(len(cut_off) * share)])
        counts.append(count)
        assert count == (summary.ticks if summary else 0)
    assert counts == sorted(counts)
    assert counts[0] == 0
    assert counts[-1] == 400


def test_a_killed_recorder_loses_a_second_at_most(tmp_path: Path) -> None:
    code = f"""
import sys, time
from pathlib import Path
sys.path.insert(0, {os.getcwd()!r})
from tests.unit.test_runs import DRIVE, feed, recording, ticks
from vehicle.messages import DriveState
one = recording(Path({str(tmp_path)!r}))
for record in ticks(DriveState.DISARMED, DriveState.ARMING, *[DriveState.AUTONOMOUS] * 500):
    feed(one, [record])
print("fed", flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    shelf = RunShelf(tmp_path)
    assert len(shelf.mend()) == 1
    summary = shelf.summary("last")
    assert summary.duration_s > 9.0  # of ten seconds
    assert not summary.is_complete
    with shelf.find("last").open("rb") as file:
        assert make_reader(file).get_summary() is not None


def test_a_run_that_was_cut_off_is_a_whole_file_that_says_so_of_itself(
    tmp_path: Path, cut_off: bytes
) -> None:
    mended_ticks(tmp_path, cut_off)
    path = tmp_path / f"{CUT}.mcap"
    told = RunShelf(tmp_path).summary(CUT)  # by the file alone
    assert (told.name, told.started_wall_ns, told.boot_id) == (CUT, WALL_NS, "boot")
    assert (told.ticks, told.pictures, told.modes) == (400, 401, ("autonomous",))
    assert told.duration_s == pytest.approx(399 * TICK_NS / 1e9)
    assert not told.is_complete
    assert told.note.startswith("cut off")
    with path.open("rb") as file:
        summary = make_reader(file, validate_crcs=True).get_summary()
        assert summary is not None
        assert summary.statistics is not None
        counts = summary.statistics
        assert counts.message_count == sum(counts.channel_message_counts.values())
        assert counts.chunk_count == len(summary.chunk_indexes)
        assert all(index.message_index_offsets for index in summary.chunk_indexes)
        messages = [message.log_time for _, _, message in make_reader(file).iter_messages()]
    assert len(messages) == counts.message_count
    assert (min(messages), max(messages)) == (counts.message_start_time, counts.message_end_time)


def test_a_mending_that_is_itself_cut_off_is_done_again(tmp_path: Path, cut_off: bytes) -> None:
    """In place: what it had written so far is behind what is whole, and is written anew."""
    mended_ticks(tmp_path, cut_off)
    whole = (tmp_path / f"{CUT}.mcap").read_bytes()
    for end in np.linspace(len(cut_off), len(whole), 9).astype(int).tolist():
        assert mended_ticks(tmp_path, whole[:end])[0] == 400
        assert (tmp_path / f"{CUT}.mcap").read_bytes() == whole


def test_a_run_that_lacked_only_its_name_is_not_cut_off(tmp_path: Path) -> None:
    one = recording(tmp_path)
    feed(one, ticks(*DRIVE))
    path = tmp_path / f"{one.finished[0].name}.mcap"
    path.rename(path.with_name(f"{path.name}.part"))
    assert RunShelf(tmp_path).mend() == [one.finished[0].name]
    assert RunShelf(tmp_path).summary("last").is_complete


def test_what_a_recorder_writes_now_is_not_cut_off(tmp_path: Path) -> None:
    one = recording(tmp_path)
    feed(one, ticks(*DRIVE[:20]))
    shelf = RunShelf(tmp_path)
    assert shelf.cut_off() == []
    assert shelf.mend() == []
    name = one.run
    assert one._writer is not None
    one._writer._writer._Writer__finalize_chunk()  # type: ignore[attr-defined]
    one._writer.abandon()
    (told,) = shelf.cut_off()
    assert (told.name, told.started_wall_ns, told.is_complete) == (name, WALL_NS, False)
    with held(tmp_path / f"{name}.mcap.part"):  # as while it is mended
        assert [told.name for told in shelf.cut_off()] == [name]
    assert shelf.mend() == [name]
    assert shelf.cut_off() == []


def test_an_owner_chooses_the_quota_and_the_runs_of_a_car_lie_in_its_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "car.toml"
    config.write_text("[runs]\nquota_gb = 20\n")
    assert read_config(config).runs.quota_bytes == 20 * 10**9
    assert CarConfig().runs.quota_bytes == QUOTA_BYTES == 4 * 10**9
    monkeypatch.setenv("LAPWING_HOME", str(tmp_path))
    assert RunShelf().folder == tmp_path / "runs"
    shelves: list[RunShelf] = []
    monkeypatch.setattr("vehicle.recorder.die_with_parent", lambda: None)
    monkeypatch.setattr("vehicle.recorder.os.nice", lambda steps: 0)
    monkeypatch.setattr("vehicle.recorder.Recorder", lambda run_dir, shelf, hil_dir: shelves.append(shelf))
    with pytest.raises(AttributeError):  # of what stands in for the recorder
        record_runs(tmp_path / "run", None, None, config)
    assert shelves[0].quota_bytes == 20 * 10**9


def test_making_a_run_whole_removes_no_other(tmp_path: Path, cut_off: bytes) -> None:
    """That is for the recorder alone, who knows the quota that its owner chose."""
    shelf = RunShelf(tmp_path, quota_bytes=1)
    names = [put(shelf, day) for day in (2, 3)]
    (tmp_path / f"{CUT}.mcap.part").write_bytes(cut_off)
    assert shelf.mend() == [CUT]
    assert [run.name for run in shelf.runs()] == [*reversed(names), CUT]


def test_a_cut_off_run_counts_for_the_quota_and_goes_in_its_turn(tmp_path: Path) -> None:
    shelf = RunShelf(tmp_path, quota_bytes=2500)
    names = [put(shelf, day) for day in (1, 2, 3)]
    (tmp_path / f"{names[0]}.mcap").rename(tmp_path / f"{names[0]}.mcap.part")
    assert shelf.make_room() == [names[0]]
    assert not list(tmp_path.glob(f"{names[0]}*"))


def test_a_recorder_has_what_was_cut_off_made_whole_while_it_listens(
    tmp_path: Path, short_dir: Path, cut_off: bytes
) -> None:
    (tmp_path / f"{CUT}.mcap.part").write_bytes(cut_off)
    shelf = RunShelf(tmp_path)
    recorder = Recorder(short_dir, shelf, None)
    try:
        recorder.turn(0)
        assert recorder._mender.is_at_work
        feed(recorder.recording, ticks(*DRIVE))
        deadline_s = time.monotonic() + 30
        while shelf.cut_off() and time.monotonic() < deadline_s:
            recorder.turn(50)
    finally:
        recorder.close()
    assert [run.is_complete for run in shelf.runs()] == [True, False]


def test_the_list_on_the_command_line_makes_whole_what_was_cut_off(tmp_path: Path, cut_off: bytes) -> None:
    (tmp_path / f"{CUT}.mcap.part").write_bytes(cut_off)
    said = CliRunner().invoke(app, ["runs", "list", "--json", "--runs", str(tmp_path)])
    assert "was cut off" in said.stderr
    assert [row["name"] for row in msgspec.json.decode(said.stdout)] == [CUT]


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    path = Path(f"/tmp/lapwing-fuzz-{os.getpid()}.mcap")
    path.write_bytes(data)
    try:
        assert list(read_whole(path)) == []
        with pytest.raises(RunFileError):
            list(read(path, Topic))
    finally:
        path.unlink()


def put(shelf: RunShelf, day: int, size: int = 1000) -> str:
    name = f"2026-01-{day:02d}_00-00-00"
    shelf.folder.mkdir(exist_ok=True)
    (shelf.folder / f"{name}.mcap").write_bytes(bytes(size))
    summary = RunSummary(name=name, started_wall_ns=WALL_NS, boot_id="", started_ns=0, laps_s=(9.0, 8.5))
    (shelf.folder / f"{name}.json").write_bytes(msgspec.json.encode(summary))
    return name


def test_the_quota_removes_the_oldest_and_no_star_and_not_the_newest(tmp_path: Path) -> None:
    shelf = RunShelf(tmp_path, quota_bytes=2500)
    first, second, third, fourth = (put(shelf, day) for day in (1, 2, 3, 4))
    shelf.star(first, starred=True)
    other = tmp_path / "holiday.mcap"
    other.write_bytes(bytes(5000))
    assert shelf.make_room() == [second, third]
    assert [one.name for one in shelf.runs()] == [fourth, first]
    assert other.exists()
    assert not list(tmp_path.glob(f"{second}*"))


def test_the_disk_keeps_its_reserve_at_the_cost_of_old_runs_without_a_star(tmp_path: Path) -> None:
    def free(folder: Path) -> int:
        taken = sum(file.stat().st_size for file in folder.rglob("*.mcap"))
        return RESERVE_BYTES + 2500 - taken

    shelf = RunShelf(tmp_path, free=free)
    first, second, third, fourth = (put(shelf, day) for day in (1, 2, 3, 4))
    shelf.star(first, starred=True)
    other = tmp_path / "notes.txt"
    other.write_text("mine")
    assert shelf.make_room() == [second, third]
    assert [one.name for one in shelf.runs()] == [fourth, first]
    assert other.exists()

    fifth = put(shelf, 5)
    shelf.put_away(fifth)  # what was put away goes before anything that is in the list
    assert shelf.make_room() == []
    assert shelf.removed() == []
    assert [one.name for one in shelf.runs()] == [fourth, first]


def test_a_full_disk_that_is_not_ours_costs_all_but_the_newest_and_the_starred(tmp_path: Path) -> None:
    shelf = RunShelf(tmp_path, free=lambda _: 0)
    first, second, third = (put(shelf, day) for day in (1, 2, 3))
    shelf.star(second, starred=True)
    assert shelf.make_room() == [first]
    assert [one.name for one in shelf.runs()] == [third, second]


def test_a_film_counts_and_goes_with_its_run(tmp_path: Path) -> None:
    shelf = RunShelf(tmp_path, quota_bytes=2500)
    first, second = (put(shelf, day) for day in (1, 2))
    (tmp_path / f"{second}.webm").write_bytes(bytes(1000))
    (tmp_path / f"{first}.webm").write_bytes(bytes(1000))
    assert shelf.make_room() == [first]
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        f"{second}{suffix}" for suffix in (".json", ".mcap", ".webm")
    ]


def test_what_was_put_away_is_gone_after_ten_minutes_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = RunShelf(tmp_path)
    name = put(shelf, 1)
    os.utime(shelf.find(name), (1.0, 1.0))  # an old run that is put away now
    shelf.put_away(name)
    assert shelf.forget() == []
    now_s = time.time()
    monkeypatch.setattr("vehicle.runs.time.time", lambda: now_s + KEPT_AWAY_S + 5)
    assert shelf.forget() == [name]
    assert not list(tmp_path.rglob(f"{name}*"))


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """Yield a folder for sockets: the paths of pytest's workers are too long for them."""
    with tempfile.TemporaryDirectory(prefix="lw", dir="/tmp") as folder:
        yield Path(folder)


def test_a_recorder_makes_room_before_it_gives_up(tmp_path: Path, short_dir: Path) -> None:
    def free(folder: Path) -> int:
        return RESERVE_BYTES - len(list(folder.glob(f"{oldest}.mcap")))

    shelf = RunShelf(tmp_path, free=free)
    oldest, newest = put(shelf, 1), put(shelf, 2)
    recorder = Recorder(short_dir, shelf, None)
    try:
        feed(recorder.recording, ticks(*DRIVE))
        assert recorder.recording.problem == ""
    finally:
        recorder.close()
    names = [one.name for one in shelf.runs()]
    assert len(names) == 2  # the new one, and
    assert names[1] == newest


def test_a_name_is_never_a_path(tmp_path: Path) -> None:
    shelf = RunShelf(tmp_path / "runs")
    put(shelf, 1)
    (tmp_path / "secret.mcap").write_bytes(b"")
    for name in ("../secret", "secret", "", "2026-01-01_00-00-00/../../secret"):
        with pytest.raises(RunNotFoundError):
            shelf.remove(name)


def test_runs_without_a_summary_are_told_from_their_ticks(tmp_path: Path) -> None:
    one = recording(tmp_path)
    feed(one, ticks(*DRIVE))
    assert RunShelf(tmp_path).summary("last").ticks == 22


@given(
    dtype=st.sampled_from(["uint8", "float32", "float16"]),
    unit=st.booleans(),
    seed=st.integers(0, 1000),
    noisy=st.booleans(),
)
def test_network_inputs_come_back_to_the_bit(dtype: str, unit: bool, seed: int, noisy: bool) -> None:
    grey = np.random.default_rng(seed).integers(0, 256, (1, 6, 8, 2)).astype(dtype)
    values = grey / np.asarray(255, dtype) if unit and dtype != "uint8" else grey
    if noisy and dtype != "uint8":
        values = values + np.asarray(0.3, dtype)
    packed = compact(PolicyInputs(1, 2, (InputArray.of("x", values),))).arrays[0]
    again = unpacked(packed)
    assert again.dtype == values.dtype
    assert np.array_equal(again, values)


def test_values_that_are_no_numbers_survive(tmp_path: Path) -> None:
    values = np.array([[np.nan, np.inf, -1.0]], np.float32)
    packed = compact(PolicyInputs(1, 2, (InputArray.of("x", values),))).arrays[0]
    assert np.array_equal(unpacked(packed), values, equal_nan=True)


def test_the_commands_list_show_star_export_and_remove(tmp_path: Path) -> None:
    one = recording(tmp_path)
    feed(one, ticks(*DRIVE))
    shelf = RunShelf(tmp_path)
    shelf.put(one.finished[0])
    name = one.finished[0].name
    run = CliRunner()
    where = ["--runs", str(tmp_path)]
    listed = run.invoke(app, ["runs", "list", "--json", *where])
    assert [row["name"] for row in msgspec.json.decode(listed.stdout)] == [name]
    assert name in run.invoke(app, ["runs", "list", *where]).stdout
    assert "22 ticks" in run.invoke(app, ["runs", "show", *where]).stdout
    assert run.invoke(app, ["runs", "star", name, *where]).exit_code == 0
    assert shelf.is_starred(name)
    copy = tmp_path / "copy.mcap"
    assert run.invoke(app, ["runs", "export", "last", str(copy), *where]).exit_code == 0
    assert copy.read_bytes() == shelf.find(name).read_bytes()
    copy.unlink()
    table = tmp_path / "run.csv"
    assert run.invoke(app, ["runs", "export", "last", str(table), *where]).exit_code == 0
    assert len(table.read_text().splitlines()) == 23
    assert run.invoke(app, ["runs", "export", "last", str(tmp_path / "run.exe"), *where]).exit_code == 2
    nowhere = run.invoke(app, ["runs", "export", "last", str(tmp_path / "nowhere" / "run.csv"), *where])
    assert "(No such file or directory); choose another file" in str(nowhere.exception)
    assert run.invoke(app, ["runs", "remove", name, *where]).exit_code == 0
    assert shelf.runs() == []
