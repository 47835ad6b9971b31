"""USB sticks: only what is one, only what is a plain file on it, and nothing left of one pulled out."""

import errno
import os
import time
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from models.store import PolicyStore
from tests.unit.stick_files import FakeComputer
from tests.unit.test_webui import ORIGIN, RecordingVehicle
from tests.unit.upload_files import good
from tests.unit.webui_visitors import signed_in, watcher
from vehicle.messages import DriveState
from webui import create_app, sticks
from webui.sticks import StickError, Sticks

POINT = "/media/car/BLUE STICK"


@pytest.fixture
def computer(tmp_path: Path) -> FakeComputer:
    return FakeComputer(tmp_path / "root")


@pytest.fixture
def stick(computer: FakeComputer) -> Path:
    """Files of a mounted stick."""
    return computer.mount(computer.plug_stick(), POINT)


@pytest.fixture
def vehicle() -> RecordingVehicle:
    return RecordingVehicle()


@pytest.fixture
def store(tmp_path: Path) -> PolicyStore:
    return PolicyStore(tmp_path / "models")


@pytest.fixture
def client(vehicle: RecordingVehicle, store: PolicyStore, computer: FakeComputer) -> FlaskClient:
    return signed_in(create_app(vehicle, store=store, sticks=Sticks(computer.root)))


def paths(computer: FakeComputer) -> list[str]:
    return [archive.path for stick in Sticks(computer.root).look().sticks for archive in stick.archives]


def add(client: FlaskClient, path: str, stick_id: str | None = None) -> Any:
    stick_id = stick_id or client.get("/api/sticks").json["sight"]["sticks"][0]["id"]
    body = {"stick": stick_id, "path": path}
    return client.post("/api/sticks/add", json=body, headers={"Origin": ORIGIN})


def outcome(client: FlaskClient, upload: str) -> dict[str, Any]:
    deadline_s = time.monotonic() + 60
    while True:
        state: dict[str, Any] = client.get(f"/api/uploads/{upload}?wait=5").json
        if state["state"] not in {"uploading", "checking"}:
            return state
        assert time.monotonic() < deadline_s


def left_over(store: PolicyStore) -> list[Path]:
    """Return what is left of uploads, once the thread that has told the outcome has cleared its place."""
    deadline_s = time.monotonic() + 5
    while (left := list((store.root / "incoming").iterdir())) and time.monotonic() < deadline_s:
        time.sleep(0.01)
    return left


def test_a_mounted_stick_is_told_with_the_archives_on_it(computer: FakeComputer, stick: Path) -> None:
    for name in ("swift.tar.gz", "models/Deep.ZIP", "a/b/c/far.onnx", "a/b/c/d/too-far.onnx", "notes.txt"):
        (stick / name).parent.mkdir(parents=True, exist_ok=True)
        (stick / name).write_bytes(b"x" * 10)
    (stick / ".hidden.zip").write_bytes(b"x")

    (told,) = Sticks(computer.root).look().sticks

    assert (told.name, told.is_read_only, told.problem, told.has_more) == ("BLUE STICK", False, "", False)
    assert [archive.path for archive in told.archives] == [
        "swift.tar.gz",
        "models/Deep.ZIP",
        "a/b/c/far.onnx",
    ]
    assert told.archives[0].size_bytes == 10


@pytest.mark.parametrize(
    ("point", "removable", "bus", "is_stick"),
    [
        ("/media/car/STICK", True, "usb1/1-1", True),
        ("/run/media/car/STICK", True, "usb1/1-1", True),
        ("/mnt/elsewhere", True, "pci0", True),
        ("/mnt/usb-disk", False, "usb2/2-1", True),
        ("/mnt/second-disk", False, "pci0/ata2", False),
        ("/boot/efi", True, "usb1/1-1", False),
        ("/home", True, "usb1/1-1", False),
    ],
)
def test_only_what_is_plugged_in_for_a_while_is_a_stick(
    computer: FakeComputer, point: str, removable: bool, bus: str, is_stick: bool
) -> None:
    computer.plug("sdb", "8:16", "8:17", removable=removable, bus=bus, size=1000)
    computer.mount("8:17", point, source="/dev/sdb1" if "media" in point else "/dev/mapper/x")

    assert bool(Sticks(computer.root).look().sticks) == is_stick


