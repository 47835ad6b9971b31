"""One car's numbers on disk: whole or not at all, never forgotten."""

import datetime
import json
import os
import threading

import msgspec
import pytest

from calibration import store
from calibration.car import AWS_DEFAULTS, HIL_STANDARD
from calibration.errors import CalibrationError

AWS_FILE = {
    "Calibration": {
        "Servo": {"max": 1700000, "mid": 1450000, "min": 1200000, "polarity": 1},
        "Motor": {"max": 1603500, "mid": 1446000, "min": 1311000, "polarity": -1},
        "version": 1,
    }
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cars" / "blue.json"


def with_center(center_us):
    return msgspec.structs.replace(
        AWS_DEFAULTS, steering=msgspec.structs.replace(AWS_DEFAULTS.steering, center_us=center_us)
    )


@pytest.mark.parametrize("cal", [AWS_DEFAULTS, HIL_STANDARD], ids=lambda cal: cal.name)
def test_what_is_saved_is_what_is_loaded(path, cal):
    saved = store.save(path, cal, saved_by="Anna", saved_at="2026-05-01T12:00:00+00:00")
    assert store.load(path) == saved
    who = {"saved_by": "Anna", "saved_at": "2026-05-01T12:00:00+00:00"}
    assert saved == msgspec.structs.replace(cal, version=1, **who)


def test_the_history_says_who_saved_and_when(path):
    before = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    store.save(path, AWS_DEFAULTS, saved_by="Anna")
    store.save(path, AWS_DEFAULTS, saved_by="Ben")
    assert [cal.saved_by for cal in store.history(path)] == ["Ben", "Anna"]
    for cal in store.history(path):
        assert before <= datetime.datetime.fromisoformat(cal.saved_at) <= datetime.datetime.now(datetime.UTC)


def test_a_file_from_before_savers_were_named_is_read(path):
    store.save(path, AWS_DEFAULTS)
    document = json.loads(path.read_bytes())
    del document["saved_by"], document["saved_at"]
    path.write_text(json.dumps(document))
    assert store.load(path).saved_by == ""


def test_every_save_is_a_version_that_stays_in_the_history(path):
    for center_us in (1440.0, 1450.0, 1460.0):
        store.save(path, with_center(center_us))
    assert [cal.version for cal in store.history(path)] == [3, 2, 1]
    assert [cal.steering.center_us for cal in store.history(path)] == [1460.0, 1450.0, 1440.0]


def test_undo_goes_back_one_version_at_a_time(path):
    for center_us in (1440.0, 1450.0, 1460.0):
        store.save(path, with_center(center_us))
    assert store.undo(path).steering.center_us == 1450.0
    assert store.load(path).steering.center_us == 1450.0
    assert store.undo(path).steering.center_us == 1440.0
    with pytest.raises(CalibrationError, match="no version before 1, so there is nothing to undo"):
        store.undo(path)


def test_a_save_after_an_undo_is_undone_to_what_was_in_force_and_takes_a_new_number(path):
    store.save(path, with_center(1440.0))
    store.save(path, with_center(1450.0))
    store.undo(path)
    assert store.save(path, with_center(1470.0)).version == 3
    assert store.undo(path).steering.center_us == 1440.0


def test_the_history_is_bounded_and_keeps_the_newest(path, monkeypatch):
    monkeypatch.setattr(store, "HISTORY_LENGTH", 3)
    for center_us in (1440.0, 1450.0, 1460.0, 1470.0, 1480.0):
        store.save(path, with_center(center_us))
    assert [cal.version for cal in store.history(path)] == [5, 4, 3]


def test_a_broken_file_can_be_saved_over_and_a_broken_history_entry_is_left_out(path):
    store.save(path, with_center(1440.0))
    store.save(path, with_center(1450.0))
    path.write_text("{")
    (path.parent / "blue.json.history" / "0001.json").write_text("{")
    assert store.save(path, with_center(1460.0)).version == 3
    assert [cal.version for cal in store.history(path)] == [3, 2]


def test_a_full_disk_keeps_the_old_calibration_and_says_so(path, monkeypatch):
    store.save(path, with_center(1440.0))

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CalibrationError, match=r"could not be saved \(No space left on device\)"):
        store.save(path, with_center(1460.0))
    assert store.load(path).steering.center_us == 1440.0


