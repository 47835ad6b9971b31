"""A policy in whole numbers of eight bits: made and judged when its owner asks, used when its owner chooses.

Beside the float network lie `model.int8.onnx` and `int8.json`, the report with every number of the
judgement and with what it is valid for. On another processor, with another onnxruntime or another
network the float one drives: elsewhere int8 may be slower, and it multiplies differently.
"""

import contextlib
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import onnx

from models.action_space import ActionSpace, action_space
from models.bundle import PolicyBundle, check_bundle, find_bundle
from models.bundle_files import METADATA_NAME, MODEL_NAME
from models.check_report import file_sum
from models.errors import PolicyError
from models.int8_accept import (
    Agreement,
    Laps,
    Speed,
    continuous_agreement,
    discrete_agreement,
    lap_objections,
)
from models.int8_frames import FrameSource, Role
from models.int8_quantise import RECIPES, Recipe, quantise
from models.int8_summary import REPORT_BYTES_MAX, REPORT_NAME
from models.machine import Machine, this_machine
from models.metadata import ActionRange
from models.observation import Observer
from models.paced import measure_paced, shuffled_turns
from models.runtime import Feeds, PolicyRuntime, SessionSettings
from models.store_files import sync_directory

INT8_NAME = "model.int8.onnx"
CALIBRATION_FRAMES_MIN, CALIBRATION_FRAMES_MAX = 100, 400
CALIBRATION_SEED = 8
TEST_FRAMES_MAX = 6000  # a minute of inference on a slow car
SPEED_SAMPLES = 60
WARM_UP_RUNS = 10

DriveLaps = Callable[[Path], Laps]
"""Lets the policy in a folder lap in the simulated car."""
Tell = Callable[[str], None]


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One way to quantise, and how it was judged."""

    recipe: str
    agreement: Agreement
    speed: Speed
    laps: Laps | None = None
    """Of int8; None where it was not let drive."""
    objections: tuple[str, ...]
    """Empty when it is accepted."""


class Int8Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was tried for one policy, and whether the car may use it."""

    accepted: bool
    chosen: bool = False
    """By the owner."""
    policy_sha256: str
    """Of the float policy; as PolicyBundle.sha256."""
    int8_sha256: str = ""
    """Of the file beside; empty when nothing was accepted."""
    machine: Machine
    frames_from: str
    calibration_frames: int
    period_s: float
    float_laps: Laps | None = None
    trials: tuple[Trial, ...]

    def why_not(self, policy_sha256: str) -> str:
        """Return why the car must not use it now, or nothing."""
        if not self.accepted:
            return "int8 was refused: " + "; ".join(self.trials[-1].objections if self.trials else ())
        if self.policy_sha256 != policy_sha256:
            return "int8 was made from another policy; make it again"
        here = this_machine()
        if (self.machine.processor, self.machine.onnxruntime) != (here.processor, here.onnxruntime):
            return f"int8 was accepted on {self.machine.words}, and this is {here.words}; make it again here"
        return ""


