"""This car's settings over HTTP: `car.toml` changed with its comments kept, and the vehicle started again.

The vehicle reads its settings once, when it starts; so a change is saved at any time when the car stands,
and takes effect when the vehicle process is started again, which it grants only while disarmed.
"""

from pathlib import Path
from typing import Annotated, Any, TypedDict

import msgspec
from flask import Blueprint, Response, render_template, request
from werkzeug.exceptions import BadRequest, Conflict

from vehicle.config import Bounds, CarConfig, config_digest, field_bounds, parse_config
from vehicle.config_file import edit, read_text
from vehicle.errors import ConfigError
from vehicle.messages import (
    CameraLocks,
    DriveState,
    ExposureMs,
    GainSteps,
    RequestKind,
    Status,
    WhiteBalanceK,
)
from vehicle.version import version
from webui.car import Vehicle
from webui.car_logs import CarLogs
from webui.describing import Ok, described, html_page
from webui.drive import PageToken, secret_token, source_of
from webui.guard import answer, read_body, sentence
from webui.hosts import Hosts
from webui.page_address import own_address, page_addresses, page_port, qr_svg
from webui.settings_words import FIELDS, GROUPS, Field

STANDING = frozenset({DriveState.DISARMED, DriveState.FAILSAFE})
REQUEST_TIMEOUT_S = 1.0
CHANGES_LIMIT = len(FIELDS)

Name = Annotated[str, msgspec.Meta(max_length=60)]
Text = Annotated[str, msgspec.Meta(max_length=400)]
Value = bool | int | float | Text


class ChangesBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings to change; null takes one out of the file, so that it is as shipped."""

    changes: Annotated[dict[Name, Value | None], msgspec.Meta(min_length=1, max_length=CHANGES_LIMIT)]
    revision: Annotated[str, msgspec.Meta(max_length=64)]
    """Of the file as it was seen."""
    accepted: Annotated[tuple[Name, ...], msgspec.Meta(max_length=CHANGES_LIMIT)] = ()
    """Settings that weaken a failsafe, by somebody who has read what that means."""


class RestartBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who asks."""

    page: PageToken


class TuneBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the camera is to leave as it is, at once and until its software starts again."""

    page: PageToken
    exposure_ms: ExposureMs | None = None
    gain: GainSteps | None = None
    white_balance_k: WhiteBalanceK | None = None


class FieldDocument(TypedDict):
    """One setting."""

    name: str
    value: Any
    """As the file says, or as shipped."""
    is_shipped: bool
    """Whether it has the value that every car begins with."""
    bounds: Bounds


class SettingsDocument(TypedDict):
    """What the file says, and whether the car goes by it."""

    file: str
    revision: str
    problem: str
    """Why the file cannot be used, or empty."""
    fields: list[FieldDocument]
    needs_restart: bool | None
    """Whether the vehicle was started with other settings than the file's; null while it is silent."""
    camera: CameraLocks | None
    """What the camera was told to leave as it is now; null while the vehicle is silent."""
    is_camera_saved: bool
    """Whether that is what the file says."""
    is_hil: bool


class WeakerDocument(TypedDict):
    """A change that would weaken a failsafe."""

    name: str
    label: str
    meaning: str


class WeighedDocument(TypedDict):
    """What the changes would mean for safety."""

    weaker: list[WeakerDocument]


class SavedDocument(TypedDict):
    """It was saved."""

    ok: bool
    revision: str


