"""What the page needs of the car: a client of the vehicle process, and of the HIL world if there is one."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from vehicle.messages import Preview, Reply, RequestKind, Status, TickRecord
from vehicle.truth import WorldTruth


class Vehicle(Protocol):
    """The vehicle process as the page sees it: a `vehicle.remote_client.VehicleClient`. From any thread."""

    @property
    def version_note(self) -> str:
        """Why a vehicle that speaks cannot be understood, in words; empty while it can be."""

    def status(self) -> Status | None:
        """Return the newest status, None when the vehicle is silent."""

    def wait_status(self, accept: Callable[[Status], bool], timeout_s: float) -> Status | None:
        """Return the first status that is accepted, or None after the time-out."""

    def status_age_s(self) -> float:
        """Return how old the newest status is; infinite before the first."""

    def now_ns(self) -> int:
        """Return the vehicle's clock, that of every stamp a page echoes."""

    def record_of(self, frame_number: int, timeout_s: float = 0.0) -> TickRecord | None:
        """Return what the loop made of a picture, while somebody looks; None when it is not known."""

    def preview(self, newer_than: int = -1, timeout_s: float = 1.0) -> Preview | None:
        """Return a picture with another number than `newer_than`, or None after the time-out."""

    def request(self, kind: RequestKind, timeout_s: float = 1.0, **fields: object) -> Reply:
        """Ask for something; raises VehicleSilentError."""

    def emergency_stop(self, timeout_s: float = 0.5) -> Reply:
        """Stop the car on the socket that is read first; raises VehicleSilentError."""


class TrailPoint(NamedTuple):
    """Where a HIL car has been."""

    x_m: float
    y_m: float
    speed_mps: float


class Trail(NamedTuple):
    """A piece of the driven line."""

    points: list[TrailPoint]
    end: int
    """Ask with this for the points that follow."""


class World(Protocol):
    """The HIL world as the page sees it; `webui.world.WorldFollower` is one. Safe in any thread."""

    def truth(self) -> WorldTruth | None:
        """Return the newest truth, None when the world is silent."""

    def trail(self, after: int) -> Trail:
        """Return the driven line's points from number `after` on, as far as they are remembered."""

    def forget_trail(self) -> None:
        """Begin the driven line anew."""


class Simulator(Protocol):
    """Takes orders for a HIL car; `webui.simulator_desk.SimulatorDesk` is one. Safe in any thread."""

    def ask_world(self, op: str, **fields: object) -> Mapping[str, Any]:
        """Give the world an order and return its answer; raises HilError when it is silent or refuses."""

    def ask_host(self, op: str, **fields: object) -> Mapping[str, Any]:
        """Give the process that drives an order, and return its answer; raises HilError as above."""
