"""car.toml, changed by the page: what its owner wrote stays, and a wrong value changes nothing."""

import errno
import os
import stat
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vehicle import config_file
from vehicle.config import Bounds, CarConfig, config_digest, field_bounds, parse_config, read_config
from vehicle.config_file import edit, read_text
from vehicle.errors import ConfigError

WRITTEN = """\
# The blue car. Do not touch the port!
name = "blue"   # painted in March

[board]
port = "/dev/serial/by-id/usb-blue"  # the left socket
driver = "maestro"

[failsafe]
# as measured
frame_overdue_s = 0.1

[camera]
source = 'v4l2:/dev/video0'
crop = [0.1, 0.0, 0.0, 0.0]  # the bonnet
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "car.toml"
    path.write_text(WRITTEN)
    return path


def test_comments_order_and_other_fields_stay(path: Path) -> None:
    config = edit(path, {"failsafe.frame_overdue_s": 0.09, "name": "navy"})

    expected = WRITTEN.replace("frame_overdue_s = 0.1", "frame_overdue_s = 0.09").replace('"blue"', '"navy"')
    assert path.read_text() == expected
    assert (config.name, config.failsafe.frame_overdue_s) == ("navy", 0.09)
    assert read_config(path).board.port == "/dev/serial/by-id/usb-blue"


def test_a_group_that_is_not_there_is_made_and_a_setting_taken_out_is_as_shipped(path: Path) -> None:
    assert edit(path, {"control.rate_hz": 20.0}).control.rate_hz == 20.0
    assert "[control]" in path.read_text()

    config = edit(path, {"control.rate_hz": None, "failsafe.frame_overdue_s": None, "lidar.baud": None})

    assert config.control.rate_hz is None
    assert config.failsafe == CarConfig().failsafe
    assert "as measured" in path.read_text()


def test_a_file_that_is_not_there_is_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "car.toml"
    assert read_text(path).revision == ""

    edit(path, {"name": "fresh"})

    assert read_config(path).name == "fresh"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"failsafe.frame_overdue_s": 0.5}, "allowed 0.02 to 0.2"),
        ({"failsafe.frame_overdue_s": "soon"}, "failsafe.frame_overdue_s"),
        ({"failsafe.nothing": 1.0}, "no setting failsafe.nothing"),
        ({"failsafe": 1.0}, "group of settings"),
        ({"name": ""}, "1 to 40 characters"),
        ({"camera.crop": [0.5, 0.5, 0.0, 0.0]}, "crop"),
        ({"control.rate_hz": float("nan")}, "control.rate_hz"),
        ({"board.driver": "pigeon"}, "board or maestro"),
    ],
)
def test_what_is_not_allowed_changes_nothing(path: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        edit(path, changes)  # type: ignore[arg-type]

    assert path.read_text() == WRITTEN
    assert [each.name for each in path.parent.iterdir()] == ["car.toml"]


def test_a_damaged_file_is_left_to_its_owner(path: Path) -> None:
    path.write_text("name = \n")

    with pytest.raises(ConfigError, match="not valid TOML"):
        edit(path, {"name": "navy"})

    assert path.read_text() == "name = \n"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_disk_that_refuses_leaves_the_old_file(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(config_file.os, "fsync", refuse)

    with pytest.raises(ConfigError, match="cannot be written"):
        edit(path, {"name": "navy"})

    assert path.read_text() == WRITTEN
    assert [each.name for each in path.parent.iterdir()] == ["car.toml"]


def test_a_link_stays_one_and_the_file_keeps_its_mode(path: Path) -> None:
    path.chmod(0o600)
    link = path.with_name("link.toml")
    link.symlink_to(path)

    edit(link, {"name": "navy"})

    assert link.is_symlink()
    assert read_config(path).name == "navy"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "text",
    [
        'failsafe.frame_overdue_s = 0.1\nname = "x"\n',
        "failsafe = { frame_overdue_s = 0.1, host_stall_s = 0.06 }\n",
        "[failsafe]\r\nframe_overdue_s = 0.1 # Windows\r\n",
        "[ failsafe ]\nframe_overdue_s=1e-1\n[page]\nnames=['a',\n'b']\n",
    ],
)
def test_other_ways_to_write_toml_are_understood(tmp_path: Path, text: str) -> None:
    path = tmp_path / "car.toml"
    path.write_bytes(text.encode())
    before = read_config(path)

    after = edit(path, {"failsafe.frame_overdue_s": 0.12})

    assert after.failsafe == msgspec.structs.replace(before.failsafe, frame_overdue_s=0.12)
    assert msgspec.structs.replace(after, failsafe=before.failsafe) == before
    assert ("Windows" in text) == (b"\r\n" in path.read_bytes())


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.text(max_size=40))
def test_a_name_comes_back_as_it_was_given_or_is_refused(tmp_path: Path, value: str) -> None:
    path = tmp_path / "car.toml"
    path.write_text(WRITTEN)
    try:
        edit(path, {"name": value})
    except ConfigError:
        assert path.read_text() == WRITTEN
    else:
        assert read_config(path).name == value


def test_bounds_are_those_that_the_file_is_checked_by() -> None:
    assert field_bounds("failsafe.frame_overdue_s") == Bounds(
        "number", CarConfig().failsafe.frame_overdue_s, lowest=0.020, highest=0.200
    )
    assert field_bounds("control.rate_hz") == Bounds("number", None, optional=True, lowest=5.0, highest=120.0)
    assert field_bounds("camera.power_line_hz").choices == (0, 50, 60)
    assert field_bounds("board.driver").choices == ("board", "maestro")
    assert field_bounds("camera.rotate_180").kind == "switch"
    assert (field_bounds("name").kind, field_bounds("name").longest) == ("text", 40)
    assert field_bounds("page.names").kind == field_bounds("camera.crop").kind == "list"


def test_the_digest_tells_other_settings_and_not_another_policy() -> None:
    def digest(text: str) -> str:
        return config_digest(parse_config(text, Path("car.toml")))

    assert digest('policy = "a"') == digest('policy = "b"') == digest("# nothing")
    locked = "[camera]\nexposure_ms = 8.0\ngain = 3\nwhite_balance_k = 4500\n"
    assert digest(locked) == digest("")  # takes effect at once
    assert digest(f"{locked}width_px = 320") != digest("")
    assert digest("") != digest("[control]\nrate_hz = 20.0")
