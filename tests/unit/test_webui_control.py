"""Commands of a page: their order, their freshness, and laps that end a drive."""

import contextlib
import queue
import random
import selectors
import socket
import threading
import time
import tracemalloc
from collections import deque
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from werkzeug.exceptions import Conflict, ServiceUnavailable

from calibration import store
from calibration.car import AWS_DEFAULTS
from vehicle.laps import MarkerLaps, TimedLap
from vehicle.messages import DriveState, Reply, RequestKind
from vehicle.truth import Crossing
from webui import control, sockets
from webui.commands import (
    Clear,
    Commands,
    Drive,
    EmergencyStop,
    RenewLease,
    SaveTrim,
    SpeedCap,
    StartDrive,
    Stop,
    TakeLease,
)
from webui.host import HostHealth
from webui.laps import Laps, LapSource
from webui.sockets import CLOSED_FLOOD, SOCKET_LIMIT, SOCKETS_OF_ONE_COMPUTER, WAITING_LIMIT, Places
from webui.speed_caps import SpeedCaps

NOW_NS = 50_000_000_000
MS = 1_000_000


class Car:
    """A vehicle and a world that a test moves; keeps what it was asked."""

    def __init__(self) -> None:
        self.state, self.driver, self.trim_us = DriveState.DISARMED, "", 0.0
        self.policy_hash = "3f9a"
        self.laps: tuple[Crossing, ...] = ()
        self.lap_started_ns, self.now_ns = 0, NOW_NS
        self.asked: list[tuple[RequestKind, dict]] = []
        self.stops = 0

    def cross(self, *at_ns: int) -> None:
        """Cross the start line at these moments."""
        for crossed_ns in at_ns:
            if self.lap_started_ns:
                lap_s = (crossed_ns - self.lap_started_ns) / 1e9
                self.laps += (Crossing(len(self.laps) + 1, lap_s),)
            self.lap_started_ns = crossed_ns

    def status(self) -> "Car":
        return self

    def truth(self) -> "Car":
        return self

    def request(self, kind: RequestKind, timeout_s: float = 1.0, **fields) -> Reply:
        self.asked.append((kind, fields))
        if kind is RequestKind.DISARM:
            self.state = DriveState.DISARMED
        return Reply("1", ok=True)

    def emergency_stop(self, timeout_s: float = 0.5) -> Reply:
        self.stops += 1
        return Reply("1", ok=True)

    @property
    def kinds(self) -> list[RequestKind]:
        return [kind for kind, _ in self.asked]


class LeasedCar(Car):
    """A vehicle that has a driver, and whose status may be older than what it was asked last."""

    def __init__(self, holder: str, told: str) -> None:
        super().__init__()
        self.holder, self.driver = holder, told
        self.refusals: dict[RequestKind, str] = {}
        self.calibration_file = ""

    def request(self, kind: RequestKind, timeout_s: float = 1.0, **fields) -> Reply:
        super().request(kind, timeout_s, **fields)
        source, reason = fields["source"], ""
        if kind is RequestKind.TAKE_LEASE:
            reason = "" if self.holder in {"", source} else f"{self.holder} drives; wait until they let go"
            self.holder = self.holder or source
        elif kind is not RequestKind.DISARM and source != self.holder:
            reason = "take the lease first"
        elif kind is RequestKind.RELEASE_LEASE:
            self.holder = ""
        elif kind is RequestKind.SET_TRIM:
            self.trim_us = fields["trim_us"]
        reason = reason or self.refusals.get(kind, "")
        return Reply("1", ok=not reason, reason=reason)

    def wait_status(self, accept, timeout_s: float) -> "LeasedCar | None":
        """The next one tells how things are."""
        self.driver, self.now_ns = self.holder, NOW_NS + MS
        return self if accept(self) else None


def commands_of(car: Car, caps: SpeedCaps | None = None) -> Commands:
    caps = caps or SpeedCaps(Path("/dev/null/nowhere"))
    return Commands(car, Laps(car, car, lambda: NOW_NS), caps, lambda: NOW_NS)


def test_of_hands_and_renewals_that_wait_only_the_newest_counts():
    hands = [Drive(steering_frac=0.1 * k, throttle_frac=0.0) for k in range(5)]
    renewals = [RenewLease(echo_ns=k) for k in range(3)]
    clear, stop = Clear(), Stop()
    waiting = [hands[0], renewals[0], clear, *hands[1:], *renewals[1:], stop]

    assert control.in_order(waiting) == [clear, hands[-1], renewals[-1], stop]
    assert control.in_order([]) == []


