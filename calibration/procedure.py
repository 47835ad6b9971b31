"""The steps of a calibration as data: what to say, which actuator may move, how far, what is wanted back.

Steering comes first, and neutral before every other throttle pulse: whoever tries a pulse must already
know where the motor rests (`docs/decisions/0093-*`). A draft is a calibration in the making: the fields
that were answered, by their dotted names.
"""

import enum
import math
from collections.abc import Mapping
from typing import Any

import msgspec

from calibration.car import (
    AWS_DEFAULTS,
    MIN_SPAN_US,
    PULSE_MAX_US,
    PULSE_MIN_US,
    STANDARD_1500,
    ReverseMode,
)

NEUTRAL_REACH_US = 150.0  # an AWS car's neutral is 54 us from the trade's; twice that is another car
DEAD_BAND_REACH_US = 150.0  # the widest that ESCs are sold with is 100
THROTTLE_REACH_US = 500.0  # the trade's full throttle; beyond it lies no more power
TRIAL_SHARE = 0.6  # of forward's distance from neutral: enough to pass any dead band


class Answer(enum.StrEnum):
    """What a step wants of the person."""

    CHOICE = "choice"  # one of a few
    HOLD = "hold"  # a button held down: nobody does that without having read it
    PULSE = "pulse"  # where the actuator stands when it is right
    TRIAL = "trial"  # what the wheels did
    REVIEW = "review"  # look at it, name who saves it, save


class Choice(msgspec.Struct, frozen=True):
    """One answer to choose."""

    value: str
    label: str
    note: str = ""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to do."""

    id: str
    part: str
    """`begin`, `steering`, `throttle` or `end`: what may be walked alone."""
    title: str
    prompt: str
    answer: Answer
    actuator: str = ""
    """`steering` or `throttle`: what this step may move; empty moves nothing."""
    field: str = ""
    """Dotted name in the calibration of what is answered."""
    angle_field: str = ""
    """Where the wheels' angle at that pulse goes, in rad."""
    hint: str = ""
    choices: tuple[Choice, ...] = ()
    fresh_only: bool = False
    """Asked only of a car that nobody has calibrated."""


KINDS = {"deepracer": AWS_DEFAULTS, "standard": STANDARD_1500}
"""What a walk begins with on a car that nobody has calibrated."""

