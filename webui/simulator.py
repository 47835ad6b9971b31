"""The panel of a HIL car: its track from above, what can be broken, another track, back to the start.

Registered only in front of a HIL car. What the world says here goes to people, never to what drives.
"""

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, NamedTuple, TypedDict

import msgspec
from flask import Blueprint, Response, render_template
from werkzeug.exceptions import BadRequest, Conflict, ServiceUnavailable

from vehicle.errors import HilError
from vehicle.hil.faults import FAULTS, HOST_PARTS, MOMENTARY, FaultKind, Part, order_fault
from vehicle.hil.track import RANDOM, REVERSED, TRACKS, load_track
from vehicle.messages import DriveState
from webui.car import Simulator, Vehicle, World
from webui.describing import Ok, described, html_page
from webui.drive import secret_token, source_of
from webui.guard import answer, read_body, sentence

STANDING = frozenset({DriveState.DISARMED, DriveState.FAILSAFE})
RANDOM_TRACK = re.compile(rf"{RANDOM}\d{{1,9}}")
OUTLINE_PX = (96, 60)
OUTLINE_POINTS = 90

PART_WORDS: dict[Part, tuple[str, str]] = {
    Part.CAMERA: ("Camera", "the front camera, or the left eye"),
    Part.CAMERA_RIGHT: ("Right camera", "the second eye; only policies with two look through it"),
    Part.LIDAR: ("LIDAR", "only policies that measure distances use it"),
    Part.SERIAL_OUT: ("Wire to the board", "what the computer sends"),
    Part.SERIAL_IN: ("Wire from the board", "what the board answers"),
    Part.BOARD: ("Board", "it makes the pulses and has the last word: its watchdog"),
    Part.CAR: ("Behind the board", "servo, speed controller, battery, wheel sensor"),
    Part.POLICY: ("Policy", "the network that drives"),
    Part.OPERATOR_LINK: ("Operator link", "all pages and commands to the car, the emergency stop too"),
    Part.CLOCK: ("Clock", "of the computer that drives"),
    Part.DISK: ("Disk", "as the vehicle process sees it"),
}
AMOUNT_WORDS = re.compile(r"\bthis (many|share|voltage|version)\b")


class FaultBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fault to switch."""

    part: Annotated[str, msgspec.Meta(max_length=40)]
    fault: Annotated[str, msgspec.Meta(max_length=40)]
    on: bool = True
    amount: float | None = None


class TrackBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the car is to be carried."""

    track: Annotated[str, msgspec.Meta(min_length=1, max_length=60)]


class EmptyBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing more to say."""


class SimulatorDocument(TypedDict):
    """Which track there is and what is broken."""

    track: str
    preparing: str
    """The track that is being drawn; empty: none."""
    problem: str
    """Why the last wish for a track came to nothing, or empty."""
    faults: dict[str, float]
    """How much of each fault of the world is on, by `part=fault`."""
    host_faults: dict[str, float] | None
    """As above in the process that drives; null while it is silent."""
    host_silence: str


class LayoutDocument(TypedDict):
    """The lines of a track, in metres from above."""

    track: str
    length_m: float
    center: list[list[float]]
    inner: list[list[float]]
    outer: list[list[float]]


class MendedDocument(TypedDict):
    """What was switched off, as `part=fault`."""

    ok: bool
    mended: list[str]


class OfferedTrack(NamedTuple):
    """A track to choose."""

    name: str
    length_m: float
    outline: str
    """Points of an SVG polygon, `OUTLINE_PX` large."""


class OfferedFault(NamedTuple):
    """A fault to switch, in words."""

    name: str
    before: str
    """What it does, up to the amount."""
    unit: str
    """How the amount is said: `share`, `voltage`, `version` or `many`; empty: there is none."""
    after: str
    kind: FaultKind
    happens_once: bool


def make_blueprint(vehicle: Vehicle, world: World, simulator: Simulator) -> Blueprint:
    """Return the page of a HIL car's world, and its routes."""
    blueprint = Blueprint("simulator", __name__)

    @blueprint.get("/simulator")
    @html_page
    def page() -> str:
        token = secret_token()
        parts = [(part, *PART_WORDS[part], offered_faults(part)) for part in Part]
        return render_template(
            "simulator.html", page=token, source=source_of(token), parts=parts, tracks=offered_tracks()
        )

    @blueprint.get("/api/simulator")
    @described(answers=SimulatorDocument)
    def show() -> Response:
        """Tell which track there is and what is broken; `problem` says why the last wish came to nothing."""
        with _refusals(ServiceUnavailable):
            of_world = simulator.ask_world("ping")
        return answer(
            {
                "track": of_world["track"],
                "preparing": of_world["preparing"],
                "problem": sentence(of_world["problem"]) if of_world["problem"] else "",
                "faults": of_world["faults"],
                **_host_document(simulator),
            }
        )

    @blueprint.get("/api/simulator/layout")
    @described(answers=LayoutDocument)
    def layout() -> Response:
        """Tell the lines of the track that the car is on, in metres from above."""
        with _refusals(ServiceUnavailable):
            document = simulator.ask_world("layout")
        return answer({name: document[name] for name in ("track", "length_m", "center", "inner", "outer")})

    @blueprint.post("/api/simulator/fault")
    @described(body=FaultBody, answers=Ok, refuses=(409,))
    def switch() -> Response:
        """Switch one fault on or off; those that happen once are only switched on."""
        body = read_body(FaultBody)
        try:
            part = order_fault(body.part, body.fault, body.amount).part
        except HilError as error:
            raise BadRequest(sentence(str(error))) from error
        with _refusals(Conflict):
            _ask_for(simulator, part)("fault", **msgspec.structs.asdict(body))
        return answer(Ok(True))

    @blueprint.post("/api/simulator/mend")
    @described(body=EmptyBody, answers=MendedDocument, refuses=(409,))
    def mend() -> Response:
        """Switch every fault off."""
        read_body(EmptyBody)
        with _refusals(Conflict):
            on = list(simulator.ask_world("ping")["faults"])
        on += _host_document(simulator)["host_faults"] or ()
        for name in on:
            part, _, fault = name.partition("=")
            with _refusals(Conflict):
                _ask_for(simulator, Part(part))("fault", part=part, fault=fault, on=False)
        return answer({"ok": True, "mended": on})

    @blueprint.post("/api/simulator/track")
    @described(body=TrackBody, answers=Ok, refuses=(409,))
    def carry() -> Response:
        """Carry the car, which must stand disarmed, to another track; follow it as `preparing`."""
        body = read_body(TrackBody)
        if not is_offered(body.track):
            raise BadRequest(
                f"There is no track {body.track!r} to choose here; allowed are {', '.join(TRACKS)} and "
                f"{RANDOM}N, each also with {REVERSED}. Other route files: lapwing run --hil --track FILE."
            )
        car = vehicle.status()
        if car is not None and car.state not in STANDING:
            raise Conflict("The car drives; stop it first. A track is changed while it stands disarmed.")
        with _refusals(Conflict):
            simulator.ask_world("track", track=body.track)
        return answer(Ok(True))

    @blueprint.post("/api/simulator/reset")
    @described(body=EmptyBody, answers=Ok, refuses=(409,))
    def reset() -> Response:
        """Put the car down at the start, at rest; laps and the driven line begin anew."""
        read_body(EmptyBody)
        with _refusals(Conflict):
            simulator.ask_world("reset")
        world.forget_trail()
        return answer(Ok(True))

    return blueprint


