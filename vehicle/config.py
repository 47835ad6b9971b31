"""`car.toml`, read and bounded once, at start, into frozen structs; a function gets the piece it needs."""

import contextlib
import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from calibration.car import file_stem
from models.picture import CROP_SUM_MAX, MASK_MAX, CameraOptions
from models.store import default_store_root
from vehicle.errors import UNREADABLE, ConfigError
from vehicle.limits import (
    ACK_LIMIT_S,
    BATTERY_CRITICAL_V,
    FRAME_OVERDUE_S,
    LEASE_AUTONOMOUS_S,
    LEASE_HANDS_ON_S,
    STALL_LIMIT_S,
    LeaseLimits,
    MonitorLimits,
)
from vehicle.messages import CameraLocks, ExposureMs, GainSteps, WhiteBalanceK

Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Channel = Annotated[int, msgspec.Meta(ge=0, le=23)]  # the largest Maestro has 24
CropShare = Annotated[float, msgspec.Meta(ge=0.0, le=CROP_SUM_MAX)]


class ControlConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often the policy decides."""

    rate_hz: Annotated[float, msgspec.Meta(ge=5.0, le=120.0)] | None = None
    """None: the rate the policy was trained at, else 30."""
    speed_cap_frac: Share = 0.3
    """After every boot; the page changes it while driving."""
    throttle_growth_per_s: Annotated[float, msgspec.Meta(ge=0.5, le=50.0)] = 4.0
    """Share of full throttle added in a second at most; toward neutral nothing is slowed."""
    inference_threads: Annotated[int, msgspec.Meta(ge=1, le=4)] = 1


class CameraConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where pictures come from."""

    source: str = ""
    """`v4l2:/dev/v4l/by-id/...`, `video:FILE`, `images:FOLDER`, `http://...`, `hil:SOCKET`; never guessed."""
    width_px: Annotated[int, msgspec.Meta(ge=80, le=1920)] = 640
    height_px: Annotated[int, msgspec.Meta(ge=60, le=1080)] = 480
    rate_hz: Annotated[float, msgspec.Meta(ge=5.0, le=120.0)] = 30.0
    power_line_hz: Literal[0, 50, 60] = 50
    """Flicker suppression of the camera; 0 switches it off."""
    exposure_ms: ExposureMs | None = None
    """None: the camera chooses, and chooses anew when the light changes."""
    gain: GainSteps | None = None
    """In the camera's own steps; None: as the camera has it."""
    white_balance_k: WhiteBalanceK | None = None
    """Colour of the light, in kelvin; None: the camera chooses."""
    decode_scale: Literal["auto", 1, 2, 4, 8] = "auto"
    """JPEG pictures are decoded at this fraction of their size, which is faster; `auto` goes as far as the
    policy's own picture allows."""
    rotate_180: bool = False
    """The camera hangs upside down."""
    crop: tuple[CropShare, CropShare, CropShare, CropShare] = (0.0, 0.0, 0.0, 0.0)
    """Shares of the upright picture that a policy does not see: top, bottom, left, right."""
    mask_above: Annotated[float, msgspec.Meta(ge=0.0, le=MASK_MAX)] = 0.0
    """Share of what is left, from its top, that is black for a policy: what lies above the horizon."""
    field_deg: Annotated[float, msgspec.Meta(ge=30.0, le=150.0)] = 64.7
    """Across the width of the picture; used for laps by the start marker alone."""
    pitch_deg: Annotated[float, msgspec.Meta(ge=-45.0, le=60.0)] = 15.0
    """How far the camera looks down; used as the field is."""

    def locks(self) -> CameraLocks:
        """Return what the camera is to leave as it is."""
        return CameraLocks(self.exposure_ms, self.gain, self.white_balance_k)

    def options(self) -> CameraOptions:
        """Return what a policy does with the pictures; raises ValueError where the crop leaves too little."""
        return CameraOptions(rotate_180=self.rotate_180, crop=self.crop, mask_above=self.mask_above)


class RightCameraConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The second eye of a stereo pair; all but its source is as in `[camera]`, which is the left eye."""

    source: str = ""
    """As in `[camera]`; empty: this car has one camera."""


class LidarMount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which LIDAR this car has, and how it stands on it."""

    source: str = ""
    """`rplidar:/dev/serial/by-id/...` or `hil:SOCKET`; empty: this car has none."""
    baud: Literal[115200, 256000] = 115200
    """115200 for an RPLIDAR A1."""
    rate_hz: Annotated[float, msgspec.Meta(ge=5.0, le=40.0)] = 7.0
    """Turns a second, until enough of them were seen to measure it; an RPLIDAR A1 makes 5.5 to 10."""
    zero_points_deg: Annotated[float, msgspec.Meta(ge=-180.0, le=180.0)] = 0.0
    """Where the LIDAR's own zero points, in degrees left of straight ahead; an AWS DeepRacer Evo's is 180."""
    upside_down: bool = False


class BoardConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What makes the pulses."""

    driver: Literal["board", "maestro"] = "board"
    port: str = ""
    """`/dev/serial/by-id/...`; never guessed."""
    steering_channel: Channel = 0
    """Of a Maestro; the own board has one output for each."""
    throttle_channel: Channel = 1


class PageConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the car's page is served; without a HIL car it listens on every network that the car is in."""

    http: bool = False
    """Plain HTTP: everybody on the network can read the password, and browsers withhold the wake lock and
    some game controllers."""
    names: tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=253)], ...] = ()
    """Names by which people call this car, beside the computer's own and its `.local` one."""
    webhook: Annotated[str, msgspec.Meta(max_length=2000)] = ""
    """Where laps and starts are sent (docs/race.md); empty: nowhere."""


class RunsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept of the drives that were recorded."""

    quota_gb: Annotated[float, msgspec.Meta(ge=0.1, le=10000.0)] = 4.0
    """All runs together; the oldest without a star are removed. 1 GB of the disk stays free in any case."""

    @property
    def quota_bytes(self) -> int:
        """The same in bytes."""
        return round(self.quota_gb * 1e9)


class FailsafeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When the car stops by itself. Beyond the upper bounds a failsafe would not deserve its name."""

    frame_overdue_s: Annotated[float, msgspec.Meta(ge=0.020, le=0.200)] = FRAME_OVERDUE_S
    acknowledged_age_s: Annotated[float, msgspec.Meta(ge=0.040, le=0.150)] = ACK_LIMIT_S
    host_stall_s: Annotated[float, msgspec.Meta(ge=0.050, le=0.150)] = STALL_LIMIT_S
    lease_hands_on_s: Annotated[float, msgspec.Meta(ge=0.150, le=0.500)] = LEASE_HANDS_ON_S
    lease_autonomous_s: Annotated[float, msgspec.Meta(ge=0.5, le=3.0)] = LEASE_AUTONOMOUS_S
    battery_critical_v: Annotated[float, msgspec.Meta(ge=0.0, le=30.0)] = BATTERY_CRITICAL_V

    def monitor_limits(self) -> MonitorLimits:
        """Return the part that the monitors judge by."""
        return MonitorLimits(
            frame_overdue_s=self.frame_overdue_s,
            ack_limit_s=self.acknowledged_age_s,
            stall_limit_s=self.host_stall_s,
            battery_critical_v=self.battery_critical_v,
        )

    def lease_limits(self) -> LeaseLimits:
        """Return how long a silent driver keeps the car."""
        return LeaseLimits(hands_on_s=self.lease_hands_on_s, autonomous_s=self.lease_autonomous_s)


class CarConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything about one car that is not measured by calibrating it."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=40)] = "lapwing"
    calibration: str = ""
    """Path of this car's calibration file, relative to `car.toml`, which may not exist yet; empty: a file of
    the car's name beside this user's policies."""
    policy: str = ""
    """Bundle folder, `.onnx` file or name of a shipped policy; empty: none until one is activated."""
    control: ControlConfig = ControlConfig()
    camera: CameraConfig = CameraConfig()
    right_camera: RightCameraConfig = RightCameraConfig()
    lidar: LidarMount = LidarMount()
    board: BoardConfig = BoardConfig()
    failsafe: FailsafeConfig = FailsafeConfig()
    page: PageConfig = PageConfig()
    runs: RunsConfig = RunsConfig()

    def calibration_file(self) -> Path:
        """Return where this car's numbers are, or will be once somebody has measured them."""
        if self.calibration:
            return Path(self.calibration)
        return default_store_root().with_name("cars") / f"{file_stem(self.name)}.json"


def read_config(path: Path) -> CarConfig:
    """Read and check `car.toml`; paths inside it become absolute.

    Raises:
        ConfigError: the file is missing, is not TOML, or a field is unknown or out of bounds; the
            message names the field, what was seen, what is allowed, and the line where it stands.

    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors put a byte order mark first
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); name another with --config") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    return parse_config(text, path)


def parse_config(text: str, path: Path) -> CarConfig:
    """Check the content of the `car.toml` at this path, as `read_config` does; raises ConfigError."""
    try:
        config = msgspec.toml.decode(text, type=CarConfig)
    except msgspec.ValidationError as error:
        raise ConfigError(_explain(path, text, str(error))) from None
    except UNREADABLE as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None
    try:
        config.camera.options()
    except ValueError as error:
        line, _ = _find_line(text, "camera.crop")
        raise ConfigError(f"{path}, line {line}: camera.{error}; start again then") from None
    return _with_absolute_paths(config, path.resolve().parent)


def followed_quota(path: Path | None) -> Callable[[], int]:
    """Return what asks a `car.toml` how many bytes the runs may take, again whenever the file has changed.

    A file that cannot be used, or is gone, leaves the last answer in force.
    """
    seen: object = None
    quota_bytes = RunsConfig().quota_bytes

    def ask() -> int:
        nonlocal seen, quota_bytes
        if path is None:
            return quota_bytes
        with contextlib.suppress(OSError, ConfigError):
            stat = path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if stamp != seen:
                seen = stamp
                quota_bytes = read_config(path).runs.quota_bytes
        return quota_bytes

    return ask


def config_digest(config: CarConfig) -> str:
    """Return what changes with every setting that takes effect at a start alone.

    Not with the policy, which is chosen elsewhere too, nor with what takes effect at once: what the camera
    locks, how much the runs may take, where race events go.
    """
    camera = msgspec.structs.replace(config.camera, exposure_ms=None, gain=None, white_balance_k=None)
    page = msgspec.structs.replace(config.page, webhook="")
    settings = msgspec.json.encode(
        msgspec.structs.replace(config, policy="", camera=camera, page=page, runs=RunsConfig()),
        order="deterministic",
    )
    return hashlib.sha256(settings).hexdigest()[:16]


class Bounds(msgspec.Struct, frozen=True):
    """What a setting may be; the only truth of it is the types above."""

    kind: Literal["number", "whole", "choice", "text", "switch", "list"]
    default: Any
    optional: bool = False
    """None is allowed, and means what its docstring says."""
    lowest: float | None = None
    highest: float | None = None
    choices: tuple[str | int, ...] = ()
    longest: int | None = None
    """Characters of a text."""


def field_bounds(name: str) -> Bounds:
    """Return what a setting, such as `failsafe.frame_overdue_s`, may be; raises ConfigError for none."""
    kind: msgspec.inspect.Type = msgspec.inspect.type_info(CarConfig)
    default: Any = CarConfig()
    for part in name.split("."):
        members = {field.name: field.type for field in getattr(kind, "fields", ())}
        if part not in members:
            raise ConfigError(f"there is no setting {name}")
        kind, default = members[part], getattr(default, part)
    optional = isinstance(kind, msgspec.inspect.UnionType)
    if isinstance(kind, msgspec.inspect.UnionType):
        kind = next(part for part in kind.types if not isinstance(part, msgspec.inspect.NoneType))
    match kind:
        case msgspec.inspect.FloatType():
            return Bounds("number", default, optional, kind.ge, kind.le)
        case msgspec.inspect.IntType():
            return Bounds("whole", default, optional, kind.ge, kind.le)
        case msgspec.inspect.LiteralType():
            return Bounds(
                "choice",
                default,
                optional,
                choices=tuple(each for each in kind.values if isinstance(each, str | int)),
            )
        case msgspec.inspect.BoolType():
            return Bounds("switch", default, optional)
        case msgspec.inspect.StrType():
            return Bounds("text", default, optional, longest=kind.max_length)
        case msgspec.inspect.TupleType() | msgspec.inspect.VarTupleType():
            return Bounds("list", default, optional)
        case _:
            raise ConfigError(f"{name} is a group of settings; name one of them")


def _with_absolute_paths(config: CarConfig, folder: Path) -> CarConfig:
    calibration = str(folder / config.calibration) if config.calibration else ""
    policy = config.policy
    if policy and os.path.exists(folder / policy):  # Path.exists would raise for an overlong name
        policy = str(folder / policy)
    return msgspec.structs.replace(config, calibration=calibration, policy=policy)


def _explain(path: Path, text: str, problem: str) -> str:
    """Turn a validation message into: where, what was seen, what is allowed, what to do."""
    where = re.search(r"\$((?:\.\w+)*)", problem)
    field = where.group(1).lstrip(".") if where else ""
    unknown = re.search(r"unknown field `([^`]*)`", problem)
    if unknown:
        field = f"{field}.{unknown.group(1)}".lstrip(".")
    line, seen = _find_line(text, field)
    at = f"{path}, line {line}" if line else str(path)
    if unknown:
        return f"{at}: there is no setting {field}; correct its name or remove it"
    return f"{at}: {field} is {seen or 'wrong'}, allowed {_allowed(field)}; correct it and start again"


def _find_line(text: str, field: str) -> tuple[int, str]:
    """Return the line number (from 1) of a dotted field, 0 where it is not found, and its value's text.

    The text is empty for a list of several lines.
    """
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        heading = re.match(r"\s*\[\s*([\w.-]+)\s*\]", line)
        if heading:
            section = heading.group(1) + "."
        value = re.match(r"\s*([\w.-]+)\s*=\s*(.+?)\s*(?:#.*)?$", line)
        if value and section + value.group(1) == field:
            is_whole = value.group(2).count("[") == value.group(2).count("]")
            return number, value.group(2) if is_whole else ""
    return 0, ""


def _allowed(field: str) -> str:
    """Return in words what a dotted field may be; it is one of ours."""
    kind: msgspec.inspect.Type = msgspec.inspect.type_info(CarConfig)
    for name in field.split("."):
        kind = next(member.type for member in getattr(kind, "fields", ()) if member.name == name)
    return _in_words(kind, field)


def _in_words(kind: msgspec.inspect.Type, field: str) -> str:
    match kind:
        case msgspec.inspect.UnionType():
            kinds = (part for part in kind.types if not isinstance(part, msgspec.inspect.NoneType))
            return _in_words(next(kinds), field)
        case msgspec.inspect.FloatType() | msgspec.inspect.IntType():
            return f"{kind.ge:g} to {kind.le:g}"
        case msgspec.inspect.LiteralType():
            return " or ".join(str(value) for value in kind.values)
        case msgspec.inspect.BoolType():
            return "true or false"
        case msgspec.inspect.StrType() if kind.max_length:
            return f"{kind.min_length or 0} to {kind.max_length} characters in quotes"
        case msgspec.inspect.StrType():
            return "a text in quotes"
        case msgspec.inspect.TupleType():
            return f"a list of {len(kind.item_types)}, each {_in_words(kind.item_types[0], field)}"
        case msgspec.inspect.VarTupleType():
            return f"a list, each {_in_words(kind.item_type, field)}"
        case _:
            return f"a section [{field}]"