class Talk:
    """A page's conversation over a line that a test speaks into; every start waits for `may_start`."""

    def __init__(self) -> None:
        self.is_open = True
        self.closed_with: int | None = None
        self.said: queue.Queue[list[str]] = queue.Queue()
        self.obeyed: list[str] = []
        self.is_starting, self.may_start = threading.Event(), threading.Event()
        visitor = type("Anybody", (), {"may_drive": True, "is_allowed_now": lambda self: True})()
        made = {"vehicle": Car(), "glance": None, "source": "page 1", "visitor": visitor}
        self.conversation = control._Conversation(self, obey=self.obey, **made)
        self.conversation._write = lambda: None
        self.thread = threading.Thread(target=self.conversation.run)
        self.thread.start()

    def obey(self, command) -> None:
        if isinstance(command, StartDrive):
            self.is_starting.set()
            assert self.may_start.wait(10.0)
        self.obeyed.append(type(command).__name__)

    def receive_all(self, timeout_s: float) -> list[str]:
        return self.said.get()

    def say(self, *kinds: str) -> None:
        self.said.put([msgspec.json.encode({"kind": kind, "id": kind}).decode() for kind in kinds])

    def close(self, code: int, reason: str) -> None:
        self.is_open, self.closed_with = False, code

    def end(self) -> None:
        self.is_open = False
        self.say()
        until(lambda: self.conversation._is_over)
        self.may_start.set()
        self.thread.join()


def test_an_emergency_stop_waits_for_no_command_before_it():
    talk = Talk()
    talk.say("take_lease", "start", "clear")
    until(lambda: talk.obeyed == ["TakeLease"])  # the start takes its time
    talk.say("clear", "emergency_stop")
    until(lambda: talk.obeyed == ["TakeLease", "EmergencyStop"])
    talk.may_start.set()

    until(lambda: talk.obeyed[2:] == ["StartDrive", "Clear", "Clear"])
    talk.end()


def test_what_a_page_says_last_still_lets_the_car_go_and_starts_nothing():
    talk = Talk()
    talk.say("start", "take_lease", "stop", "start", "release_lease")
    assert talk.is_starting.wait(10.0)
    talk.end()

    assert talk.obeyed == ["StartDrive", "Stop", "ReleaseLease"]  # the first was underway


def test_a_flood_of_commands_ends_its_line():
    talk = Talk()
    talk.say("start", *["renew_lease"] * 1000)  # one renewal is as good as another
    talk.say(*["clear"] * (WAITING_LIMIT + 1))
    until(lambda: talk.closed_with == CLOSED_FLOOD)
    talk.end()


def test_a_mistake_in_a_command_ends_its_line(monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda args: None)  # the server's log, else
    talk = Talk()
    talk.obey = talk.conversation._obey = lambda command: 1 / 0
    talk.say("clear")
    until(lambda: talk.closed_with == 1011)
    talk.end()


@pytest.mark.parametrize(("seen_ms", "ok"), [(0, True), (300, True), (300.001, False), (-1, False)])
@pytest.mark.parametrize("make", [TakeLease, Clear, StartDrive])
def test_a_late_command_never_reaches_the_vehicle(make, seen_ms, ok):
    car = Car()
    command = make(echo_ns=NOW_NS - round(seen_ms * MS))

    if ok:
        commands_of(car).obey(command, "page 1")
        assert {fields["echo_ns"] for _, fields in car.asked} == {command.echo_ns}
    else:
        with pytest.raises(Conflict, match="after the page last heard of the car"):
            commands_of(car).obey(command, "page 1")
        assert car.asked == []


@pytest.mark.parametrize("echo_ns", [0, 1, NOW_NS + 10**12])
def test_what_stops_is_obeyed_however_late_it_comes(echo_ns):
    car = Car()
    commands_of(car).obey(Stop(echo_ns=echo_ns), "page 1")
    commands_of(car).obey(EmergencyStop(echo_ns=echo_ns), "page 1")

    assert car.kinds == [RequestKind.DISARM]
    assert car.stops == 1