def is_offered(track: str) -> bool:
    """Whether this is one of our own tracks or a random one, either way round; no file of this computer."""
    plain = track.removesuffix(REVERSED)
    return plain in TRACKS or RANDOM_TRACK.fullmatch(plain) is not None


@functools.cache
def offered_tracks() -> tuple[OfferedTrack, ...]:
    """Return our own tracks with their outlines."""
    return tuple(_offered(name) for name in TRACKS)


def offered_faults(part: Part) -> tuple[OfferedFault, ...]:
    """Return what can be broken of a part."""
    return tuple(
        _in_words(name, kind, happens_once=(part, name) in MOMENTARY) for name, kind in FAULTS[part].items()
    )


def _in_words(name: str, kind: FaultKind, *, happens_once: bool) -> OfferedFault:
    match = AMOUNT_WORDS.search(kind.meaning)
    if not kind.takes_amount or match is None:
        unit = "many" if kind.takes_amount else ""
        return OfferedFault(name, kind.meaning, unit, "", kind, happens_once)
    before, after = kind.meaning[: match.start()], kind.meaning[match.end() :]
    return OfferedFault(name, before, match[1], after, kind, happens_once)


def _offered(name: str) -> OfferedTrack:
    track = load_track(name)
    line = track.center[:: max(1, len(track.center) // OUTLINE_POINTS)]
    low, high = line.min(axis=0), line.max(axis=0)
    scale = min((size - 10) / span for size, span in zip(OUTLINE_PX, high - low, strict=True))
    middle = (low + high) / 2
    points = (
        f"{OUTLINE_PX[0] / 2 + (x - middle[0]) * scale:.1f},{OUTLINE_PX[1] / 2 - (y - middle[1]) * scale:.1f}"
        for x, y in line
    )
    return OfferedTrack(name, track.length_m, " ".join(points))


def _ask_for(simulator: Simulator, part: Part) -> Callable[..., Mapping[str, Any]]:
    return simulator.ask_host if part in HOST_PARTS else simulator.ask_world


def _host_document(simulator: Simulator) -> dict[str, Any]:
    """Return what is broken in the process that drives; one that is silent may be broken just so."""
    try:
        return {"host_faults": simulator.ask_host("ping")["faults"], "host_silence": ""}
    except HilError as error:
        return {"host_faults": None, "host_silence": sentence(str(error))}


@contextmanager
def _refusals(kind: type[Conflict] | type[ServiceUnavailable]) -> Iterator[None]:
    try:
        yield
    except HilError as error:
        raise kind(sentence(str(error))) from error
