"""A run's curves: what is drawn is what was driven, at any zoom, and a long run is never read as a whole."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.unit.run_files import START_NS, TICK_S, make_run, ring, ring_layout, steering_at
from tests.unit.tick_records import record_of
from vehicle.bench_recording import write_long_run
from vehicle.errors import LapwingError
from vehicle.messages import DriveState
from vehicle.run_file import RunFileError, RunWriter, read
from vehicle.run_film import RunFilmError, write_film
from vehicle.run_mending import mend
from vehicle.run_schemas import Topic, protobuf_class
from vehicle.run_seek import RunIndex
from vehicle.run_traces import TRACES, EventKind, TraceKeeper, Traces, traces_of
from vehicle.runs import RunShelf
from vehicle.runs_cli import export


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    make_run(folder, 10.0, fault_s=9.0)
    return folder


@pytest.fixture(scope="module")
def traces(folder: Path) -> Traces:
    path = RunShelf(folder).find("last")
    return traces_of(path, RunIndex(path))


def test_the_curves_hold_the_least_and_the_most_of_every_piece(traces: Traces) -> None:
    for since_s, until_s, buckets in ((0.0, 9.9, 7), (2.0, 4.0, 50), (1.0, 9.0, 1)):
        curve = traces.curves(since_s, until_s, buckets).steering
        edges_s = np.linspace(since_s, until_s, buckets + 1)
        for bucket in range(buckets):
            moments = np.arange(math.ceil(edges_s[bucket] / TICK_S - 1e-6), 1e6) * TICK_S
            moments = moments[moments < edges_s[bucket + 1] - 1e-9]
            driven = [steering_at(moment) for moment in moments]
            assert curve.low[bucket] == pytest.approx(min(driven), abs=0.002)
            assert curve.high[bucket] == pytest.approx(max(driven), abs=0.002)


def test_between_two_ticks_a_curve_goes_on_and_after_the_end_it_does_not(traces: Traces) -> None:
    close = traces.curves(3.0, 3.1, 100).steering
    assert None not in close.low
    beyond = traces.curves(9.0, 30.0, 21).steering
    assert beyond.low[0] is not None
    assert beyond.low[3:] == [None] * 18


def test_one_moment_is_the_newest_tick_and_truth_of_it(traces: Traces) -> None:
    moment = traces.at(4.011)
    assert moment is not None
    assert moment.t_s == pytest.approx(4.0)
    assert moment.state is DriveState.AUTONOMOUS
    assert moment.steering_frac == pytest.approx(steering_at(4.0), abs=1e-6)
    assert moment.x_m == pytest.approx(ring(4.0, 1).x_m, abs=1e-5)
    assert moment.speed_mps == pytest.approx(ring(4.0, 1).speed_mps, abs=1e-5)


def test_the_line_of_a_long_run_stays_on_the_road() -> None:
    keeper = TraceKeeper()
    for number in range(20 * 60 * 20):  # twenty minutes of laps of three seconds
        keeper.truth(ring(number / 20, 0))
    keeper.tick(record_of(0, now_ns=START_NS))
    long = Traces(keeper.packed())
    for since_s, until_s, gaps in ((0.0, 1200.0, 14), (100.0, 200.0, 0), (100.0, 160.0, 0)):
        line = long.line(since_s, until_s, 1500)
        assert line is not None
        assert 1000 < len(line.t_s) <= 1500
        assert (line.t_s[0], line.t_s[-1]) == pytest.approx((since_s, until_s), abs=0.1)
        steps_s = np.diff(line.t_s)
        assert np.count_nonzero(steps_s > 1.0) == gaps
        assert steps_s[steps_s <= 1.0].max() <= 0.16
        drawn_m = np.hypot(np.diff(line.x_m), np.diff(line.y_m))[steps_s <= 1.0]
        assert drawn_m.max() < 0.4  # none is a chord across the ring of two metres


def test_a_picture_is_found_by_its_time(folder: Path, traces: Traces) -> None:
    path = RunShelf(folder).find("last")
    index = RunIndex(path)
    for t_s in (0.0, 3.33, 5.0, 8.0):
        stamp_ns = traces.picture_ns(t_s)
        assert stamp_ns is not None
        assert 0 <= START_NS + t_s * 1e9 - stamp_ns < 0.041e9
        entry = index.message(Topic.CAMERA, stamp_ns)
        assert entry is not None
        image = protobuf_class("CompressedImage").FromString(entry.data)
        grey = cv2.imdecode(np.frombuffer(image.data, np.uint8), cv2.IMREAD_GRAYSCALE)
        tick = round((stamp_ns - START_NS) / 1e9 / TICK_S) + 1
        assert grey.mean() == pytest.approx(tick % 250, abs=1.5)
    assert index.message(Topic.CAMERA, START_NS + 7) is None
    assert index.message(Topic.SCAN, stamp_ns) is None


def test_events_laps_and_states_stand_where_they_happened(traces: Traces) -> None:
    seen = [(event.kind, event.words, round(event.t_s, 2)) for event in traces.events]
    assert (
        seen
        == [
            (EventKind.REQUEST, "start", 0.0),
            (EventKind.LAP, "lap 1: 3.000 s", 3.0),
            (EventKind.LAP, "lap 2: 3.000 s", 6.0),
            (EventKind.FAULT, "board silent", 9.0),
            (EventKind.LAP, "lap 3: 3.000 s", 9.0),
            (EventKind.FAULT_OVER, "board silent", 9.98),
        ]
        or seen
    )
    assert traces.laps_end_s() == pytest.approx([3.0, 6.0, 9.0])
    spans = [(span.state.value, round(span.since_s, 2), round(span.until_s, 2)) for span in traces.spans()]
    assert spans[:3] == [
        ("arming", 0.0, 0.2),
        ("autonomous", 0.2, 9.0),
        ("failsafe", 9.0, 9.98),
    ]


def test_a_run_that_was_cut_off_gets_its_curves_from_what_is_whole(folder: Path, tmp_path: Path) -> None:
    whole = RunShelf(folder).find("last")
    data = whole.read_bytes()
    part = tmp_path / f"{whole.name}.part"
    part.write_bytes(data[: int(len(data) * 0.6)])
    assert mend(part) is not None
    path = tmp_path / whole.name
    index = RunIndex(path)
    assert index.attachment(TRACES) is not None
    mended, complete = traces_of(path, index), traces_of(whole, RunIndex(whole))
    assert 100 < mended.ticks.size < complete.ticks.size
    assert np.array_equal(mended.ticks, complete.ticks[: mended.ticks.size])
    assert mended.events == complete.events[: len(mended.events)]


def test_a_run_without_curves_is_drawn_from_its_messages(folder: Path, tmp_path: Path) -> None:
    whole = RunShelf(folder).find("last")
    path = tmp_path / whole.name
    writer = RunWriter(path)
    for entry in read(whole, Topic):
        writer.add(*entry)
    writer.finish({})
    gathered, attached = traces_of(path, RunIndex(path)), traces_of(whole, RunIndex(whole))
    assert np.array_equal(gathered.ticks, attached.ticks)
    assert np.array_equal(gathered.truths, attached.truths)
    assert np.array_equal(gathered.pictures_ns, attached.pictures_ns)
    assert gathered.events == attached.events
    assert gathered.track == attached.track == ring_layout()


def test_damaged_files_are_refused_in_words(folder: Path, tmp_path: Path) -> None:
    whole = RunShelf(folder).find("last").read_bytes()
    path = tmp_path / "run.mcap"
    generator = np.random.default_rng(3)
    for cut in (0, 5, 40, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(RunFileError):
            RunIndex(path)
    refused = 0
    for _ in range(60):  # bytes that were turned, most of them in the index at the end
        data = bytearray(whole)
        for place in generator.integers(len(whole) - 4000, len(whole), 4):
            data[place] = generator.integers(256)
        path.write_bytes(data)
        try:
            index = RunIndex(path)
            traces = traces_of(path, index)
            index.message(Topic.CAMERA, traces.picture_ns(3.0) or 0)
        except RunFileError:
            refused += 1
    assert refused > 5


def test_the_curves_of_a_long_run_are_read_without_its_messages(tmp_path: Path) -> None:
    path = RunShelf(tmp_path).find(make_run(tmp_path, 60.0).name)
    index = RunIndex(path)
    packed = index.attachment(TRACES)
    assert packed is not None
    assert len(packed) < 0.1 * path.stat().st_size
    data = bytearray(path.read_bytes())
    messages = int(0.6 * len(data))
    data[100:messages] = bytes(messages - 100)  # what nobody asks for is not looked at
    path.write_bytes(data)
    assert traces_of(path, RunIndex(path)).duration_s == pytest.approx(60.0, abs=0.1)


def test_the_long_run_of_the_bench_is_one(tmp_path: Path) -> None:
    driven = RunShelf(tmp_path / "driven").find(make_run(tmp_path / "driven", 6.0).name)
    made = write_long_run(tmp_path, driven, 20.0)
    path = RunShelf(tmp_path).find("last")
    index = RunIndex(path)
    traces = traces_of(path, index)
    assert (path.stat().st_size, index.chunk_count()) == (made.size_bytes, made.chunks)
    assert traces.duration_s == pytest.approx(20.0, abs=0.1)
    assert np.diff(traces.ticks["t_ns"]).max() < 0.1e9  # without a gap where it begins anew
    assert traces.ticks.size == pytest.approx(20 / TICK_S, rel=0.02)
    assert made.chunks / 20 == pytest.approx(RunIndex(driven).chunk_count() / 6.0, rel=0.5)
    for t_s in (0.0, 10.0, 19.9):
        assert index.message(Topic.CAMERA, traces.picture_ns(t_s) or 0) is not None


@pytest.mark.parametrize("suffix", [".webm", ".mp4"])
def test_a_film_shows_the_run_at_its_own_pace(tmp_path: Path, suffix: str) -> None:
    make_run(tmp_path, 2.0)
    out = tmp_path / f"drive{suffix}"
    shares: list[float] = []
    write_film(RunShelf(tmp_path).find("last"), out, shares.append)
    film = cv2.VideoCapture(str(out))
    assert film.get(cv2.CAP_PROP_FPS) == pytest.approx(15.0)
    greys = []
    while True:
        has_one, picture = film.read()
        if not has_one:
            break
        greys.append(picture[200:300, 200:300].mean())
    assert len(greys) == pytest.approx(2.0 * 15, abs=2)
    assert greys[-1] - greys[0] == pytest.approx(100, abs=8)  # one grey level a tick, 50 ticks a second
    assert shares[-1] == pytest.approx(1.0, abs=0.05)
    assert [file.name for file in tmp_path.glob(".*")] == []
    with pytest.raises(RunFilmError, match=r"allowed are \.webm, \.mp4; choose one of these"):
        write_film(RunShelf(tmp_path).find("last"), tmp_path / "drive.avi")


@pytest.mark.parametrize("suffix", [".webm", ".csv"])
def test_what_cannot_be_written_of_a_run_is_told_with_the_reason_and_a_remedy(
    tmp_path: Path, suffix: str
) -> None:
    make_run(tmp_path, 0.5)
    (tmp_path / "file").touch()
    for folder, why in (("nosuch", "No such file or directory"), ("file", "Not a directory")):
        out = tmp_path / folder / f"drive{suffix}"
        with pytest.raises(LapwingError, match=rf"^{out} cannot be written \({why}\); .*choose another file"):
            export("last", out, tmp_path)