def make_int8(
    source: str | Path,
    frames: FrameSource,
    *,
    into: Path,
    drive_laps: DriveLaps | None = None,
    settings: SessionSettings | None = None,
    tell: Tell = lambda _words: None,
) -> Int8Report:
    """Quantise a policy, judge it, and write the report, and the network too if it is accepted.

    Raises PolicyError when the policy or the frames cannot be used.

    Args:
        source: as models.bundle.check_bundle takes it.
        frames: where calibration and test frames come from.
        into: an empty folder to write into; `keep_int8` brings it beside the policy.
        drive_laps: for a policy that laps in the simulated car.
        settings: how both networks run while they are timed.
        tell: is told what happens, for people.

    """
    bundle, float_runtime = check_bundle(source, settings)
    float_laps: Laps | None = None
    if drive_laps is not None:
        tell("driving laps with float")
        float_laps = drive_laps(Path(source))
        if not float_laps.completed:
            raise PolicyError(
                f"{bundle.name} drives no lap in the HIL car, so it was not trained there and what it sees "
                "there says little; give recordings of this car (--frames)"
            )
    tell("reading the calibration frames")
    calibration = _calibration_feeds(bundle, frames)
    period_s = 1.0 / bundle.metadata.control_rate_hz
    trials: list[Trial] = []
    with tempfile.TemporaryDirectory(prefix=".int8-", dir=into) as scratch:
        target = Path(scratch) / MODEL_NAME
        shutil.copyfile(find_bundle(source)[1], Path(scratch) / METADATA_NAME)
        for recipe in RECIPES:
            tell(f"quantising {recipe.name} with {len(calibration)} frames")
            _quantise_with_properties(bundle.model, calibration, target, recipe)
            int8_runtime = PolicyRuntime(target, float_runtime.settings.for_int8())
            tell("comparing on the test frames")
            agreement = _compare(bundle, float_runtime, int8_runtime, frames)
            speed = _measure(float_runtime, int8_runtime, calibration[0], period_s)
            objections = [*agreement.objections, *filter(None, [speed.objection])]
            laps = None
            if drive_laps is not None and float_laps is not None and not objections:
                tell("driving laps with int8")
                laps = drive_laps(Path(scratch))
                objections += lap_objections(float_laps, laps)
            trials.append(
                Trial(
                    recipe=recipe.name,
                    agreement=agreement,
                    speed=speed,
                    laps=laps,
                    objections=tuple(objections),
                )
            )
            if not objections:
                break
        accepted = not trials[-1].objections
        report = Int8Report(
            accepted=accepted,
            policy_sha256=bundle.sha256,
            int8_sha256=file_sum(target).sha256 if accepted else "",
            machine=this_machine(),
            frames_from=frames.description,
            calibration_frames=len(calibration),
            period_s=period_s,
            float_laps=float_laps,
            trials=tuple(trials),
        )
        if accepted:
            _flush(target)
            target.replace(into / INT8_NAME)
        _write_report(into, report)
    return report


def keep_int8(made: Path, folder: Path) -> None:
    """Move what make_int8 wrote from one folder beside the policy, in place of what was there before.

    The owner's choice starts over. A kill at any moment leaves the old, the new, or float alone.
    """
    (folder / REPORT_NAME).unlink(missing_ok=True)  # never a report beside another trial's network
    if (made / INT8_NAME).is_file():
        (made / INT8_NAME).replace(folder / INT8_NAME)
    else:
        (folder / INT8_NAME).unlink(missing_ok=True)
    (made / REPORT_NAME).replace(folder / REPORT_NAME)
    sync_directory(folder)


def read_int8_report(folder: Path) -> Int8Report | None:
    """Return the report beside a policy, None where there is none; raises PolicyError for a damaged one."""
    path = folder / REPORT_NAME
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(REPORT_BYTES_MAX), type=Int8Report)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise PolicyError(f"{path} cannot be used ({error}); make int8 again") from error


def use_int8(folder: Path, policy_sha256: str, *, wanted: bool) -> Int8Report:
    """Keep the owner's choice; raises PolicyError with the reason when int8 cannot be had."""
    report = read_int8_report(folder)
    if report is None:
        raise PolicyError(f"there is no int8 of this policy in {folder}; make it first")
    why_not = report.why_not(policy_sha256) if wanted else ""
    if why_not:
        raise PolicyError(why_not)
    report = msgspec.structs.replace(report, chosen=wanted)
    _write_report(folder, report)
    return report


def network_to_run(model: Path, policy_sha256: str) -> Path:
    """Return the int8 network where the owner chose it and it is valid here, the float one otherwise."""
    with contextlib.suppress(PolicyError, OSError):
        report = read_int8_report(model.parent)
        if report is not None and report.chosen and not report.why_not(policy_sha256):
            candidate = model.with_name(INT8_NAME)
            if file_sum(candidate).sha256 == report.int8_sha256:
                return candidate
    return model


