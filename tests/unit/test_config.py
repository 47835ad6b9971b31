"""`car.toml`: every bounded field on both sides of both bounds, and everything a file can be wrong in."""

import math
from pathlib import Path

import msgspec
import pytest

from vehicle.config import CarConfig, read_config
from vehicle.errors import ConfigError

BOUNDS = [
    ("control.rate_hz", 5.0, 120.0),
    ("control.speed_cap_frac", 0.0, 1.0),
    ("control.throttle_growth_per_s", 0.5, 50.0),
    ("control.inference_threads", 1, 4),
    ("camera.width_px", 80, 1920),
    ("camera.height_px", 60, 1080),
    ("camera.rate_hz", 5.0, 120.0),
    ("camera.exposure_ms", 0.1, 100.0),
    ("camera.gain", 0, 1023),
    ("camera.white_balance_k", 2000, 10000),
    ("camera.mask_above", 0.0, 0.9),
    ("camera.field_deg", 30.0, 150.0),
    ("camera.pitch_deg", -45.0, 60.0),
    ("lidar.rate_hz", 5.0, 40.0),
    ("lidar.zero_points_deg", -180.0, 180.0),
    ("board.steering_channel", 0, 23),
    ("board.throttle_channel", 0, 23),
    ("runs.quota_gb", 0.1, 10000.0),
    ("failsafe.frame_overdue_s", 0.020, 0.200),
    ("failsafe.acknowledged_age_s", 0.040, 0.150),
    ("failsafe.host_stall_s", 0.050, 0.150),
    ("failsafe.lease_hands_on_s", 0.150, 0.500),
    ("failsafe.lease_autonomous_s", 0.5, 3.0),
    ("failsafe.battery_critical_v", 0.0, 30.0),
]
FLOATS = [bounds for bounds in BOUNDS if isinstance(bounds[1], float)]


def read(folder: Path, text: str | bytes) -> CarConfig:
    path = folder / "car.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_config(path)


NAMES = "a list, each 1 to 253 characters in quotes"


def problem(folder: Path, text: str | bytes) -> str:
    """Return what the owner is told, without the path in front."""
    with pytest.raises(ConfigError) as error:
        read(folder, text)
    message = str(error.value)
    assert message.startswith(str(folder / "car.toml"))
    return message.removeprefix(str(folder / "car.toml")).lstrip(":, ")


def setting(field: str, value: object) -> str:
    section, name = field.split(".")
    return f"[{section}]\n{name} = {value}\n"


def value_of(config: CarConfig, field: str) -> object:
    section, name = field.split(".")
    return getattr(getattr(config, section), name)


def all_bounded_fields() -> set[str]:
    found = set()
    for section in msgspec.structs.fields(CarConfig):
        if not (isinstance(section.type, type) and issubclass(section.type, msgspec.Struct)):
            continue
        for member in msgspec.inspect.type_info(section.type).fields:
            kinds = getattr(member.type, "types", (member.type,))
            if any(getattr(kind, "ge", None) is not None for kind in kinds):
                found.add(f"{section.name}.{member.name}")
    return found


def test_every_bounded_field_is_in_the_table_of_this_test():
    assert {field for field, _, _ in BOUNDS} == all_bounded_fields()


def test_every_number_is_bounded():
    for section in msgspec.structs.fields(CarConfig):
        if isinstance(section.type, type) and issubclass(section.type, msgspec.Struct):
            for member in msgspec.inspect.type_info(section.type).fields:
                for kind in getattr(member.type, "types", (member.type,)):
                    if isinstance(kind, msgspec.inspect.FloatType | msgspec.inspect.IntType):
                        assert kind.ge is not None
                        assert kind.le is not None


def test_an_empty_file_is_the_defaults(tmp_path):
    assert read(tmp_path, "") == CarConfig()


@pytest.mark.parametrize(("field", "low", "high"), BOUNDS)
def test_both_bounds_are_allowed(tmp_path, field, low, high):
    for value in (low, high):
        assert value_of(read(tmp_path, setting(field, value)), field) == value


@pytest.mark.parametrize(("field", "low", "high"), BOUNDS)
def test_just_beyond_either_bound_is_refused_in_a_sentence_that_names_them(tmp_path, field, low, high):
    step = 1 if isinstance(low, int) else 1e-6
    for value in (low - step, high + step, -1e9, 10**9):
        told = problem(tmp_path, setting(field, value))
        assert told == f"line 2: {field} is {value}, allowed {low:g} to {high:g}; correct it and start again"


@pytest.mark.parametrize(("field", "low", "high"), FLOATS)
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "+nan"])
def test_what_is_no_number_is_refused(tmp_path, field, low, high, value):
    told = problem(tmp_path, setting(field, value))

    assert told == f"line 2: {field} is {value}, allowed {low:g} to {high:g}; correct it and start again"