def test_two_savers_at_once_get_two_versions(path):
    threads = [threading.Thread(target=store.save, args=(path, AWS_DEFAULTS)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [cal.version for cal in store.history(path)] == list(range(8, 0, -1))


def edited(path, change):
    """Save a good file, then let `change` spoil its document."""
    store.save(path, HIL_STANDARD)
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        (lambda d: d["steering"].update(left_us=2900.0), "steering.left_us is 2900, allowed 800 to 2200"),
        (lambda d: d["steering"].update(left_us="1700"), "$.steering.left_us"),
        (lambda d: d["steering"].update(left_us=float("nan")), "steering.left_us is nan"),
        (lambda d: d["steering"].pop("left_us"), "missing required field `left_us`"),
        (lambda d: d["throttle"].update(polarity=-1), "unknown field `polarity`"),
        (lambda d: d["throttle"]["esc"].update(reverse_mode="maybe"), "'maybe'"),
        (lambda d: d["throttle"].pop("esc"), "missing required field `esc`"),
        (lambda d: d.update(speed_table={"points": [[0, 0], [1, 0]]}), "points[1] is (1.0, 0.0)"),
        (lambda d: d.update(version=-3), "version is -3"),
        (lambda d: d.update(name="a/b"), "name is 'a/b'"),
    ],
)
def test_a_wrong_field_in_the_file_is_named_with_the_file_and_the_remedy(path, change, seen):
    with pytest.raises(CalibrationError) as error:
        store.load(edited(path, change))
    assert seen.lower() in str(error.value).lower()
    assert str(path) in str(error.value)
    assert ";" in str(error.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 60_000, b"1" * 70_000])
def test_a_file_that_is_no_calibration_is_a_sentence(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(CalibrationError, match=r"blue\.json"):
        store.load(path)


def test_a_missing_file_says_to_calibrate(path):
    with pytest.raises(CalibrationError, match="does not exist; calibrate the car"):
        store.load(path)


def aws_file(tmp_path, **changes):
    document = json.loads(json.dumps(AWS_FILE))
    for place, value in changes.items():
        channel, field = place.split("_")
        document["Calibration"][channel][field] = value
    file = tmp_path / "calibration.json"
    file.write_text(json.dumps(document))
    return file


def test_an_aws_cars_file_becomes_named_ends_in_microseconds(tmp_path):
    cal = store.read_aws(aws_file(tmp_path), name="blue")
    assert cal == msgspec.structs.replace(AWS_DEFAULTS, name="blue")


def test_the_polarity_of_an_aws_file_decides_which_end_is_left_and_forward(tmp_path):
    cal = store.read_aws(aws_file(tmp_path, Servo_polarity=-1, Motor_polarity=1))
    assert (cal.steering.left_us, cal.steering.right_us) == (1200.0, 1700.0)
    assert (cal.throttle.forward_us, cal.throttle.reverse_us) == (1603.5, 1311.0)


@pytest.mark.parametrize(
    ("changes", "seen"),
    [
        ({"Servo_polarity": 0}, "Servo.polarity is 0, allowed 1 or -1"),
        ({"Servo_mid": 1800000}, "Servo.mid is 1800000 ns, allowed only between"),
        ({"Motor_min": 0}, "throttle.forward_us is 0, allowed 800 to 2200"),
        ({"Motor_max": "1603500"}, "Motor.max is '1603500', allowed a number"),
        ({"Motor_max": True}, "Motor.max is True, allowed a number"),
        ({"Motor_max": 1446001}, "throttle.neutral_us is 1446, allowed"),
    ],
)
def test_a_wrong_field_of_an_aws_file_is_named(tmp_path, changes, seen):
    with pytest.raises(CalibrationError) as error:
        store.read_aws(aws_file(tmp_path, **changes))
    assert seen in str(error.value)


@pytest.mark.parametrize("document", [{}, [], {"Calibration": {"Servo": {}}}, {"Calibration": None}])
def test_a_file_of_another_kind_is_not_taken_for_an_aws_file(tmp_path, document):
    file = tmp_path / "calibration.json"
    file.write_text(json.dumps(document))
    with pytest.raises(CalibrationError, match="is it an AWS car's"):
        store.read_aws(file)