def test_a_computer_that_started_from_a_stick_does_not_offer_its_own_disk(computer: FakeComputer) -> None:
    (computer.root / "sys/block/sda/removable").write_text("1\n")
    computer.mount("8:2", "/media/car/again", source="/dev/sda2")

    sight = Sticks(computer.root).look()

    assert (sight.sticks, sight.unmounted) == ((), ())


def test_a_stick_that_nothing_has_mounted_is_named_and_an_empty_reader_is_not(computer: FakeComputer) -> None:
    part = computer.plug_stick()
    computer.plug_stick("sdc", 32, size=0)
    assert Sticks(computer.root).look().unmounted == ("Flash",)

    computer.mount(part, POINT, options="ro,nosuid")
    sight = Sticks(computer.root).look()
    assert (sight.unmounted, [one.is_read_only for one in sight.sticks]) == ((), [True])


def test_what_is_no_plain_file_of_the_stick_is_neither_shown_nor_opened(
    computer: FakeComputer, stick: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.zip"
    secret.write_bytes(b"of the car")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "inner.zip").write_bytes(b"of the car")
    (stick / "link.zip").symlink_to(secret)
    (stick / "folder").symlink_to(tmp_path / "outside")
    (stick / "good").mkdir()
    (stick / "good" / "link.zip").symlink_to("../good/inner.zip")
    (stick / "folder.zip").mkdir()
    os.mkfifo(stick / "pipe.zip")

    assert paths(computer) == []
    there = Sticks(computer.root)
    (one,) = there.look().sticks
    for path in (
        "link.zip",
        "folder/inner.zip",
        "good/link.zip",
        "folder.zip",
        "pipe.zip",  # opening it must not wait for a writer
        "../../secret.zip",
        "good/../link.zip",
        "/etc/passwd.zip",
        "good//link.zip",
        "x\0.zip",
        "notes.txt",
        "a/b/c/d/e.zip",
    ):
        with pytest.raises(StickError):
            there.open(one.id, path)


