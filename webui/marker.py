"""What the page needs of the start marker; `vehicle.laps_client.MarkerFollower` is one."""

from typing import Protocol

from vehicle.laps import MarkerLaps


class Marker(Protocol):
    """The start marker as the page sees it. Safe in any thread."""

    def laps(self) -> MarkerLaps | None:
        """Return what the marker says of this drive, None when nobody keeps time."""
