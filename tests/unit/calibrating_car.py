"""A car on its stand for the tests of the calibration page: keeps a lease, obeys, and reads the saved file.

It follows `vehicle.operator` and `vehicle.loop` as far as the page can see them; what the real ones do is
tested in `tests/hil/test_calibrates.py`.
"""

import threading
import time
from pathlib import Path
from typing import Any

from calibration import store
from calibration.car import AWS_DEFAULTS, HIL_AWS, CarCalibration
from calibration.errors import CalibrationError
from tests.unit.polled_car import PolledCar
from tests.unit.still_car import status_with
from vehicle.errors import VehicleSilentError
from vehicle.messages import Actuator, DriveState, Fault, Preview, Reply, RequestKind, Status
from vehicle.operator import CALIBRATION_SILENCE_LIMIT_S

LEASE_S = 0.3


class CalibratingCar(PolledCar):
    """What the page sees of a vehicle; every test may bend its attributes. Safe in any thread."""

    version_note = ""

    def __init__(self, path: Path, *, is_calibrated: bool = True) -> None:
        self.path = path
        self.is_calibrated = is_calibrated
        self.calibration: CarCalibration = HIL_AWS if is_calibrated else AWS_DEFAULTS
        self.state = DriveState.DISARMED
        self.prepared: Actuator | None = None
        self.rest_us = (self.calibration.steering.center_us, self.calibration.throttle.neutral_us)
        self.asked_us: tuple[float, float] = (0.0, 0.0)
        self.driver = ""
        self.renewed_s = 0.0
        self.note = ""
        self.board_note = ""
        self.silent = False
        self.refusals: dict[RequestKind, str] = {}
        self.storing_until_s = 0.0
        self.arming_s = 0.05
        self.lease_s = LEASE_S
        self.silence_s = CALIBRATION_SILENCE_LIMIT_S
        self.speed_cap_frac = 0.3
        self.hand = (0.0, 0.0)
        self.asked: list[tuple[RequestKind, dict[str, Any]]] = []
        self.stops = 0
        self._target: DriveState | None = None
        self._armed_at_s = 0.0
        self._lock = threading.RLock()

    @property
    def kinds(self) -> list[RequestKind]:
        """What was asked for, renewals left out."""
        return [kind for kind, _ in self.asked if kind is not RequestKind.RENEW_LEASE]

    def _pass_time(self) -> None:
        now_s = time.monotonic()
        moving = self.state not in {DriveState.DISARMED, DriveState.FAILSAFE}
        if now_s - self.renewed_s > self.silence_s:
            self.asked_us = (0.0, 0.0)
        if moving and now_s - self.renewed_s > self.lease_s:
            self.state, self.prepared = DriveState.FAILSAFE, None
        if self.state is DriveState.ARMING and now_s > self._armed_at_s and self._target is not None:
            self.state = self._target

    def status(self) -> Status | None:
        """Return the car at a glance."""
        if self.silent:
            return None
        with self._lock:
            self._pass_time()
            failed = self.state is DriveState.FAILSAFE
            return status_with(
                now_ns=time.monotonic_ns(),
                state=self.state,
                latched_fault=Fault.LEASE_LOST if failed else None,
                sentence="Stopped: The page went silent." if failed else f"It is {self.state.value}.",
                driver=self.driver,
                speed_cap_frac=self.speed_cap_frac,
                board_note=self.board_note,
                is_calibrated=self.is_calibrated,
                calibration_name=self.calibration.name,
                calibration_version=self.calibration.version,
                calibration_file=str(self.path),
                calibration_note=self.note,
                calibrating=self.prepared.value if self.prepared else "",
                is_storing=time.monotonic() < self.storing_until_s,
                steering_us=self.asked_us[0] or self.rest_us[0],
                throttle_us=self.asked_us[1] or self.rest_us[1],
            )

    def status_age_s(self) -> float:
        """Return how old the newest status is."""
        return 3.2 if self.silent else 0.01

    def preview(self, newer_than: int = -1, timeout_s: float = 1.0) -> Preview | None:
        """Return no picture: calibrating needs none."""
        time.sleep(timeout_s)
        return None

    def emergency_stop(self, timeout_s: float = 0.5) -> Reply:
        """Stop for anybody."""
        with self._lock:
            self.stops += 1
            self.state, self.prepared, self.asked_us = DriveState.FAILSAFE, None, (0.0, 0.0)
        return Reply("1", ok=True)

    def request(self, kind: RequestKind, timeout_s: float = 1.0, **fields: Any) -> Reply:
        """Obey, or say why not."""
        if self.silent:
            raise VehicleSilentError("the vehicle did not answer in time; is it running?")
        with self._lock:
            self._pass_time()
            self.asked.append((kind, fields))
            reason = self.refusals.get(kind) or self._why_not(kind, fields) or ""
            if not reason:
                self._obey(kind, fields)
        return Reply("1", ok=not reason, reason=reason)

    def _why_not(self, kind: RequestKind, fields: dict[str, Any]) -> str:
        source, now_s = fields.get("source", ""), time.monotonic()
        if kind is RequestKind.DISARM:
            return ""
        if kind is RequestKind.TAKE_LEASE:
            held = self.driver not in {"", source} and now_s - self.renewed_s < LEASE_S
            return f"{self.driver} drives; wait until they let go" if held else ""
        if source != self.driver:
            return "nobody holds the lease; take the lease first"
        stands = {RequestKind.START, RequestKind.PREPARE_CALIBRATION, RequestKind.RELOAD_CALIBRATION}
        if kind in stands and self.state is not DriveState.DISARMED:
            return f"the car is {self.state.value}; disarm first"
        if kind is RequestKind.START and now_s < self.storing_until_s:
            return "the board is being told this car's pulses; that takes less than a second"
        if kind is RequestKind.CALIBRATION_PULSE and self.state is not DriveState.CALIBRATING:
            return f"the car is {self.state.value}; start calibrating first"
        return ""

    def _obey(self, kind: RequestKind, fields: dict[str, Any]) -> None:
        now_s = time.monotonic()
        if kind in {RequestKind.TAKE_LEASE, RequestKind.RENEW_LEASE}:
            self.driver, self.renewed_s = fields["source"], now_s
        elif kind is RequestKind.RELEASE_LEASE:
            self.driver = ""
        elif kind is RequestKind.PREPARE_CALIBRATION:
            self.prepared = fields["actuator"]
            self.rest_us = (fields["steering_us"], fields["throttle_us"])
            self.storing_until_s = now_s + 0.02
        elif kind is RequestKind.START:
            self.state, self._target = DriveState.ARMING, fields["target"]
            self._armed_at_s = now_s + self.arming_s
        elif kind is RequestKind.DISARM:
            self.state, self.prepared, self.asked_us = DriveState.DISARMED, None, (0.0, 0.0)
            self.hand = (0.0, 0.0)
        elif kind is RequestKind.CALIBRATION_PULSE:
            self.asked_us = (fields.get("steering_us", 0.0), fields.get("throttle_us", 0.0))
        elif kind is RequestKind.DRIVE:
            self.hand = (fields["steering_frac"], fields["throttle_frac"])
        elif kind is RequestKind.SET_SPEED_CAP:
            self.speed_cap_frac = fields["speed_cap_frac"]
        elif kind is RequestKind.RELOAD_CALIBRATION:
            self._reload(now_s)

    def _reload(self, now_s: float) -> None:
        self.storing_until_s = now_s + 0.02
        try:
            self.calibration, self.is_calibrated, self.note = store.load(self.path), True, ""
        except CalibrationError as error:
            self.note = str(error)
        self.rest_us = (self.calibration.steering.center_us, self.calibration.throttle.neutral_us)