STEPS: tuple[Step, ...] = (
    Step(
        id="kind",
        part="begin",
        title="Which car is it?",
        prompt="Nobody has calibrated this car. The walk begins with the pulses that cars of its kind use.",
        answer=Answer.CHOICE,
        fresh_only=True,
        choices=(
            Choice("deepracer", "AWS DeepRacer", "rests at 1446 µs, drives forward below it"),
            Choice("standard", "Another RC car", "rests at 1500 µs, as most of the trade does"),
        ),
    ),
    Step(
        id="stand",
        part="begin",
        title="Wheels off the ground",
        prompt="Put the car on a stand: no wheel may touch anything. Keep hair, sleeves and cables away.",
        answer=Answer.HOLD,
        hint="The wheels will turn, later at full speed.",
    ),
    Step(
        id="esc_off",
        part="begin",
        title="Speed controller off",
        prompt="Switch the speed controller off, or unplug the drive battery. Steering needs only the servo.",
        answer=Answer.HOLD,
        fresh_only=True,
        hint="The board does not know yet where this motor rests.",
    ),
    Step(
        id="center",
        part="steering",
        title="Wheels straight ahead",
        prompt="Nudge until both front wheels point straight ahead.",
        answer=Answer.PULSE,
        actuator="steering",
        field="steering.center_us",
        hint="Look along the car from behind. If left and right are swapped, say so with the button.",
    ),
    Step(
        id="left",
        part="steering",
        title="As far left as it goes",
        prompt="Nudge until the wheels are fully to the left, then back until the servo stops humming.",
        answer=Answer.PULSE,
        actuator="steering",
        field="steering.left_us",
        angle_field="steering.left_rad",
        hint="A servo that pushes against its end hums, gets hot and dies. Measure the angle, or keep 30°.",
    ),
    Step(
        id="right",
        part="steering",
        title="As far right as it goes",
        prompt="Nudge until the wheels are fully to the right, then back until the servo stops humming.",
        answer=Answer.PULSE,
        actuator="steering",
        field="steering.right_us",
        angle_field="steering.right_rad",
        hint="The two ends need not be alike.",
    ),
    Step(
        id="esc_on",
        part="throttle",
        title="Speed controller on",
        prompt="Switch the speed controller on now. It takes the pulse it gets for neutral.",
        answer=Answer.HOLD,
        fresh_only=True,
        hint="Listen for its beeps. The wheels stand still, or turn slowly: neutral comes next.",
    ),
    Step(
        id="neutral",
        part="throttle",
        title="Motor at rest",
        prompt="Nudge both ways until the motor sounds or turns. Neutral is the middle between the two.",
        answer=Answer.PULSE,
        actuator="throttle",
        field="throttle.neutral_us",
        hint="This is what every stop leads to. The board is told before the next step.",
    ),
    Step(
        id="forward_dead_band",
        part="throttle",
        title="Where forward begins",
        prompt="Nudge forwards, slowly, until the wheels just begin to turn.",
        answer=Answer.PULSE,
        actuator="throttle",
        field="throttle.forward_dead_band_us",
        hint="If they turn backwards there, say so with the button: then forward is the other side.",
    ),
    Step(
        id="forward",
        part="throttle",
        title="Full forward",
        prompt="Go on to the same side, to the fastest that this car shall ever drive.",
        answer=Answer.PULSE,
        actuator="throttle",
        field="throttle.forward_us",
        hint="A fifth to a third above the speed you train with is plenty. Less is easier to control.",
    ),
    Step(
        id="esc",
        part="throttle",
        title="What reverse does",
        prompt="Speed controllers differ. Short trials show what this one does with a pull to the back.",
        answer=Answer.TRIAL,
        actuator="throttle",
        field="throttle.esc",
        choices=(
            Choice(ReverseMode.NONE, "It never turns backwards", "the controller has no reverse"),
            Choice(ReverseMode.DIRECT, "Backwards at the first pull"),
            Choice(ReverseMode.DOUBLE_TAP, "Backwards at the second pull", "the first one is a brake"),
        ),
    ),
    Step(
        id="reverse_dead_band",
        part="throttle",
        title="Where reverse begins",
        prompt="Nudge to the other side until the wheels just begin to turn backwards, or to brake.",
        answer=Answer.PULSE,
        actuator="throttle",
        field="throttle.reverse_dead_band_us",
        hint="Most controllers are alike on both sides: the mark starts there.",
    ),
    Step(
        id="reverse",
        part="throttle",
        title="Full reverse",
        prompt="Go on to the fastest that this car shall ever drive backwards.",
        answer=Answer.PULSE,
        actuator="throttle",
        field="throttle.reverse_us",
        hint="Only a person drives backwards, never a policy.",
    ),
    Step(
        id="review",
        part="end",
        title="Look, then save",
        prompt="Saving writes the car's file, keeps the one before it, and tells the board.",
        answer=Answer.REVIEW,
    ),
)


def walk(part: str, *, fresh: bool) -> tuple[Step, ...]:
    """Return the steps of a walk through `all`, `steering` or `throttle`, in their order.

    A car that nobody has calibrated (`fresh`) is asked more, and walks through all of it.
    """
    parts = {"begin", "steering", "throttle", "end"} if fresh or part == "all" else {"begin", part, "end"}
    return tuple(step for step in STEPS if step.part in parts and (fresh or not step.fresh_only))