def test_a_stop_that_raced_with_a_failsafe_says_what_it_had_seen_and_is_content_with_a_car_that_stands():
    car = LeasedCar(holder="page 1", told="page 1")
    car.state = DriveState.AUTONOMOUS  # by a status from before
    car.refusals[RequestKind.DISARM] = "the car stopped after this was sent; look, then disarm again"
    commands_of(car).obey(Stop(), "page 2")

    assert car.asked == [(RequestKind.DISARM, {"source": "page 2", "echo_ns": car.now_ns})]


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200)))
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@example('{"kind": "drive", "x": ' + "[" * 50_000)
def test_no_message_whatever_breaks_the_line_or_moves_the_car(message):
    car, replies = Car(), []
    talk = control._Conversation.__new__(control._Conversation)
    talk._obey = lambda command: commands_of(car).obey(command, "page 1")
    talk._visitor = type("Anybody", (), {"may_drive": True})()
    talk._reply = lambda command_id, error: replies.append(error)
    talk._heard, talk._waiting = threading.Condition(), []
    talk._hear([message])

    assert replies[0].startswith("The message cannot be read")
    assert car.asked == []


def test_thousands_of_messages_good_and_bad_leave_no_memory_behind():
    car, rng = Car(), random.Random(6)
    commands = commands_of(car)
    talk = control._Conversation.__new__(control._Conversation)
    talk._obey = lambda command: commands.obey(command, "page 1")
    talk._visitor = type("Anybody", (), {"may_drive": True})()
    talk._replies = deque(maxlen=control.REPLIES_WAITING)
    talk._wake, talk._heard, talk._waiting = threading.Event(), threading.Condition(), []

    def hear(count: int) -> int:
        for number in range(count):
            good = msgspec.json.encode(EmergencyStop(id=f"{rng.random()}"))
            cut = rng.randrange(len(good))
            talk._hear([good if number % 3 == 0 else good[:cut] + rng.randbytes(3) + good[cut + 1 :]])
            talk._waiting.clear()
        car.asked.clear()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = hear(1000)
        assert hear(3000) - before < 30_000
    finally:
        tracemalloc.stop()
    assert car.stops > 1000


DRIVERS_COMMANDS = [StartDrive(echo_ns=NOW_NS), SpeedCap(echo_ns=NOW_NS, speed_cap_frac=0.5)]
KIND_OF = {StartDrive: RequestKind.START, SpeedCap: RequestKind.SET_SPEED_CAP}


@pytest.mark.parametrize("command", DRIVERS_COMMANDS)
@pytest.mark.parametrize("told", ["", "page 1", "page 2"])
def test_a_driver_who_is_refused_something_keeps_the_wheel_whatever_the_status_says(command, told):
    car = LeasedCar(holder="page 1", told=told)
    car.refusals[KIND_OF[type(command)]] = "the car changed its state after this was sent"
    with pytest.raises(Conflict, match="changed its state"):
        commands_of(car).obey(command, "page 1")

    assert car.holder == "page 1"
    assert RequestKind.TAKE_LEASE not in car.kinds


@pytest.mark.parametrize("command", DRIVERS_COMMANDS)
@pytest.mark.parametrize("told", ["", "page 1", "page 2"])
def test_whoever_drives_no_more_becomes_the_driver_again_whatever_the_status_says(command, told):
    car = LeasedCar(holder="", told=told)
    commands_of(car).obey(command, "page 1")

    assert car.kinds.count(KIND_OF[type(command)]) == 2
    assert car.holder == ("page 1" if isinstance(command, StartDrive) else "")  # a cap is no drive


@pytest.mark.parametrize("command", DRIVERS_COMMANDS)
@pytest.mark.parametrize("told", ["", "page 1", "page 2"])
def test_what_only_the_driver_may_takes_the_wheel_from_nobody(command, told):
    car = LeasedCar(holder="page 2", told=told)
    with pytest.raises(Conflict, match="Page 2 drives"):
        commands_of(car).obey(command, "page 1")

    assert car.holder == "page 2"


@pytest.mark.parametrize("command", DRIVERS_COMMANDS)
def test_a_refused_wish_of_one_who_was_no_driver_leaves_none(command):
    car = LeasedCar(holder="", told="")
    car.refusals[KIND_OF[type(command)]] = "no policy is loaded"
    with pytest.raises(Conflict, match="No policy is loaded"):
        commands_of(car).obey(command, "page 1")

    assert car.holder == ""