def _calibration_feeds(bundle: PolicyBundle, frames: FrameSource) -> list[Feeds]:
    rng = np.random.default_rng(CALIBRATION_SEED)
    found: list[Feeds] = []
    every = itertools.chain.from_iterable(_feeds(bundle, frames, Role.CALIBRATION))
    for number, feeds in enumerate(every):  # from all drives alike, without holding all of them
        if len(found) < CALIBRATION_FRAMES_MAX:
            found.append(feeds)
        elif (place := int(rng.integers(number + 1))) < CALIBRATION_FRAMES_MAX:
            found[place] = feeds
    if len(found) < CALIBRATION_FRAMES_MIN:
        raise PolicyError(
            f"{frames.description} gives {len(found)} frames to calibrate with, at least "
            f"{CALIBRATION_FRAMES_MIN} needed; record two minutes of driving and give that"
        )
    return found


def _feeds(bundle: PolicyBundle, frames: FrameSource, role: Role) -> Iterable[Iterable[Feeds]]:
    for drive in frames.drives(role):
        observer = Observer(bundle.inputs)
        yield (observer.observe(sight) for sight in drive)


def _compare(
    bundle: PolicyBundle, float_runtime: PolicyRuntime, int8_runtime: PolicyRuntime, frames: FrameSource
) -> Agreement:
    space = action_space(bundle.metadata)
    float_rows: list[npt.NDArray[np.float64]] = []
    int8_rows: list[npt.NDArray[np.float64]] = []
    lengths: list[int] = []
    span = bundle.metadata.action_space if isinstance(bundle.metadata.action_space, ActionRange) else None
    for drive in _feeds(bundle, frames, Role.TEST):
        before = len(float_rows)
        for feeds in drive:
            float_rows.append(_answer(float_runtime.infer(feeds), space, span))
            int8_rows.append(_answer(int8_runtime.infer(feeds), space, span))
            if len(float_rows) >= TEST_FRAMES_MAX:
                break
        lengths.append(len(float_rows) - before)
        if len(float_rows) >= TEST_FRAMES_MAX:
            break
    width = 2 if span is not None else space.output_count
    judge = continuous_agreement if span is not None else discrete_agreement
    return judge(np.array(float_rows).reshape(-1, width), np.array(int8_rows).reshape(-1, width), lengths)


def _answer(
    output: npt.NDArray[np.generic], space: ActionSpace, span: ActionRange | None
) -> npt.NDArray[np.float64]:
    """Return scores of a list of actions, or steering and speed as shares of their ranges."""
    chosen = space.decode(output)  # refuses what is not finite
    if span is None:
        return output.ravel().astype(np.float64)
    steering_low, steering_high = np.radians([span.steering_low_deg, span.steering_high_deg])
    steering = (chosen.steering_rad - steering_low) / (steering_high - steering_low)
    speed = (chosen.speed_mps - span.speed_low_mps) / (span.speed_high_mps - span.speed_low_mps)
    return np.array([steering, speed])


def _measure(
    float_runtime: PolicyRuntime, int8_runtime: PolicyRuntime, feeds: Feeds, period_s: float
) -> Speed:
    ways: dict[str, Callable[[], object]] = {
        "float": lambda: float_runtime.infer(feeds),
        "int8": lambda: int8_runtime.infer(feeds),
    }
    for way in ways.values():
        for _ in range(WARM_UP_RUNS):
            way()
    times = measure_paced(ways, shuffled_turns([*ways], SPEED_SAMPLES), period_s)
    return Speed(times["float"].p50_ms, times["float"].p99_ms, times["int8"].p50_ms, times["int8"].p99_ms)


def _quantise_with_properties(model: Path, calibration: list[Feeds], target: Path, recipe: Recipe) -> None:
    """Quantise and keep what the file says of itself: its input's range, colour and layout."""
    quantise(model, calibration, target, recipe)
    stated = onnx.load(str(model), load_external_data=False).metadata_props
    proto = onnx.load(str(target))
    del proto.metadata_props[:]
    proto.metadata_props.extend(stated)
    onnx.save(proto, str(target))


def _write_report(folder: Path, report: Int8Report) -> None:
    fresh = folder / f".{REPORT_NAME}.new"
    fresh.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    _flush(fresh)
    fresh.replace(folder / REPORT_NAME)


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
