"""Whether a network in whole numbers answers as its original does: the rule, over both their answers.

Frames come in drives: runs of pictures that followed each other. A miss is a frame on which the two
differ by more than the usual tolerance; two in a row may be, three may not, because the car then acts
on three wrong decisions before it sees its way again.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

FRAMES_MIN = 2000
WITHIN_FRAC_MIN = 0.995
MISSES_IN_A_ROW_MAX = 2
ACTIONS_USED_MIN = 3
PROBABILITY_LOSS_USUAL, PROBABILITY_LOSS_WORST = 0.02, 0.10
RANGE_SHARE_USUAL, RANGE_SHARE_WORST = 0.02, 0.10
RANGE_PARTS = 20  # a continuous policy has used as many actions as twentieths of its steering range
SPEEDUP_MIN_FRAC = 0.05  # of the float median; below, noise decides
LAP_TIME_FRAC = 0.02

Floats = npt.NDArray[np.floating[Any]]


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """How far two networks agree."""

    frames: int
    within_frac: float
    """Share of frames within the usual tolerance."""
    worst: float
    """Largest loss of probability, or largest difference as a share of its range."""
    misses_in_a_row: int
    actions_used: int
    """By the float policy: different actions, or twentieths of its steering range."""
    objections: tuple[str, ...]
    """Why this is not enough, in sentences; empty when it is."""


class Speed(msgspec.Struct, frozen=True):
    """Inference once per control period, in ms."""

    float_p50_ms: float
    float_p99_ms: float
    int8_p50_ms: float
    int8_p99_ms: float

    @property
    def objection(self) -> str:
        """Why it is not fast enough, or nothing."""
        if self.int8_p50_ms <= (1.0 - SPEEDUP_MIN_FRAC) * self.float_p50_ms:
            return ""
        return (
            f"int8 takes {self.int8_p50_ms:.2f} ms here and float {self.float_p50_ms:.2f} ms; "
            "keep float, it is no slower"
        )


class Laps(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy drove in the simulated car, over all tracks."""

    wanted: int
    completed_on: dict[str, int]
    """On each track."""
    median_s: dict[str, float | None]
    """Median lap of each track; None where no lap counts."""

    @property
    def completed(self) -> int:
        """On all tracks."""
        return sum(self.completed_on.values())


def discrete_agreement(float_scores: Floats, int8_scores: Floats, drive_lengths: Sequence[int]) -> Agreement:
    """Judge scores of shape (frames, actions) by the float probability of int8's choices."""
    probabilities = _probabilities(float_scores)
    rows = np.arange(len(probabilities))
    loss = probabilities.max(axis=1) - probabilities[rows, int8_scores.argmax(axis=1)]
    used = len(np.unique(float_scores.argmax(axis=1)))
    return _agreement(
        loss,
        drive_lengths,
        used,
        (PROBABILITY_LOSS_USUAL, PROBABILITY_LOSS_WORST),
        "probability",
        streaks=True,
    )


def continuous_agreement(
    float_shares: Floats, int8_shares: Floats, drive_lengths: Sequence[int]
) -> Agreement:
    """Judge steering and speed of shape (frames, 2), each as a share of its range, 0 to 1."""
    difference = np.abs(float_shares - int8_shares).max(axis=1)
    parts = np.clip((float_shares[:, 0] * RANGE_PARTS).astype(int), 0, RANGE_PARTS - 1)
    return _agreement(
        difference,
        drive_lengths,
        len(np.unique(parts)),
        (RANGE_SHARE_USUAL, RANGE_SHARE_WORST),
        "share of the range",
        streaks=False,
    )


def lap_objections(float_laps: Laps, int8_laps: Laps) -> tuple[str, ...]:
    """Return why int8 does not lap as float does."""
    objections = []
    for track, float_count in float_laps.completed_on.items():
        int8_count = int8_laps.completed_on.get(track, 0)
        if int8_count != float_count:
            objections.append(
                f"on {track} int8 drove {int8_count} laps and float {float_count}; "
                "they must drive the same; keep float"
            )
    for track, float_s in float_laps.median_s.items():
        int8_s = int8_laps.median_s.get(track)
        if float_s is not None and (int8_s is None or abs(int8_s - float_s) > LAP_TIME_FRAC * float_s):
            shown = "no lap" if int8_s is None else f"a lap in {int8_s:.2f} s"
            objections.append(
                f"on {track} int8 drove {shown} and float one in {float_s:.2f} s; "
                f"allowed is a difference of {LAP_TIME_FRAC:.0%}; keep float"
            )
    return tuple(objections)


def _probabilities(scores: Floats) -> Floats:
    """Return scores as probabilities: as they are where they are such, through softmax otherwise."""
    exact = scores.astype(np.float64)
    if (exact >= 0.0).all() and np.allclose(exact.sum(axis=1), 1.0, atol=1e-3):
        return exact
    powers = np.exp(exact - exact.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _agreement(
    loss: Floats,
    drive_lengths: Sequence[int],
    used: int,
    tolerances: tuple[float, float],
    unit: str,
    *,
    streaks: bool,
) -> Agreement:
    usual, most = tolerances
    is_miss = ~(loss <= usual)  # a NaN is a miss
    frames = len(loss)
    within = 1.0 - float(is_miss.mean()) if frames else 0.0
    worst = float(loss.max()) if frames else 0.0
    in_a_row = max((_longest_run(part) for part in _by_drive(is_miss, drive_lengths)), default=0)
    objections = []
    if frames < FRAMES_MIN:
        objections.append(
            f"{frames} different frames to compare on, at least {FRAMES_MIN} needed; record more"
        )
    if used < ACTIONS_USED_MIN:
        objections.append(
            f"the frames make the policy use {used} actions, at least {ACTIONS_USED_MIN} needed; "
            "record a drive with curves to both sides"
        )
    if within < WITHIN_FRAC_MIN:
        objections.append(
            f"{within:.2%} of the frames within {usual:g} of {unit}, at least {WITHIN_FRAC_MIN:.1%} needed; "
            "keep float"
        )
    if not worst <= most:
        objections.append(f"the worst frame is off by {worst:.3f} of {unit}, allowed {most:g}; keep float")
    if streaks and in_a_row > MISSES_IN_A_ROW_MAX:
        objections.append(f"{in_a_row} misses in a row, allowed {MISSES_IN_A_ROW_MAX}; keep float")
    return Agreement(
        frames=frames,
        within_frac=within,
        worst=worst,
        misses_in_a_row=in_a_row,
        actions_used=used,
        objections=tuple(objections),
    )


def _by_drive(values: npt.NDArray[np.bool_], lengths: Sequence[int]) -> list[npt.NDArray[np.bool_]]:
    assert sum(lengths) == len(values)
    return np.split(values, np.cumsum(lengths)[:-1]) if lengths else []


def _longest_run(values: npt.NDArray[np.bool_]) -> int:
    longest = run = 0
    for value in values.tolist():
        run = run + 1 if value else 0
        longest = max(longest, run)
    return longest