def reach_us(step: Step, neutral_us: float) -> tuple[float, float]:
    """Return the lowest and highest pulse that a step may try; a step that moves nothing has none."""
    if step.actuator == "steering":
        return PULSE_MIN_US, PULSE_MAX_US
    if step.actuator != "throttle":
        raise ValueError(f"step {step.id} moves nothing, so it has no reach; ask for one that does")
    if step.id == "neutral":
        reach = NEUTRAL_REACH_US
    elif step.id.endswith("dead_band"):
        reach = DEAD_BAND_REACH_US
    else:
        reach = THROTTLE_REACH_US
    return max(PULSE_MIN_US, neutral_us - reach), min(PULSE_MAX_US, neutral_us + reach)


def mark_us(step: Step, document: Mapping[str, Any]) -> float:
    """Return the pulse that a draft has for this step now: where the mark stands on the page's axis."""
    section, _, name = step.field.partition(".")
    if not step.id.endswith("dead_band"):
        return float(document[section][name])
    throttle = document["throttle"]
    side = 1.0 if step.id == "forward_dead_band" else -1.0
    distance_us = throttle[name] or throttle["forward_dead_band_us"]  # most controllers are alike both ways
    return float(throttle["neutral_us"] + side * _forward_sign(throttle) * distance_us)


def trial_us(document: Mapping[str, Any]) -> tuple[float, float]:
    """Return the pulses of the reverse trials: forward, and as far to the back."""
    throttle = document["throttle"]
    distance_us = TRIAL_SHARE * (throttle["forward_us"] - throttle["neutral_us"])
    return throttle["neutral_us"] + distance_us, throttle["neutral_us"] - distance_us


def answered(
    document: Mapping[str, Any], step: Step, value: Any, angle_deg: float | None = None
) -> dict[str, Any]:
    """Return a draft with a step's answer in it, and with what follows from it.

    A dead band is answered by the pulse at which it ends. Forward on the side where reverse was puts
    reverse as far to the other side, and left on the side where right was does so with right.
    """
    draft = dict(msgspec.to_builtins(document))
    section, _, name = step.field.partition(".")
    throttle = draft["throttle"]
    if step.id.endswith("dead_band"):
        if step.id == "forward_dead_band" and value != throttle["neutral_us"]:
            distance_us = max(abs(throttle["forward_us"] - throttle["neutral_us"]), MIN_SPAN_US)
            _turn_forward(throttle, math.copysign(distance_us, value - throttle["neutral_us"]))
        value = abs(value - throttle["neutral_us"])
    if step.id == "left":
        _turn_left(draft["steering"], value)
    if step.id == "forward":
        _turn_forward(throttle, value - throttle["neutral_us"])
    draft[section][name] = value
    if step.angle_field and angle_deg is not None:
        _, _, angle_name = step.angle_field.partition(".")
        draft[section][angle_name] = math.radians(abs(angle_deg)) * (
            1.0 if angle_name == "left_rad" else -1.0
        )
    return draft


def _turn_left(steering: dict[str, Any], left_us: float) -> None:
    """Put right on the other side of the centre, as far away as a pulse may be, where it was on this one."""
    center_us = steering["center_us"]
    if (steering["right_us"] - center_us) * (left_us - center_us) >= 0.0:
        steering["right_us"] = min(PULSE_MAX_US, max(PULSE_MIN_US, 2.0 * center_us - left_us))


def _turn_forward(throttle: dict[str, Any], distance_us: float) -> None:
    """Put forward this far from neutral; reverse must lie on the other side."""
    neutral_us = throttle["neutral_us"]
    throttle["forward_us"] = neutral_us + distance_us
    if (throttle["reverse_us"] - neutral_us) * distance_us >= 0.0:
        throttle["reverse_us"] = neutral_us - distance_us


def _forward_sign(throttle: Mapping[str, Any]) -> float:
    return math.copysign(1.0, throttle["forward_us"] - throttle["neutral_us"])
