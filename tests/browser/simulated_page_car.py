"""A car and a world for the page's browser tests: obey requests, keep laps, and record what was asked."""

import math
import threading
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from models.bundle_files import METADATA_NAME
from models.bundle_hash import hash_of_files
from tests.unit.polled_car import PolledCar
from tests.unit.still_car import status_with
from vehicle.errors import VehicleSilentError
from vehicle.messages import CameraLocks, DriveState, Fault, Preview, Reply, RequestKind, Status
from vehicle.truth import Crossing, WorldTruth
from webui.car import Trail, TrailPoint

LAP_S = 8.0
FRAME_S = 1 / 15
DRIVERS_KINDS = frozenset(
    {RequestKind.START, RequestKind.RENEW_LEASE, RequestKind.RELEASE_LEASE, RequestKind.SET_SPEED_CAP}
)


class SimulatedPageCar(PolledCar):
    """What the page sees of a vehicle and its world; every test may bend its attributes."""

    version_note = ""

    def __init__(self) -> None:
        self.state = DriveState.DISARMED
        self.driver = ""
        self.not_ready: tuple[str, ...] = ()
        self.speed_cap_frac = 0.3
        self.silent = False
        self.camera_stopped = False
        self.picture_stall_s = 0.0
        self.stalled_pictures = 0
        self.off_track = False
        self.started_ns = 0
        self.ahead_ns = 0
        """How far the world has got ahead of the clock, for a test that cannot wait for laps."""
        self.asked: list[RequestKind] = []
        self.wishes: list[tuple[RequestKind, dict[str, object]]] = []
        """What was asked for, with its fields."""
        self.refusals: dict[RequestKind, str] = {}
        self.policy, self.policy_hash, self.policy_note = "meadow-discrete", "3f9a" * 16, ""
        self.trim_us = 0.0
        self.trim_steers_right = True
        self.camera_locks = CameraLocks()
        self.calibration_file = "/nowhere/blue.json"
        self.stops_ns: list[int] = []
        self.renewed_ns = 0
        self.changed = threading.Condition()
        self.stalled = threading.Event()
        """Set it to end every stalled picture."""
        self.frame_to_wire_p99_ms = 5.8
        self._jpeg = _picture()
        self._last_picture_ns = 0

    def await_that(self, fact: Callable[[], bool], timeout_s: float = 20.0) -> bool:
        """Wait until `fact` holds after some request; False when it does not in time."""
        with self.changed:
            return self.changed.wait_for(fact, timeout_s)

    def status(self) -> Status | None:
        """Return the car at a glance."""
        if self.silent:
            return None
        driving = self.state is DriveState.AUTONOMOUS
        failed = self.state is DriveState.FAILSAFE
        sentences = {
            DriveState.DISARMED: "Standing still, disarmed.",
            DriveState.ARMING: "Getting ready: the speed controller learns neutral.",
            DriveState.AUTONOMOUS: "The policy drives.",
            DriveState.FAILSAFE: "Stopped: the emergency stop was pressed. Look at the car, then disarm.",
        }
        return status_with(
            now_ns=time.monotonic_ns(),
            state=self.state,
            faults=(Fault.EMERGENCY_STOP,) if failed else (),
            latched_fault=Fault.EMERGENCY_STOP if failed else None,
            sentence=sentences[self.state],
            not_ready=self.not_ready,
            driver=self.driver,
            speed_cap_frac=self.speed_cap_frac,
            policy=self.policy,
            policy_hash=self.policy_hash,
            policy_note=self.policy_note,
            control_rate_hz=15.0,
            camera_rate_hz=29.97,
            camera_note="640 x 480, MJPG",
            frame_age_s=0.02,
            frame_to_wire_p50_ms=3.1,
            frame_to_wire_p99_ms=self.frame_to_wire_p99_ms,
            decisions=1204 if driving else 1180,
            steering_frac=0.6 * math.sin(time.monotonic()),
            throttle_frac=0.3 if driving else 0.0,
            battery_v=7.9,
            trim_us=self.trim_us,
            trim_steers_right=self.trim_steers_right,
            calibration_file=self.calibration_file,
            camera_locks=self.camera_locks,
        )

    def now_ns(self) -> int:
        """Return the clock of every stamp."""
        return time.monotonic_ns()

    def status_age_s(self) -> float:
        """Return how old the newest status is."""
        return 3.2 if self.silent else 0.01

    def record_of(self, frame_number: int, timeout_s: float = 0.0) -> None:
        """Return nothing: this car's pictures come without what the policy made of them."""

    def preview(self, newer_than: int = -1, timeout_s: float = 1.0) -> Preview | None:
        """Return a picture at fifteen a second, None when the camera has stopped."""
        if self.picture_stall_s:
            with self.changed:
                self.stalled_pictures += 1
                self.changed.notify_all()
            self.stalled.wait(self.picture_stall_s)
            return None
        if self.silent or self.camera_stopped:
            time.sleep(timeout_s)  # as long as a real client waits
            return None
        now_ns = time.monotonic_ns()
        number = int(now_ns / 1e9 / FRAME_S)
        if number == newer_than:
            number += 1
            time.sleep(min(timeout_s, number * FRAME_S - now_ns / 1e9))
        return Preview(number, time.monotonic_ns() - 30_000_000, self._jpeg)

    def request(self, kind: RequestKind, timeout_s: float = 1.0, **fields: object) -> Reply:
        """Obey, as far as the page's buttons go."""
        if self.silent:
            raise VehicleSilentError(
                "The vehicle process did not answer within 1 s; start it with `lapwing run`."
            )
        with self.changed:
            self.asked.append(kind)
            self.wishes.append((kind, fields))
            reason = self.refusals.get(kind) or self._why_refused(kind, str(fields["source"]))
            if not reason:
                self._apply(kind, fields)
            self.changed.notify_all()
        return Reply("1", ok=not reason, reason=reason)

    def _why_refused(self, kind: RequestKind, source: str) -> str:
        if kind is RequestKind.TAKE_LEASE:
            return f"{self.driver} drives; wait until they let go" if self.driver not in {"", source} else ""
        return "take the lease first" if kind in DRIVERS_KINDS and source != self.driver else ""

    def _apply(self, kind: RequestKind, fields: dict[str, object]) -> None:
        match kind:
            case RequestKind.TAKE_LEASE:
                self.driver = str(fields["source"])
            case RequestKind.RELEASE_LEASE:
                self.driver = ""
            case RequestKind.RENEW_LEASE:
                self.renewed_ns = time.monotonic_ns()
            case RequestKind.START:
                self.state = DriveState.AUTONOMOUS
                self.started_ns = time.monotonic_ns()
            case RequestKind.DISARM:
                self.state = DriveState.DISARMED
            case RequestKind.ACTIVATE_POLICY:
                folder = Path(str(fields["policy"]))
                files = (folder / "model.onnx", folder / METADATA_NAME)
                self.policy, self.policy_hash = folder.name, hash_of_files(files)
            case RequestKind.SET_TRIM:
                self.trim_us = float(str(fields["trim_us"]))
            case RequestKind.TUNE_CAMERA:
                assert isinstance(fields["camera"], CameraLocks)
                self.camera_locks = fields["camera"]
            case RequestKind.SET_SPEED_CAP:
                self.speed_cap_frac = float(str(fields["speed_cap_frac"]))

    def emergency_stop(self, timeout_s: float = 0.5) -> Reply:
        """Fail safe, and remember when."""
        if self.silent:
            raise VehicleSilentError(
                "The vehicle process did not answer within 0.5 s; use the car's own switch."
            )
        with self.changed:
            self.state = DriveState.FAILSAFE
            self.stops_ns.append(time.monotonic_ns())
            self.changed.notify_all()
        return Reply("1", ok=True)

    def trail(self, after: int) -> Trail:
        """Return the line so far, ten points a second."""
        now_ns = time.monotonic_ns() + self.ahead_ns
        driven_s = (now_ns - self.started_ns) / 1e9 if self.started_ns else 0.0
        end = int(10 * driven_s)
        first = max(0, end - 160)
        start = max(first, after) if after <= end else first
        return Trail([TrailPoint(*_place(k / 10)) for k in range(start, end)], end)

    def truth(self) -> WorldTruth | None:
        """Return where the car is: on a bean-shaped line, a lap in eight seconds."""
        now_ns = time.monotonic_ns() + self.ahead_ns
        driven_s = (now_ns - self.started_ns) / 1e9 if self.started_ns else 0.0
        laps, in_lap_s = _laps(driven_s)
        x_m, y_m, speed_mps = _place(driven_s)
        ahead_x_m, ahead_y_m, _ = _place(driven_s + 0.01)
        return WorldTruth(
            now_ns=now_ns,
            frame_number=0,
            track="meadow",
            x_m=x_m,
            y_m=y_m,
            heading_rad=math.atan2(ahead_y_m - y_m, ahead_x_m - x_m),
            speed_mps=speed_mps,
            steering_rad=0.1,
            progress_frac=driven_s / LAP_S % 1,
            offset_m=0.0,
            off_track=self.off_track,
            crashed=False,
            laps=laps,
            lap_started_ns=now_ns - int(in_lap_s * 1e9) if self.started_ns else 0,
            servo_pulse_us=1450.0,
            esc_pulse_us=1446.0,
        )


