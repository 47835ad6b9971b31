"""A policy tried on pictures and scans before it may drive, and what its owner should know of the answers."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from models.action_space import action_space
from models.bundle import PolicyBundle
from models.check_frames import blank_sight, mirrored, random_sights, seen_sights
from models.check_report import NetworkInput, Response
from models.errors import PolicyError, PolicyOutputError
from models.metadata import ActionRange, PolicyMetadata
from models.observation import CameraInput, Observer, Sight
from models.runtime import PolicyRuntime

INFERENCE_SHARE = 0.7  # of a control period; the rest is for picture, loop and page
RATES_HZ = (120.0, 60.0, 30.0, 20.0, 15.0, 10.0, 7.5, 5.0)  # a car decides at 5 to 120 Hz
MIRRORED_SHOWN = 4


class Trial:
    """One policy and its session, asked what it would do."""

    def __init__(self, bundle: PolicyBundle, runtime: PolicyRuntime) -> None:
        self.bundle = bundle
        self._runtime = runtime
        self._space = action_space(bundle.metadata)

    def answer(self, sight: Sight, picture: str) -> Response:
        """Return the policy's answer to one sight, alone; raises PolicyError naming the picture."""
        try:
            output = self._runtime.infer(self.feeds(sight))
            chosen = self._space.decode(output)
        except PolicyOutputError as error:
            raise PolicyError(f"on the picture {picture!r} {error}") from error
        return Response(
            picture=picture,
            output=tuple(float(value) for value in np.asarray(output, np.float64).ravel()),
            index=chosen.index,
            steering_deg=math.degrees(chosen.steering_rad),
            speed_mps=chosen.speed_mps,
        )

    def responses(self) -> tuple[Response, ...]:
        """Return the answers to nothing, to what the HIL car saw, to some of it mirrored, and to noise."""
        seen = seen_sights()
        asked = [("blank", blank_sight())]
        asked += [(f"frame {index}", sight) for index, sight in enumerate(seen)]
        asked += [
            (f"frame {index} mirrored", mirrored(sight)) for index, sight in enumerate(seen[:MIRRORED_SHOWN])
        ]
        asked += [(f"random {index}", sight) for index, sight in enumerate(random_sights())]
        return tuple(self.answer(sight, picture) for picture, sight in asked)

    def feeds(self, sight: Sight | None = None) -> Mapping[str, npt.NDArray[np.generic]]:
        """Return the network's inputs for one sight, the first of the shipped ones where none is given."""
        return Observer(self.bundle.inputs).observe(seen_sights()[0] if sight is None else sight)

    def inputs(self) -> tuple[NetworkInput, ...]:
        """Return each input of the network and what the car feeds it."""
        infos = {info.name: info for info in self._runtime.inputs}
        return tuple(
            NetworkInput(
                name=part.name,
                sensor=part.sensor.value,
                shape=infos[part.name].shape,
                type=infos[part.name].type,
                meaning=_meaning(part),
            )
            for part in self.bundle.inputs
        )


def _meaning(part: object) -> str:
    if not isinstance(part, CameraInput):
        return "ranges of the LIDAR"
    form = part.format
    count = f"{form.frame_stack} pictures, " if form.frame_stack > 1 else ""
    return f"{form.color}, {form.width_px} x {form.height_px}, {count}{form.range}, {form.layout}"


def timing_warning(rate_hz: float, p99_ms: float) -> str:
    """Return what an owner should know when the network is slow for its control rate, or nothing.

    Raises PolicyError when it is too slow for any rate at which a car decides.
    """
    if p99_ms <= INFERENCE_SHARE * 1e3 / rate_hz:
        return ""
    possible = [rate for rate in RATES_HZ if rate < rate_hz and p99_ms <= INFERENCE_SHARE * 1e3 / rate]
    if not possible:
        raise PolicyError(
            f"one decision takes {p99_ms:.0f} ms here, allowed are "
            f"{INFERENCE_SHARE * 1e3 / RATES_HZ[-1]:.0f} ms "
            f"(at {RATES_HZ[-1]:g} Hz, the slowest at which a car decides); train a smaller network"
        )
    return (
        f"One decision takes {p99_ms:.1f} ms here (99 of 100), too slow for {rate_hz:g} Hz, fine for "
        f"{possible[0]:g} Hz: set control.rate_hz = {possible[0]:g} in car.toml, or train a smaller network."
    )


def answer_warnings(description: PolicyMetadata, responses: Sequence[Response]) -> tuple[str, ...]:
    """Return what looks wrong in the answers without forbidding the policy to drive."""
    frames = [response for response in responses if response.picture.startswith("frame")]
    said = []
    if len({response.output for response in frames}) == 1:
        said.append("It answers every picture alike: it does not look, or its input range is wrong.")
    elif len({(response.index, response.steering_deg) for response in frames}) == 1 and _has_choice(
        description
    ):
        said.append("It chose the same action for every picture tried; watch its first lap closely.")
    if all(response.speed_mps <= 0.0 for response in frames):
        said.append("It never wanted to drive forward on the pictures tried, so it may stand still.")
    return tuple(said)


def _has_choice(description: PolicyMetadata) -> bool:
    return isinstance(description.action_space, ActionRange) or len(description.action_space) > 1