@pytest.mark.parametrize(("field", "low", "high"), BOUNDS)
@pytest.mark.parametrize("value", ['"fast"', "true", "[1]", "2026-01-01", "{}"])
def test_a_value_of_another_type_is_refused(tmp_path, field, low, high, value):
    told = problem(tmp_path, setting(field, value))

    assert told.startswith(f"line 2: {field} is {value}, allowed {low:g} to {high:g}")


def test_a_whole_number_will_do_for_a_float_but_no_float_for_a_whole_number(tmp_path):
    assert read(tmp_path, setting("control.rate_hz", 30)).control.rate_hz == 30.0
    assert "allowed 1 to 4" in problem(tmp_path, setting("control.inference_threads", 2.5))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[camera]\npower_line_hz = 55", "line 2: camera.power_line_hz is 55, allowed 0 or 50 or 60"),
        ("[camera]\ndecode_scale = 3", "line 2: camera.decode_scale is 3, allowed 1 or 2 or 4 or 8 or auto"),
        ("[board]\ndriver = 'pwm'", "line 2: board.driver is 'pwm', allowed board or maestro"),
        ("[board]\nport = 3", "line 2: board.port is 3, allowed a text in quotes"),
        ("name = ''", "line 1: name is '', allowed 1 to 40 characters in quotes"),
        (f"name = '{'a' * 41}'", f"line 1: name is '{'a' * 41}', allowed 1 to 40 characters in quotes"),
        ("[page]\nhttp = 1", "line 2: page.http is 1, allowed true or false"),
        ("[page]\nwebhook = 1", "line 2: page.webhook is 1, allowed 0 to 2000 characters in quotes"),
        ("[page]\nnames = 'blue'", f"line 2: page.names is 'blue', allowed {NAMES}"),
        ("[page]\nnames = ['blue', 3]", f"line 2: page.names is ['blue', 3], allowed {NAMES}"),
        ("[page]\nnames = [\n  'blue',\n  ''\n]", f"line 2: page.names is wrong, allowed {NAMES}"),
        ("[camera]\ncrop = 0.1", "line 2: camera.crop is 0.1, allowed a list of 4, each 0 to 0.9"),
        ("control = 3", "line 1: control is 3, allowed a section [control]"),
        ("[[control]]", "control is wrong, allowed a section [control]"),
    ],
)
def test_a_wrong_value_is_told_with_what_is_allowed(tmp_path, text, told):
    assert problem(tmp_path, text) == f"{told}; correct it and start again"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("wheels = 4", "line 1: there is no setting wheels"),
        ("[control]\n\nrate = 30", "line 3: there is no setting control.rate"),
        ("[control]\nrate-hz = 30", "line 2: there is no setting control.rate-hz"),
        ("[engine]\npower = 3", "there is no setting engine"),
        ("[control.rate_hz]\nmin = 3", "control.rate_hz is wrong, allowed 5 to 120"),
    ],
)
def test_an_unknown_setting_is_named(tmp_path, text, told):
    assert problem(tmp_path, text).startswith(told)


def test_the_line_is_that_of_the_section_meant(tmp_path):
    text = "[camera]\nrate_hz = 30  # fine\n\n# of the policy\n[ control ]\n  rate_hz   =   3 # too slow\n"

    told = problem(tmp_path, text)

    assert told == "line 6: control.rate_hz is 3, allowed 5 to 120; correct it and start again"


def test_a_dotted_key_is_found_too(tmp_path):
    assert problem(tmp_path, "name = 'x'\ncontrol.rate_hz = 3").startswith("line 2: control.rate_hz is 3, ")


def test_a_setting_that_cannot_be_found_in_the_text_is_still_named(tmp_path):
    told = problem(tmp_path, "control = {rate_hz = 3}")

    assert told == "control.rate_hz is wrong, allowed 5 to 120; correct it and start again"


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_line_ends_and_a_byte_order_mark_do_not_matter(tmp_path, line_end, mark):
    good = f"name = 'blue'{line_end}[control]{line_end}rate_hz = 20.0{line_end}"
    bad = good.replace("20.0", "2.0")

    assert read(tmp_path, mark + good.encode()).control.rate_hz == 20.0
    assert problem(tmp_path, mark + bad.encode()).startswith(
        "line 3: control.rate_hz is 2.0, allowed 5 to 120"
    )


@pytest.mark.parametrize(
    "text", ["nonsense", "[control", "name = ", "name = 'a'\nname = 'b'", "control.rate_hz = 1\n[control]\n"]
)
def test_what_is_not_toml_is_told(tmp_path, text):
    assert problem(tmp_path, text).startswith("is not valid TOML: ")


