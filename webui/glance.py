"""All that a page shows of the car, in one document: for the socket, for the poll and for scripts."""

from collections.abc import Callable
from typing import Any, Literal, TypedDict

from vehicle.messages import LeaseWish, Status
from webui.car import Vehicle, World
from webui.guard import sentence
from webui.host import Host, HostHealth
from webui.laps import LAPS_SHOWN, Laps, LapsDocument
from webui.model_changes import ModelChanges
from webui.recording import Recorder, RecordingDocument
from webui.speed_caps import SpeedCaps


class LeaseDocument(TypedDict):
    """Who drives and who would like to."""

    driver: str
    name: str
    mine: bool
    asked_by: tuple[LeaseWish, ...]


class StatusDocument(TypedDict):
    """The car at a glance."""

    kind: Literal["status"]
    server_ns: int
    car: Status | None
    silence: str
    world: dict[str, Any] | None
    lease: LeaseDocument
    laps: LapsDocument
    host: Host
    remembered_cap_frac: float | None
    recorder: RecordingDocument | None
    models: str
    """Another word whenever the list of policies or an upload has changed."""


class Glance:
    """Puts the document together; safe in any thread."""

    def __init__(
        self,
        vehicle: Vehicle,
        world: World | None,
        laps: Laps,
        caps: SpeedCaps,
        clock_ns: Callable[[], int],
        *,
        recorder: Recorder | None = None,
        models: ModelChanges | None = None,
    ) -> None:
        self._vehicle = vehicle
        self._world = world
        self._laps = laps
        self._caps = caps
        self._host = HostHealth()
        self._clock_ns = clock_ns
        self._recorder = recorder
        self._models = models

    def now_ns(self) -> int:
        """Return the vehicle's clock."""
        return self._clock_ns()

    def _silence(self) -> str:
        if note := self._vehicle.version_note:
            return sentence(note)
        return silence(self._vehicle.status_age_s())

    def document(self, source: str, trail_from: int) -> StatusDocument:
        """Return the car at a glance, and of a HIL car the driven line from point `trail_from` on."""
        car = self._vehicle.status()
        return {
            "kind": "status",
            "server_ns": self._clock_ns(),
            "car": car,
            "silence": "" if car else self._silence(),
            "world": None if self._world is None else world_document(self._world, trail_from),
            "lease": lease_document(car, source),
            "laps": self._laps.document(),
            "host": self._host.look(),
            "remembered_cap_frac": None if car is None else self._caps.of(car.policy_hash),
            "recorder": None if self._recorder is None else self._recorder.document(),
            "models": "" if self._models is None else self._models.word(),
        }

    def first_look(self, source: str) -> StatusDocument:
        """Return the car at a glance for a page to begin with; the driven line comes over its socket."""
        document = self.document(source, 0)
        if document["world"] is not None:
            del document["world"]["trail"]
        return document


def lease_document(car: Status | None, source: str) -> LeaseDocument:
    """Return who drives and who would like to."""
    if car is None:
        return {"driver": "", "name": "", "mine": False, "asked_by": ()}
    mine = bool(source) and car.driver == source
    return {"driver": car.driver, "name": car.driver_name, "mine": mine, "asked_by": car.lease_asked_by}


def silence(age_s: float) -> str:
    """Return what a silent vehicle means, in words."""
    since = f"has said nothing for {age_s:.0f} s" if age_s < 3600 else "has said nothing yet"
    return (
        f"The vehicle process {since}. If it has died, the board holds the car at neutral; "
        "start it again with lapwing run."
    )


def world_document(world: World, trail_from: int) -> dict[str, Any] | None:
    """Return the HIL world's truth for people, None when it is silent."""
    truth = world.truth()
    if truth is None:
        return None
    best = min(truth.laps, key=lambda crossing: crossing.time_s, default=None)
    lap_time_s = (truth.now_ns - truth.lap_started_ns) / 1e9 if truth.lap_started_ns else None
    return {
        "track": truth.track,
        "x_m": truth.x_m,
        "y_m": truth.y_m,
        "heading_rad": truth.heading_rad,
        "speed_mps": truth.speed_mps,
        "steering_rad": truth.steering_rad,
        "offset_m": truth.offset_m,
        "servo_pulse_us": truth.servo_pulse_us,
        "esc_pulse_us": truth.esc_pulse_us,
        "progress_frac": truth.progress_frac,
        "off_track": truth.off_track,
        "crashed": truth.crashed,
        "crashed_into": truth.crashed_into,
        "things": truth.things,
        "lap_time_s": lap_time_s,
        "lap_count": len(truth.laps),
        "laps": truth.laps[-LAPS_SHOWN:],
        "best": best,
        "faults": truth.faults,
        "trail": world.trail(trail_from)._asdict(),
    }