def trimmed_car(tmp_path: Path, holder: str = "page 1") -> tuple[LeasedCar, Path]:
    path = tmp_path / "blue.json"
    store.save(path, AWS_DEFAULTS, saved_by="Anna")
    car = LeasedCar(holder=holder, told="")
    car.calibration_file, car.trim_us = str(path), 12.0
    return car, path


def test_the_trim_is_saved_into_the_centre_and_then_is_none(tmp_path: Path):
    car, path = trimmed_car(tmp_path)
    commands_of(car).obey(SaveTrim(echo_ns=NOW_NS, name="Ben"), "page 1")

    assert store.load(path).steering.center_us == AWS_DEFAULTS.steering.center_us + 12.0
    assert store.history(path)[0].saved_by == "Ben"
    assert car.kinds == [RequestKind.SET_TRIM, RequestKind.RELOAD_CALIBRATION]
    assert car.trim_us == 0.0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"holder": "page 2"}, "Only the driver saves the trim"),
        ({"state": DriveState.MANUAL}, "The car is manual; stop it"),
        ({"trim_us": 0.0}, "no trim to save"),
        ({"trim_us": float("nan")}, "no trim to save"),
        ({"trim_us": 600.0}, "The trim cannot be saved: "),
        ({"calibration_file": "/dev/null/blue.json"}, "The trim cannot be saved: "),
    ],
)
def test_a_trim_that_cannot_be_saved_says_why_and_changes_nothing(tmp_path: Path, change, said):
    car, path = trimmed_car(tmp_path)
    for name, value in change.items():
        setattr(car, name, value)
    with pytest.raises(Conflict, match=said):
        commands_of(car).obey(SaveTrim(echo_ns=NOW_NS), "page 1")

    assert store.load(path).steering == AWS_DEFAULTS.steering
    assert car.asked == []


def test_a_trim_is_not_saved_by_a_status_from_before_it(tmp_path: Path):
    car, path = trimmed_car(tmp_path)
    car.wait_status = lambda accept, timeout_s: car if accept(car) else None  # no newer one comes
    car.driver, car.now_ns = "page 1", NOW_NS - MS
    with pytest.raises(Conflict):
        commands_of(car).obey(SaveTrim(echo_ns=NOW_NS), "page 1")

    assert store.load(path).steering == AWS_DEFAULTS.steering


def until(is_so) -> None:
    deadline_s = time.monotonic() + 5.0
    while not is_so():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def test_the_target_of_laps_disarms_the_car_and_says_so():
    car = Car()
    car.cross(NOW_NS - 20_000 * MS, NOW_NS - 11_000 * MS, NOW_NS - 1500 * MS)  # in the drive before
    laps = Laps(car, car, lambda: NOW_NS)
    laps.begin(2, None)
    car.state, car.now_ns = DriveState.AUTONOMOUS, NOW_NS + 1000 * MS
    assert (laps.document().laps, laps.document().lap_time_s) == ((), None)
    car.cross(NOW_NS + 2000 * MS)  # a lap that stood still between two drives
    assert laps.document().laps == ()
    car.cross(NOW_NS + 10_000 * MS)
    time.sleep(0.15)
    assert car.asked == []
    assert laps.document().laps == (TimedLap(1, 8.0),)
    car.cross(NOW_NS + 17_500 * MS)

    until(lambda: laps.document().note)
    assert car.kinds == [RequestKind.DISARM]
    assert laps.document().note == "2 laps are done, so the car has stopped."
    assert laps.document().best == TimedLap(2, 7.5)


def test_laps_of_a_real_car_are_marked_by_hand_while_it_drives():
    car, now_ns = Car(), [NOW_NS]
    laps = Laps(car, None, lambda: now_ns[0])
    laps.begin(None, None)
    with pytest.raises(Conflict, match="does not drive"):
        laps.mark(car)
    car.state = DriveState.MANUAL
    laps.mark(car)
    now_ns[0] += 500 * MS
    with pytest.raises(Conflict, match="less than 1 s"):
        laps.mark(car)
    now_ns[0] += 7_500 * MS
    laps.mark(car)
    now_ns[0] += 2_000 * MS

    document = laps.document()
    assert document.laps == (TimedLap(1, 8.0),)
    assert document.lap_time_s == 2.0
    assert document.by_hand