def test_what_is_not_utf_8_is_told_with_the_place(tmp_path):
    assert problem(tmp_path, b"name = 'bl\xfcu'") == "is not UTF-8 text (byte 10); save it as UTF-8"


def test_a_missing_file_is_told_with_the_remedy(tmp_path):
    missing = tmp_path / "gone.toml"

    with pytest.raises(ConfigError) as error:
        read_config(missing)
    assert str(error.value) == (
        f"{missing} cannot be read (No such file or directory); name another with --config"
    )


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(tmp_path)


def test_the_calibration_is_looked_for_beside_the_file(tmp_path):
    assert read(tmp_path, "calibration = 'cars/blue.json'").calibration == str(tmp_path / "cars/blue.json")
    assert read(tmp_path, "calibration = '/etc/blue.json'").calibration == "/etc/blue.json"
    assert read(tmp_path, "").calibration == ""


def test_a_relative_path_to_the_file_gives_absolute_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("car.toml").write_text("calibration = 'blue.json'")

    assert read_config(Path("car.toml")).calibration == str(tmp_path / "blue.json")


def test_a_policy_is_a_path_where_there_is_one_and_else_a_name(tmp_path):
    (tmp_path / "mine").mkdir()

    assert read(tmp_path, "policy = 'mine'").policy == str(tmp_path / "mine")
    assert read(tmp_path, "policy = 'theirs'").policy == "theirs"


def test_a_name_that_no_file_can_have_is_left_to_whoever_loads_the_policy(tmp_path):
    assert read(tmp_path, f"policy = '{'a' * 300}'").policy == "a" * 300


def test_the_limits_reach_those_who_judge_by_them(tmp_path):
    text = """
    [failsafe]
    frame_overdue_s = 0.05
    acknowledged_age_s = 0.06
    host_stall_s = 0.07
    lease_hands_on_s = 0.2
    lease_autonomous_s = 0.9
    battery_critical_v = 6.6
    """

    failsafe = read(tmp_path, text).failsafe

    limits = failsafe.monitor_limits()
    assert (limits.frame_overdue_s, limits.ack_limit_s, limits.stall_limit_s) == (0.05, 0.06, 0.07)
    assert limits.battery_critical_v == 6.6
    lease = failsafe.lease_limits()
    assert (lease.hands_on_s, lease.autonomous_s) == (0.2, 0.9)


def test_the_defaults_are_those_of_the_monitors_and_the_lease():
    failsafe = CarConfig().failsafe

    assert failsafe.monitor_limits() == type(failsafe.monitor_limits())()
    assert failsafe.lease_limits() == type(failsafe.lease_limits())()
    assert not any(math.isnan(value) for value in msgspec.structs.astuple(failsafe))


def test_a_car_has_one_camera_and_no_lidar_until_they_are_named(tmp_path):
    config = read(tmp_path, "")
    assert (config.right_camera.source, config.lidar.source) == ("", "")

    config = read(
        tmp_path, '[right_camera]\nsource = "v4l2:/dev/video2"\n[lidar]\nsource = "rplidar:/dev/x"\n'
    )
    assert (config.right_camera.source, config.lidar.source) == ("v4l2:/dev/video2", "rplidar:/dev/x")


def test_what_a_policy_does_not_see_of_the_picture_reaches_it(tmp_path):
    config = read(tmp_path, "[camera]\nrotate_180 = true\ncrop = [0.1, 0.0, 0.2, 0.05]\nmask_above = 0.25\n")

    options = config.camera.options()
    assert (options.rotate_180, options.crop, options.mask_above) == (True, (0.1, 0.0, 0.2, 0.05), 0.25)


@pytest.mark.parametrize(
    ("crop", "told"),
    [
        ("[0.1, 0.0, 0.2, 0.95]", "camera.crop is [0.1, 0.0, 0.2, 0.95], allowed a list of 4, each 0 to 0.9"),
        ("[0.5, 0.6, 0.0, 0.0]", "top and bottom"),
        ("[0.1]", "camera.crop is [0.1]"),
        ("0.1", "camera.crop is 0.1"),
    ],
)
def test_a_crop_that_leaves_too_little_is_refused_in_words(tmp_path, crop, told):
    message = problem(tmp_path, f"[camera]\ncrop = {crop}\n")
    assert told in message
    assert "line 2" in message


@pytest.mark.parametrize("baud", [0, 9600, '"fast"'])
def test_a_lidar_has_one_of_two_rates_on_its_line(tmp_path, baud):
    assert "115200 or 256000" in problem(tmp_path, f"[lidar]\nbaud = {baud}\n")
