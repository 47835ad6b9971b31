"""From pulses to motion: servo, ESC, motor, tyres and a bicycle model of one car or of many at once.

The same code runs on Python floats (one car, `ONE`) and on NumPy arrays (`MANY`); a test holds the two
together. The numbers here are what the simulated car *is*. What the software believes about it is its
calibration, which may be wrong.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

STEP_S = 1 / 300  # of the motion; 6 steps between two pulses, 20 in a decision at 15 Hz
STEPS_PER_S = 300
PULSE_PERIOD_S = 0.020  # servo outputs run at 50 Hz
GRAVITY_MPS2 = 9.81
LOCK_RAD = math.radians(30)

REVERSE_NONE, REVERSE_DIRECT, REVERSE_DOUBLE_TAP = 0.0, 1.0, 2.0  # what an ESC does beyond neutral

Value: TypeAlias = Any
"""A float, or an array with one element per car."""


@dataclasses.dataclass(frozen=True)
class Mathematics:
    """The functions that differ between one car and many."""

    where: Callable[[Value, Value, Value], Value]
    minimum: Callable[[Value, Value], Value]
    maximum: Callable[[Value, Value], Value]
    sqrt: Callable[[Value], Value]
    sin: Callable[[Value], Value]
    cos: Callable[[Value], Value]
    tan: Callable[[Value], Value]
    tanh: Callable[[Value], Value]
    sign: Callable[[Value], Value]
    """-1, 0 or 1."""


def _pick(condition: bool, yes: float, no: float) -> float:
    return yes if condition else no


def _sign(value: float) -> float:
    return 1.0 if value > 0 else -1.0 if value < 0 else 0.0


ONE = Mathematics(_pick, min, max, math.sqrt, math.sin, math.cos, math.tan, math.tanh, _sign)
MANY = Mathematics(np.where, np.minimum, np.maximum, np.sqrt, np.sin, np.cos, np.tan, np.tanh, np.sign)


@dataclasses.dataclass(frozen=True)
class CarParameters:
    """What one simulated car is; each field is a float here and an array in a batch."""

    neutral_us: Value = 1446.0
    forward_us: Value = 1311.0
    """Full forward; below neutral on the AWS car."""
    reverse_us: Value = 1603.5
    forward_dead_band_us: Value = 8.0
    """Pulses this near neutral move nothing."""
    reverse_dead_band_us: Value = 8.0
    reverse_mode: Value = REVERSE_DOUBLE_TAP
    arming_s: Value = 1.0
    """Of neutral pulses after power-up before the ESC drives at all."""
    left_us: Value = 1700.0
    center_us: Value = 1450.0
    right_us: Value = 1200.0
    left_rad: Value = LOCK_RAD
    right_rad: Value = -LOCK_RAD
    steering_gain: Value = 1.0
    trim_rad: Value = 0.0
    """Of the front wheels while the servo is at its centre."""
    servo_tau_s: Value = 0.07
    servo_rate_radps: Value = 6.0
    """Fastest turn of the front wheels."""
    wheelbase_m: Value = 0.165
    top_speed_mps: Value = 4.0
    """At full forward with a full battery."""
    reverse_share: Value = 0.5
    """Top speed backwards, as a share of that forwards."""
    battery_gain: Value = 1.0
    """Share of the top speed that this battery gives."""
    motor_tau_s: Value = 0.25
    coast_mps2: Value = 2.0
    """Deceleration of a car that rolls in neutral."""
    drag_per_s: Value = 0.15
    brake_mps2: Value = 4.0
    grip: Value = 0.8
    """Coefficient of friction between tyres and floor."""
    scrub: Value = 0.15
    """Share of the sideways acceleration that the tyres cannot give which is lost as speed."""

    def randomised(self, rng: np.random.Generator) -> "CarParameters":
        """Return another car of this kind: other tyres, battery, servo and assembly."""

        def between(low: float, high: float) -> float:
            return float(rng.uniform(low, high))

        return dataclasses.replace(
            self,
            steering_gain=self.steering_gain * between(0.85, 1.1),
            trim_rad=self.trim_rad + float(np.clip(rng.normal(0.0, 0.02), -0.05, 0.05)),
            servo_tau_s=between(0.04, 0.14),
            servo_rate_radps=between(4.0, 9.0),
            battery_gain=between(0.8, 1.1),
            motor_tau_s=between(0.12, 0.45),
            coast_mps2=between(1.2, 3.2),
            grip=between(0.5, 1.1),
        )


AWS_CAR = CarParameters()
STANDARD_CAR = CarParameters(
    neutral_us=1500.0,
    forward_us=1900.0,
    reverse_us=1100.0,
    forward_dead_band_us=25.0,
    reverse_dead_band_us=25.0,
    left_us=1900.0,
    center_us=1500.0,
    right_us=1100.0,
)
"""The same car with other electronics: neutral 1500, forward 1900."""


def stacked(cars: Sequence[CarParameters]) -> CarParameters:
    """Return the parameters of several cars as one set of arrays."""
    names = [field.name for field in dataclasses.fields(CarParameters)]
    return CarParameters(
        **{name: np.array([getattr(car, name) for car in cars], dtype=np.float64) for name in names}
    )


@dataclasses.dataclass(slots=True)
class CarState:
    """Where a car is and what its parts are doing. The point is the middle of the rear axle."""

    x_m: Value = 0.0
    y_m: Value = 0.0
    yaw_rad: Value = 0.0
    speed_mps: Value = 0.0
    yaw_rate_radps: Value = 0.0
    steering_rad: Value = 0.0
    """Of the front wheels, positive left."""
    travelled_m: Value = 0.0
    """What the wheels have rolled, either way; never falls."""
    servo_rad: Value = 0.0
    """Where the servo was told to go."""
    drive_share: Value = 0.0
    """What the ESC gives the motor: -1 to 1."""
    brake_share: Value = 0.0
    neutral_s: Value = 0.0
    """Neutral pulses seen before arming."""
    esc_armed: Value = 0.0
    reverse_phase: Value = 0.0
    """Of a double-tap ESC: 0 after forward, 1 first pull (brakes), 2 released: the next pull reverses."""


def many_states(count: int) -> CarState:
    """Return the state of several cars standing at the origin."""
    return CarState(**{field.name: np.zeros(count) for field in dataclasses.fields(CarState)})


def arm(state: CarState) -> None:
    """Make the ESC one that has seen its neutral already."""
    state.esc_armed = state.esc_armed * 0 + 1.0
    state.neutral_s = state.neutral_s * 0 + 60.0


def receive_pulses(
    state: CarState, steering_us: Value, throttle_us: Value, car: CarParameters, maths: Mathematics
) -> None:
    """Let servo and ESC take one pair of pulses (0: none). To be called every 20 ms."""
    where, minimum, maximum = maths.where, maths.minimum, maths.maximum

    # The servo goes limp without a pulse: the wheels stay where they were told to go last.
    left = (steering_us - car.center_us) / (car.left_us - car.center_us)
    right = (steering_us - car.center_us) / (car.right_us - car.center_us)
    angle = where(left >= 0, minimum(left, 1.0) * car.left_rad, minimum(right, 1.0) * car.right_rad)
    state.servo_rad = where(steering_us > 0, angle * car.steering_gain + car.trim_rad, state.servo_rad)

    side = where(car.forward_us > car.neutral_us, 1.0, -1.0)
    pull = (throttle_us - car.neutral_us) * side
    forward_us, reverse_us = (
        (car.forward_us - car.neutral_us) * side,
        (car.neutral_us - car.reverse_us) * side,
    )
    forward = minimum(
        maximum((pull - car.forward_dead_band_us) / (forward_us - car.forward_dead_band_us), 0.0), 1.0
    )
    reverse = minimum(
        maximum((-pull - car.reverse_dead_band_us) / (reverse_us - car.reverse_dead_band_us), 0.0), 1.0
    )
    present = where(throttle_us > 0, 1.0, 0.0)
    forward, reverse = forward * present, reverse * present

    resting = present * where(forward + reverse > 0, 0.0, 1.0)
    seen = where(resting > 0, state.neutral_s + PULSE_PERIOD_S, 0.0)
    state.neutral_s = where(state.esc_armed > 0, state.neutral_s, seen)
    state.esc_armed = where(state.neutral_s >= car.arming_s, 1.0, state.esc_armed)

    slow = abs(state.speed_mps) < 0.3
    released = where(state.reverse_phase == 1.0, where(slow, 2.0, 1.0), state.reverse_phase)
    pulled = where(state.reverse_phase == 0.0, 1.0, state.reverse_phase)
    phase = where(
        reverse > 0, pulled, where(forward > 0, 0.0, where(resting > 0, released, state.reverse_phase))
    )
    state.reverse_phase = phase
    willing = where(car.reverse_mode == REVERSE_DIRECT, 1.0, where(phase == 2.0, 1.0, 0.0))
    willing = where(car.reverse_mode == REVERSE_NONE, 0.0, willing) * where(state.speed_mps < 0.3, 1.0, 0.0)

    state.drive_share = state.esc_armed * (forward - reverse * willing)
    state.brake_share = state.esc_armed * reverse * (1.0 - willing)


def step(state: CarState, car: CarParameters, maths: Mathematics, dt_s: float = STEP_S) -> None:
    """Move the car on by one step.

    Steering: first order with a rate limit. Speed v: toward what the motor asks for, never slowing faster
    than the car coasts. Tyres: the lateral acceleration v^2 tan(steering) / wheelbase saturates at what the
    friction circle leaves.
    """
    where, minimum, maximum = maths.where, maths.minimum, maths.maximum
    rate = (state.servo_rad - state.steering_rad) / maximum(car.servo_tau_s, dt_s)
    rate = maximum(minimum(rate, car.servo_rate_radps), -car.servo_rate_radps)
    state.steering_rad = state.steering_rad + rate * dt_s

    speed = state.speed_mps
    wanted = state.drive_share * car.top_speed_mps * car.battery_gain
    wanted = where(wanted < 0, wanted * car.reverse_share, wanted)
    pull = (wanted - speed) / car.motor_tau_s
    pace, direction = abs(speed), maths.sign(speed)
    rolling = car.coast_mps2 + car.drag_per_s * pace
    is_same_way = wanted * speed >= 0
    outrun = pace - where(is_same_way, abs(wanted), 0.0)
    coasting = -direction * minimum(maximum(outrun, 0.0) / car.motor_tau_s, rolling)
    along = where((outrun > 0) & is_same_way, coasting, pull)
    along = along - direction * state.brake_share * car.brake_mps2
    limit = car.grip * GRAVITY_MPS2
    along = maximum(minimum(along, limit), -limit)

    bend = maths.tan(state.steering_rad) / car.wheelbase_m
    across = speed * speed * bend
    left_over = limit * maths.sqrt(maximum(1.0 - (along / limit) ** 2, 0.05))
    sideways = abs(across)
    demand = sideways / left_over
    given = where(demand > 1e-6, maths.tanh(demand) / maximum(demand, 1e-6), 1.0)
    state.yaw_rate_radps = speed * bend * given

    fresh = speed + along * dt_s
    fresh = fresh - direction * minimum(car.scrub * sideways * (1.0 - given) * dt_s, pace)
    halted = (speed * fresh < 0) & (state.drive_share * fresh <= 0)
    state.speed_mps = where(halted, 0.0, fresh)

    heading = state.yaw_rad + 0.5 * state.yaw_rate_radps * dt_s
    moved = state.speed_mps * dt_s
    state.x_m = state.x_m + moved * maths.cos(heading)
    state.y_m = state.y_m + moved * maths.sin(heading)
    state.yaw_rad = state.yaw_rad + state.yaw_rate_radps * dt_s
    state.travelled_m = state.travelled_m + abs(moved)


def pose_array(state: CarState) -> npt.NDArray[np.float64]:
    """Return x, y, yaw, yaw rate and speed, 5 x cars."""
    columns = (state.x_m, state.y_m, state.yaw_rad, state.yaw_rate_radps, state.speed_mps)
    return np.array([np.atleast_1d(column) for column in columns], dtype=np.float64)