class Marker:
    """A timekeeper that a test moves."""

    def __init__(self) -> None:
        self.says: MarkerLaps | None = None

    def laps(self) -> MarkerLaps | None:
        return self.says

    def say(self, began_ns: int, *times_s: float, passes: int = 1, **other) -> None:
        laps = tuple(TimedLap(lap, time_s) for lap, time_s in enumerate(times_s, 1))
        counts = {"doubles": 0, "untimed": 0, "in_sight_m": None, "pictures": 9, "skipped": 0} | other
        known = {"now_ns": began_ns, "began_ns": began_ns, "is_driving": True, "laps": laps}
        self.says = MarkerLaps(
            **(known | {"lap_count": len(laps), "lap_started_ns": NOW_NS, "passes": passes} | counts)
        )


def test_laps_of_a_real_car_come_from_its_start_marker():
    car, marker, now_ns = Car(), Marker(), [NOW_NS]
    laps = Laps(car, None, lambda: now_ns[0], marker)
    marker.say(NOW_NS - 1, 9.0)  # of the drive before
    laps.begin(None, None)
    assert laps.document().laps == ()
    car.state = DriveState.AUTONOMOUS

    marker.say(NOW_NS + 5 * MS, 8.5, 8.25, passes=3)
    now_ns[0] += 3_000 * MS
    document = laps.document()
    assert (document.source, document.by_hand) == (LapSource.MARKER, False)
    assert [lap.time_s for lap in document.laps] == [8.5, 8.25]
    assert document.best == TimedLap(2, 8.25)
    assert document.lap_time_s == 3.0
    with pytest.raises(Conflict, match="start marker"):
        laps.mark(car)


def test_a_person_marks_laps_until_the_start_marker_was_passed_once():
    car, marker = Car(), Marker()
    laps = Laps(car, None, lambda: NOW_NS, marker)
    laps.begin(None, None)
    car.state = DriveState.AUTONOMOUS
    marker.say(NOW_NS, passes=0)
    laps.mark(car)

    assert laps.document().source is LapSource.HAND
    marker.says = None  # nobody keeps time
    assert laps.document().source is LapSource.HAND


def test_what_is_doubtful_of_marker_laps_is_said_in_words():
    car, marker = Car(), Marker()
    laps = Laps(car, None, lambda: NOW_NS, marker)
    missed, rough = TimedLap(2, 18.0, 0.004, missed=1), TimedLap(3, 9.0, 0.05)
    marker.say(NOW_NS, passes=4, doubles=2, untimed=1, laps=(missed, rough), lap_count=2)

    remarks = laps.document().remarks
    assert "Lap 2 took about 2 times as long as usual" in remarks[0]
    assert "Lap 3 is only good to 0.10 s" in remarks[1]
    assert "2 passes of the marker came too soon" in remarks[2]
    assert "Once the marker was seen" in remarks[3]


def test_the_cap_that_was_chosen_for_a_policy_is_remembered_over_a_restart(tmp_path: Path):
    path, car = tmp_path / "store" / "speed-caps.json", Car()
    assert SpeedCaps(path).of("3f9a") is None
    commands_of(car, SpeedCaps(path)).obey(SpeedCap(echo_ns=NOW_NS, speed_cap_frac=0.6), "page 1")

    assert SpeedCaps(path).of("3f9a") == 0.6
    assert SpeedCaps(path).of("another") is None
    assert [kind for kind in car.kinds if kind is RequestKind.SET_SPEED_CAP] == [RequestKind.SET_SPEED_CAP]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"3f9a": "fast"}', b'{"3f9a": 7.0}', b"\xff"])
def test_a_broken_memory_of_caps_is_none(tmp_path: Path, content):
    path = tmp_path / "speed-caps.json"
    path.write_bytes(content)

    caps = SpeedCaps(path)
    assert caps.of("3f9a") is None
    caps.remember("3f9a", 0.5)
    assert SpeedCaps(path).of("3f9a") == 0.5


def test_places_are_few_of_one_address_and_in_all():
    places = Places()
    for _ in range(SOCKETS_OF_ONE_COMPUTER):
        places.take("a")
    with pytest.raises(ServiceUnavailable, match="24 connections of a are open"):
        places.take("a")
    for _ in range(SOCKET_LIMIT - SOCKETS_OF_ONE_COMPUTER):
        places.take("b")
    with pytest.raises(ServiceUnavailable, match="40 connections are open already"):
        places.take("c")

    places.give_back("a")
    places.take("c")