def test_another_file_system_below_the_stick_is_not_entered(
    computer: FakeComputer, stick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (stick / "inner").mkdir()
    (stick / "inner" / "other.zip").write_bytes(b"x")
    (stick / "own.zip").write_bytes(b"x")
    real, number = os.fstat, (stick / "inner").stat().st_ino

    class Elsewhere:
        def __init__(self, status: os.stat_result) -> None:
            self.st_mode, self.st_size, self.st_dev = status.st_mode, status.st_size, -1

    def fstat(descriptor: int) -> Any:
        status = real(descriptor)
        return Elsewhere(status) if status.st_ino == number else status

    monkeypatch.setattr(sticks.os, "fstat", fstat)

    assert paths(computer) == ["own.zip"]


def test_a_stick_full_of_files_is_looked_at_as_far_as_is_sensible(
    computer: FakeComputer, stick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(30):
        (stick / f"{number}.zip").touch()
    monkeypatch.setattr(sticks, "ENTRIES_LIMIT", 20)
    assert (len(paths(computer)), Sticks(computer.root).look().sticks[0].has_more) == (19, True)
    monkeypatch.setattr(sticks, "ENTRIES_LIMIT", 100)
    monkeypatch.setattr(sticks, "ARCHIVES_LIMIT", 10)
    assert (len(paths(computer)), Sticks(computer.root).look().sticks[0].has_more) == (10, True)


def test_a_stick_that_cannot_be_read_and_a_strange_mountinfo_are_borne(
    computer: FakeComputer, stick: Path
) -> None:
    stick.rmdir()
    (told,) = Sticks(computer.root).look().sticks
    assert told.problem == "It cannot be read (No such file or directory)."
    there = computer.root / "proc/self/mountinfo"
    there.write_bytes(b"garbage\n\xff\xfe - \n1 2 3\n" + there.read_bytes())
    assert len(Sticks(computer.root).look().sticks) == 1
    there.unlink()
    assert Sticks(computer.root).look().sticks == ()


def test_an_archive_of_a_stick_is_checked_and_added_as_an_upload_is(
    client: FlaskClient, store: PolicyStore, stick: Path
) -> None:
    (stick / "models").mkdir()
    content = good()
    (stick / "models" / "swift.tar.gz").write_bytes(content)
    (stick / "broken.zip").write_bytes(b"no archive")
    before = {path: path.stat().st_mtime_ns for path in stick.rglob("*")}

    begun = add(client, "models/swift.tar.gz")
    assert (begun.status_code, begun.json["file_name"]) == (202, "swift.tar.gz")
    done = outcome(client, begun.json["id"])
    assert (done["state"], done["model"]["name"], done["size_bytes"]) == ("done", "swift", len(content))
    refused = outcome(client, add(client, "broken.zip").json["id"])
    assert (refused["state"], bool(refused["error"])) == ("refused", True)

    assert left_over(store) == []
    assert {path: path.stat().st_mtime_ns for path in stick.rglob("*")} == before
    assert not [link for link in Path("/proc/self/fd").iterdir() if "BLUE STICK" in os.path.realpath(link)]


def cut_off(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    real, given = os.read, [0]

    def read(descriptor: int, length: int) -> bytes:
        if os.path.realpath(f"/proc/self/fd/{descriptor}") != str(file):
            return real(descriptor, length)
        given[0] += 1
        if given[0] > 2:
            raise OSError(errno.EIO, "Input/output error")
        return real(descriptor, length)

    monkeypatch.setattr(sticks.os, "read", read)


def shortened(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    opened = sticks.StickFile

    def longer(descriptor: int, name: str, size_bytes: int) -> sticks.StickFile:
        return opened(descriptor, name, size_bytes + 5)

    monkeypatch.setattr(sticks, "StickFile", longer)


@pytest.mark.parametrize("spoil", [cut_off, shortened])
def test_of_a_stick_pulled_out_in_the_middle_a_sentence_and_nothing_else_is_left(
    client: FlaskClient, store: PolicyStore, stick: Path, monkeypatch: pytest.MonkeyPatch, spoil: Any
) -> None:
    (stick / "swift.tar.gz").write_bytes(os.urandom(1 << 20))
    spoil(monkeypatch, stick / "swift.tar.gz")

    told = outcome(client, add(client, "swift.tar.gz").json["id"])

    assert told["state"] == "refused"
    assert "plug it in again and leave it in" in told["error"]
    assert left_over(store) == []


def test_a_stick_that_went_before_it_was_asked_for_is_said_to_be_gone(
    client: FlaskClient, computer: FakeComputer, stick: Path
) -> None:
    (stick / "swift.zip").write_bytes(b"x")
    (known,) = client.get("/api/sticks").json["sight"]["sticks"]
    computer.pull(POINT)

    answer = add(client, "swift.zip", known["id"])

    assert (answer.status_code, answer.json["error"]) == (409, "The stick is gone; plug it in again.")
    assert client.get("/api/sticks").json["sight"]["sticks"] == []


@pytest.mark.parametrize("state", DriveState)
def test_sticks_are_read_only_while_the_car_stands(
    client: FlaskClient, vehicle: RecordingVehicle, store: PolicyStore, stick: Path, state: DriveState
) -> None:
    (stick / "swift.zip").write_bytes(b"x")
    known = client.get("/api/sticks").json["sight"]["sticks"][0]["id"]
    vehicle.state = state

    told, answer = client.get("/api/sticks").json, add(client, "swift.zip", known)

    stands = state in {DriveState.DISARMED, DriveState.FAILSAFE}
    assert bool(told["sight"]["sticks"]) == (told["problem"] == "") == stands
    assert (answer.status_code == 202) == stands
    if stands:
        outcome(client, answer.json["id"])


def test_only_those_who_may_drive_see_what_is_plugged_in(
    vehicle: RecordingVehicle, computer: FakeComputer, stick: Path
) -> None:
    app = create_app(vehicle, sticks=Sticks(computer.root))

    assert watcher(app).get("/api/sticks").status_code == 403
    assert add(watcher(app), "swift.zip", "1234").status_code == 403
    assert 'id="sticks-section"' not in watcher(app).get("/models").get_data(as_text=True)
    assert add(signed_in(create_app(vehicle)), "swift.zip", "1234").status_code == 409
