"""The settings that the page shows, in words: what each is, and what a weaker failsafe would mean.

What each may be stands in `vehicle.config` alone.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

PACE_MPS = 2.0  # of a quick car indoors, to turn times into distances

Meaning = Callable[[float, float], str]
"""What another value means, from the new one and the one before."""


class Field(NamedTuple):
    """One setting."""

    name: str
    """Dotted, in `car.toml`."""
    label: str
    hint: str = ""
    unit: str = ""
    """As it is shown; `%` and `ms` are shown a hundred and a thousand times as large as they are kept."""
    unset: str = ""
    """What is so without a value, for a setting that may have none."""
    first: str = ""
    """What it begins with when somebody wants a value."""
    slider: Literal["", "even", "by share"] = ""
    """Whether it can be slid, and whether a step adds as much or multiplies by as much wherever it stands."""
    weaker: Literal["", "higher", "lower"] = ""
    meaning: Meaning | None = None
    """Of a value that is weaker than the one before."""

    @property
    def scale(self) -> float:
        """How many times larger than it is kept the value is shown."""
        if self.unit == "ms":
            return 1000.0 if self.name.endswith("_s") else 1.0
        return 100.0 if self.unit == "%" else 1.0

    def weakens(self, value: Any, before: Any) -> str:
        """Return what this change would mean for safety, or an empty string where it weakens nothing."""
        if self.meaning is None or not all(isinstance(each, int | float) for each in (value, before)):
            return ""
        is_weaker = value > before if self.weaker == "higher" else value < before
        return self.meaning(value, before) if is_weaker else ""


class Group(NamedTuple):
    """Settings that belong together."""

    key: str
    label: str
    hint: str
    fields: tuple[Field, ...]


def _farther(value_s: float, before_s: float) -> str:
    return f"{PACE_MPS * (value_s - before_s):.2f} m farther at {PACE_MPS:g} m/s"


def _ms(value_s: float) -> str:
    return f"{value_s * 1000:g} ms"


def _battery(value_v: float, before_v: float) -> str:
    if value_v == 0:
        return (
            "An empty drive battery no longer stops the car: its cells may be ruined, and a sagging supply "
            "can make the steering fail at speed."
        )
    return (
        f"The car drives its battery down to {value_v:g} V, not {before_v:g} V: nearer to ruined cells and "
        "to steering that fails."
    )


GROUPS: tuple[Group, ...] = (
    Group(
        "car",
        "Car",
        "",
        (Field("name", "Name", "Told on the network and on every page; runs carry it."),),
    ),
    Group(
        "driving",
        "Driving",
        "",
        (
            Field(
                "control.rate_hz",
                "Decisions a second",
                "A policy drives best at the rate it was trained at.",
                "Hz",
                "As trained",
                "30",
            ),
            Field(
                "control.speed_cap_frac",
                "Speed limit after a start of the software",
                "The page changes it while driving.",
                "%",
                weaker="higher",
                meaning=lambda value, before: (
                    f"The first drive after every start of the software may go at {value * 100:g} % of full "
                    f"throttle, not {before * 100:g} %, before anybody has looked at how it drives."
                ),
            ),
            Field(
                "control.throttle_growth_per_s",
                "Growth of throttle",
                "Shares of full throttle in a second. Nothing slows the way back to neutral.",
                "/s",
                weaker="higher",
                meaning=lambda value, before: (
                    f"From neutral to full throttle takes {1 / value:.2f} s, not {1 / before:.2f} s: "
                    "a wrong decision is fast sooner."
                ),
            ),
        ),
    ),
    Group(
        "camera",
        "Camera",
        "",
        (
            Field(
                "camera.exposure_ms",
                "Exposure",
                "Locked, the picture changes with the room and never by itself. Short is sharp.",
                "ms",
                "The camera chooses",
                "8",
                "by share",
            ),
            Field(
                "camera.gain",
                "Gain",
                "In the camera's own steps.",
                unset="As the camera has it",
                first="32",
                slider="even",
            ),
            Field(
                "camera.white_balance_k",
                "White balance",
                "Colour of the light: bulbs 2700, daylight 6500.",
                "K",
                "The camera chooses",
                "4500",
                "even",
            ),
            Field("camera.source", "Where pictures come from", "Such as v4l2:/dev/v4l/by-id/…"),
            Field("camera.width_px", "Width", unit="px"),
            Field("camera.height_px", "Height", unit="px"),
            Field("camera.rate_hz", "Pictures a second", unit="Hz"),
            Field("camera.power_line_hz", "Lamps flicker at", "0 leaves the camera as it is.", "Hz"),
            Field("camera.rotate_180", "It hangs upside down"),
            Field("camera.mask_above", "Hidden from policies", "Share of the picture from its top.", "%"),
        ),
    ),
    Group(
        "board",
        "Board",
        "",
        (
            Field("board.driver", "Kind"),
            Field("board.port", "Port", "Such as /dev/serial/by-id/…; never guessed."),
            Field("board.steering_channel", "Steering channel", "Of a Maestro."),
            Field("board.throttle_channel", "Throttle channel", "Of a Maestro."),
        ),
    ),
    Group(
        "sensors",
        "More sensors",
        "Read only while a policy looks at them.",
        (
            Field("right_camera.source", "Right camera", "The second eye of a pair; empty: there is none."),
            Field("lidar.source", "LIDAR", "Such as rplidar:/dev/serial/by-id/…; empty: there is none."),
            Field("lidar.zero_points_deg", "Its zero points", "Left of straight ahead.", "°"),
            Field("lidar.upside_down", "It hangs upside down"),
        ),
    ),
    Group(
        "runs",
        "Runs",
        "In effect at once.",
        (
            Field(
                "runs.quota_gb",
                "Room for all runs",
                "When they take more, the oldest without a star are removed after the next drive. 1 GB of "
                "the disk stays free in any case.",
                "GB",
            ),
        ),
    ),
    Group(
        "failsafe",
        "Failsafe",
        "When the car stops by itself. Beyond these ranges a failsafe would not deserve its name.",
        (
            Field(
                "failsafe.frame_overdue_s",
                "No picture for longer than",
                "After a picture should have come.",
                "ms",
                weaker="higher",
                meaning=lambda value, before: (
                    f"A car that sees nothing drives on for {_ms(value)} after a picture should have come, "
                    f"not {_ms(before)}: {_farther(value, before)}."
                ),
            ),
            Field(
                "failsafe.acknowledged_age_s",
                "Board silent for longer than",
                "Since the newest command that it has acknowledged.",
                "ms",
                weaker="higher",
                meaning=lambda value, before: (
                    f"A board that no longer answers goes unnoticed for {_ms(value)}, not {_ms(before)}. "
                    "Its own watchdog still stops the car 180 ms after the last command that it understood."
                ),
            ),
            Field(
                "failsafe.host_stall_s",
                "Computer hangs for longer than",
                "",
                "ms",
                weaker="higher",
                meaning=lambda value, before: (
                    f"A computer that hangs for up to {_ms(value)} drives on as if nothing had been, not "
                    f"only up to {_ms(before)}: {_farther(value, before)} without anybody at the wheel."
                ),
            ),
            Field(
                "failsafe.lease_hands_on_s",
                "Driver by hand silent for longer than",
                "Page or controller.",
                "ms",
                weaker="higher",
                meaning=lambda value, before: (
                    f"When the driver's page or controller is gone, their last steering and throttle stay "
                    f"for {_ms(value)}, not {_ms(before)}: {_farther(value, before)}."
                ),
            ),
            Field(
                "failsafe.lease_autonomous_s",
                "Page that started it silent for longer than",
                "While the policy drives.",
                "s",
                weaker="higher",
                meaning=lambda value, before: (
                    f"When the page that started it is gone, the car drives on by itself for {value:g} s, "
                    f"not {before:g} s: {_farther(value, before)}."
                ),
            ),
            Field(
                "failsafe.battery_critical_v",
                "Drive battery below",
                "For two seconds. 0 switches it off.",
                "V",
                weaker="lower",
                meaning=_battery,
            ),
        ),
    ),
)

FIELDS: dict[str, Field] = {field.name: field for group in GROUPS for field in group.fields}