def test_the_computer_is_read_at_most_once_a_second(tmp_path: Path):
    proc, sys = tmp_path / "proc", tmp_path / "sys"
    zone = sys / "class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    proc.mkdir()
    (zone / "temp").write_text("51500\n")
    (proc / "stat").write_text("cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 1\n")
    (proc / "meminfo").write_text("MemTotal: 4000 kB\nMemFree: 100 kB\nMemAvailable: 1000 kB\n")
    health = HostHealth(proc, sys, tmp_path)
    first = health.look(10.0)
    assert (first.cpu_frac, first.temperature_c, first.memory_frac) == (None, 51.5, 0.75)
    (proc / "stat").write_text("cpu  175 0 100 825 0 0 0 0 0 0\ncpu0 1\n")

    assert health.look(10.9) == first
    assert health.look(11.0).cpu_frac == 0.75
    (proc / "stat").unlink()
    (proc / "meminfo").unlink()
    (zone / "temp").unlink()
    blind = health.look(12.0)
    assert (blind.cpu_frac, blind.temperature_c, blind.memory_frac) == (None, None, None)


def test_one_computer_is_one_however_many_addresses_it_picks():
    places = Places()
    for last in range(SOCKETS_OF_ONE_COMPUTER):
        places.take(f"fd00::{last:x}")
    with pytest.raises(ServiceUnavailable, match="24 connections of fd00::/64 are open"):
        places.take("fd00::ffff")

    places.give_back("fd00::aaaa")
    places.take("fd00::ffff")


TEXT, PING = b"\x82\x7e", b"\x89\x00"  # as frames of a server begin: a binary message, and a whole ping
FAREWELL = b"\x88\x02\x03\xe8"
PONG = b"\x8a\x08\x88\x02answer"  # what it answers looks like a farewell


def test_reading_never_waits_for_what_is_written():
    near, far = socket.socketpair()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)  # all pings fit in, and not the message
    line = sockets._OneWriter(near)
    message = TEXT + bytes(1_000_000)
    writer = threading.Thread(target=line.send, args=(message,))
    writer.start()
    until(lambda: not line._has_room())

    began_s = time.monotonic()
    for _ in range(3):
        line.send(PING)  # as the thread does that reads
    assert time.monotonic() - began_s < 1.0

    got = b""
    while len(got) < len(message):
        got += far.recv(1 << 20)
    writer.join()
    line.send(PING)  # with room again the others go along
    while len(got) < len(message) + 4 * len(PING):
        got += far.recv(1 << 20)
    assert got == message + 4 * PING  # none inside the message
    near.close()
    far.close()


@pytest.mark.parametrize("before", [b"", PING, PONG])
def test_nothing_follows_the_farewell_that_the_reader_has_sent_while_the_writer_made_a_message(before):
    near, far = socket.socketpair()
    with near, far:
        line = sockets._OneWriter(near)
        for data in (PONG, TEXT, before + FAREWELL, TEXT):
            line.send(data)
        near.close()
        got = b"".join(iter(lambda: far.recv(1024), b""))
    assert got == PONG + TEXT + before + FAREWELL


def test_a_ping_on_a_connection_that_has_been_closed_meanwhile_is_an_error_of_the_connection():
    near, far = socket.socketpair()
    line = sockets._OneWriter(near)
    near.close()
    with pytest.raises(OSError, match="closed"):  # which every thread of a socket expects
        line.send(PING)
    far.close()


def test_pings_to_one_who_takes_nothing_wait_for_nobody():
    near, far = socket.socketpair()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    near.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while near.send(bytes(4096)):
            pass
    near.setblocking(True)
    line = sockets._OneWriter(near)
    for _ in range(20):
        line.send(PING)
    near.close()
    far.close()


def test_a_ping_comes_in_its_time_though_the_wall_clock_was_stepped(monkeypatch):
    monkeypatch.setattr(sockets, "PING_S", 0.05)
    near, far = socket.socketpair()
    selector = sockets.SteadySelector()
    selector.register(near, selectors.EVENT_READ)

    began_s = time.monotonic()
    assert selector.select(3600.0) == []  # what a thread waits for that reckons by a clock set back an hour
    assert 0.05 <= time.monotonic() - began_s < 5.0
    far.send(b"x")
    assert len(selector.select(3600.0)) == 1
    selector.close()
    near.close()
    far.close()