def _laps(driven_s: float) -> tuple[tuple[Crossing, ...], float]:
    """Return the laps after so long, no two of one time, and the time since the last."""
    laps: list[Crossing] = []
    while driven_s >= (lap_s := LAP_S + 0.31 * ((len(laps) * 7) % 5)):
        laps.append(Crossing(len(laps) + 1, lap_s))
        driven_s -= lap_s
    return tuple(laps), driven_s


def _place(driven_s: float) -> tuple[float, float, float]:
    """Return x, y and speed on a bean-shaped line."""
    angle = 2 * math.pi * driven_s / LAP_S
    radius = 2.0 + 0.5 * math.cos(2 * angle) + 0.3 * math.sin(3 * angle)
    return 1.5 * radius * math.cos(angle), radius * math.sin(angle), 1.5 + math.sin(2 * angle)


def _picture() -> bytes:
    rows = np.linspace(0, 1, 480)[:, None, None]
    sky = np.array([225, 205, 180]) * (1 - rows) + np.array([120, 150, 110]) * rows
    image = np.repeat(sky, 640, axis=1).astype(np.uint8)
    image[200:] = (70, 110, 80)
    cv2.fillPoly(image, [np.array([[250, 200], [390, 200], [760, 480], [-120, 480]])], (74, 72, 70))
    cv2.polylines(
        image,
        [np.array([[250, 200], [-120, 480]]), np.array([[390, 200], [760, 480]])],
        False,
        (245, 245, 245),
        9,
    )
    for top in range(205, 480, 48):
        width = int((top - 190) / 24)
        cv2.line(image, (320, top), (320, top + 22), (60, 190, 240), max(2, width))
    ok, jpeg = cv2.imencode(".jpg", image)
    assert ok
    return jpeg.tobytes()