def make_blueprint(
    config_file: Path | None, vehicle: Vehicle, logs: CarLogs, hosts: Hosts, *, is_hil: bool
) -> Blueprint:
    """Return the page and the routes of this car's settings.

    `config_file` None: this car was started without one, so there is nothing to save to.
    """
    blueprint = Blueprint("settings", __name__)

    @blueprint.get("/settings")
    @html_page
    def page() -> str:
        token = secret_token()
        others = page_addresses(request.scheme, page_port(request.host_url), hosts)
        address = own_address(request.host_url, hosts, others)
        bounds = {name: field_bounds(name) for name in FIELDS}
        return render_template(
            "settings.html",
            page=token,
            source=source_of(token),
            groups=GROUPS,
            bounds=bounds,
            suggestions=suggestions(),
            config_file=config_file,
            is_hil=is_hil,
            log_parts=logs.parts(),
            version=version(),
            address=address,
            other_addresses=[each for each in others if each != address],
            qr=qr_svg(address) if address else "",
            taken=hosts.taken,
        )

    @blueprint.get("/api/settings")
    @described(answers=SettingsDocument)
    def show() -> Response:
        """Tell every setting, what it may be, and whether the car goes by it already."""
        return answer(settings_document(config_file, vehicle, is_hil=is_hil))

    @blueprint.post("/api/settings/weigh")
    @described(body=ChangesBody, answers=WeighedDocument, refuses=(409,))
    def weigh() -> Response:
        """Tell what changes would mean for safety, without making them."""
        body = read_body(ChangesBody)
        return answer({"weaker": _weaker(_present(_file(config_file)), body.changes)})

    @blueprint.post("/api/settings")
    @described(body=ChangesBody, answers=SavedDocument, refuses=(409,))
    def save() -> Response:
        """Write settings to the car's file while the car stands; comments and all else stay."""
        body = read_body(ChangesBody)
        path = _file(config_file)
        car = vehicle.status()
        if car is not None and car.state not in STANDING:
            raise Conflict("The car drives; stop it first. Settings are changed while it stands.")
        if read_text(path).revision != body.revision:
            raise Conflict("Somebody has changed the file meanwhile; look at it again, then change it.")
        weaker = _weaker(_present(path), body.changes)
        if unread := [each for each in weaker if each["name"] not in body.accepted]:
            raise Conflict(" ".join(each["meaning"] for each in unread))
        try:
            edit(path, body.changes)
        except ConfigError as error:
            raise Conflict(sentence(str(error))) from error
        return answer({"ok": True, "revision": read_text(path).revision})

    @blueprint.post("/api/camera/tune")
    @described(body=TuneBody, answers=Ok, refuses=(409,))
    def tune() -> Response:
        """Lock exposure, gain and white balance at once, only while disarmed; nothing is saved by it."""
        body = read_body(TuneBody)
        source = source_of(body.page)
        locks = CameraLocks(body.exposure_ms, body.gain, body.white_balance_k)
        _ask(vehicle, RequestKind.TAKE_LEASE, source, driver_name="Camera settings")
        try:
            _ask(vehicle, RequestKind.TUNE_CAMERA, source, camera=locks)
        finally:
            vehicle.request(RequestKind.RELEASE_LEASE, timeout_s=REQUEST_TIMEOUT_S, source=source)
        return answer(Ok(True))

    @blueprint.post("/api/settings/restart")
    @described(body=RestartBody, answers=Ok, refuses=(409,))
    def restart() -> Response:
        """Start the vehicle process again, with the settings as the file has them; only while disarmed."""
        source = source_of(read_body(RestartBody).page)
        if config_file is not None:
            _present(config_file)  # a vehicle that could not start again is left running
        _ask(vehicle, RequestKind.TAKE_LEASE, source)
        try:
            _ask(vehicle, RequestKind.RESTART, source)
        except Conflict:
            vehicle.request(RequestKind.RELEASE_LEASE, timeout_s=REQUEST_TIMEOUT_S, source=source)
            raise
        return answer(Ok(True))

    return blueprint


def settings_document(config_file: Path | None, vehicle: Vehicle, *, is_hil: bool) -> SettingsDocument:
    """Return what the file says, and whether the car goes by it."""
    config, revision, problem = CarConfig(), "", ""
    if config_file is not None:
        try:
            text = read_text(config_file)
            revision = text.revision
            config = parse_config(text.text, config_file)
        except ConfigError as error:
            problem = sentence(str(error))
    car = vehicle.status()
    return {
        "file": "" if config_file is None else str(config_file),
        "revision": revision,
        "problem": problem,
        "fields": [_field_document(name, config) for name in FIELDS],
        "needs_restart": _needs_restart(car, config) if config_file is not None else False,
        "camera": None if car is None else car.camera_locks,
        "is_camera_saved": car is None or car.camera_locks == config.camera.locks(),
        "is_hil": is_hil,
    }


def car_name(config_file: Path | None) -> str:
    """Return what the car is called now, as far as its file can be read."""
    try:
        return CarConfig().name if config_file is None else _present(config_file).name
    except Conflict:
        return CarConfig().name


def _needs_restart(car: Status | None, config: CarConfig) -> bool | None:
    return None if car is None else car.config_digest != config_digest(config)


def suggestions(root: Path = Path("/dev")) -> dict[str, list[str]]:
    """Return what is plugged in, by the setting that names it; nothing is opened."""
    cameras = sorted(f"v4l2:{path}" for path in (root / "v4l/by-id").glob("*index0"))
    ports = sorted(str(path) for path in (root / "serial/by-id").glob("*"))
    return {
        "camera.source": cameras,
        "right_camera.source": cameras,
        "board.port": ports,
        "lidar.source": [f"rplidar:{port}" for port in ports],
    }


def _field_document(name: str, config: CarConfig) -> FieldDocument:
    bounds = field_bounds(name)
    value = value_of(config, name)
    return {"name": name, "value": value, "is_shipped": value == bounds.default, "bounds": bounds}


def value_of(config: CarConfig, name: str) -> Any:
    """Return a setting by its dotted name."""
    value: Any = config
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _file(config_file: Path | None) -> Path:
    if config_file is None:
        raise Conflict("This car was started without a file of settings; start it with --config car.toml.")
    return config_file


def _present(path: Path) -> CarConfig:
    try:
        return parse_config(read_text(path).text, path)
    except ConfigError as error:
        raise Conflict(sentence(str(error))) from error


def _weaker(present: CarConfig, changes: dict[str, Any]) -> list[WeakerDocument]:
    found: list[WeakerDocument] = []
    for name, value in changes.items():
        field = _known(name)
        new = field_bounds(name).default if value is None else value
        if meaning := field.weakens(new, value_of(present, name)):
            found.append({"name": name, "label": field.label, "meaning": meaning})
    return found


def _known(name: str) -> Field:
    if name not in FIELDS:
        raise BadRequest(f"There is no setting {name!r} to change here; allowed are {', '.join(FIELDS)}.")
    return FIELDS[name]


def _ask(vehicle: Vehicle, kind: RequestKind, source: str, **fields: object) -> None:
    reply = vehicle.request(kind, timeout_s=REQUEST_TIMEOUT_S, source=source, **fields)
    if not reply.ok:
        raise Conflict(sentence(reply.reason))
