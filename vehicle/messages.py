"""What crosses borders between parts and processes: frozen structs, SI units, one sign convention.

Signs, decided here and nowhere else: positive steering turns left, positive throttle is forward.
Stamps end in `_ns` and come from CLOCK_MONOTONIC (or from the world's virtual clock in lockstep).
"""

import enum
from typing import Annotated, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

SCHEMA_VERSION = 1  # of everything below that travels between processes


def _this_version() -> int:
    """Return SCHEMA_VERSION; as a factory, because `omit_defaults` leaves out what is a plain default."""
    return SCHEMA_VERSION


class DriveState(enum.StrEnum):
    """What the car is allowed to do right now."""

    DISARMED = "disarmed"  # neutral is sent, disarmed
    ARMING = "arming"  # neutral is sent, armed, until the ESC has learnt it
    MANUAL = "manual"  # a person steers and drives the throttle
    ASSISTED = "assisted"  # the policy steers, a person drives the throttle
    AUTONOMOUS = "autonomous"  # the policy does both
    CALIBRATING = "calibrating"  # one actuator at a time, wheels up
    FAILSAFE = "failsafe"  # neutral, latched until a person disarms


MOVING_STATES = frozenset(
    {DriveState.MANUAL, DriveState.ASSISTED, DriveState.AUTONOMOUS, DriveState.CALIBRATING}
)
"""States in which a pulse other than neutral may be sent."""

GUARDED_STATES = MOVING_STATES | {DriveState.ARMING}
"""States that any fault ends."""

HANDS_ON_STATES = frozenset({DriveState.MANUAL, DriveState.ASSISTED, DriveState.CALIBRATING})
"""States in which a person's hand is at work all the time."""

POLICY_STATES = frozenset({DriveState.ASSISTED, DriveState.AUTONOMOUS})
"""States in which the policy decides something."""


class Fault(enum.StrEnum):
    """Why the car stopped, or may not start; a cause stands before what follows from it."""

    EMERGENCY_STOP = "emergency stop"
    STOP_INPUT = "stop input"  # the board's own stop switch
    CLOCK_WRONG = "clock wrong"  # not advancing, or the computer was suspended
    HOST_STALLED = "host stalled"  # more than 100 ms between two ticks
    BOARD_LOST = "board lost"  # unplugged, or the port failed
    BOARD_RESET = "board reset"  # came back from a boot while driving
    BOARD_SILENT = "board silent"  # newest acknowledged command too old
    BOARD_REFUSED = "board refused"  # not armed although asked, or its stored values are not this car's
    CALIBRATION_MISSING = "calibration missing"
    CAMERA_LOST = "camera lost"  # unplugged, or the source ended
    CAMERA_STATIC = "camera static"  # a folder or a paused video in front of a real board
    CAMERA_OVERDUE = "camera overdue"  # no frame in time
    FRAME_FROM_FUTURE = "frame from the future"
    CAMERA_COVERED = "camera covered"  # nothing to see
    CAMERA_FROZEN = "camera frozen"  # new frames, same picture; a covered lens may give that too
    RIGHT_CAMERA_LOST = "right camera lost"  # the second eye of a stereo pair, as the first
    RIGHT_CAMERA_OVERDUE = "right camera overdue"
    RIGHT_CAMERA_COVERED = "right camera covered"
    RIGHT_CAMERA_FROZEN = "right camera frozen"
    STEREO_APART = "stereo apart"  # both eyes see, but not at the same time
    LIDAR_LOST = "lidar lost"
    LIDAR_OVERDUE = "lidar overdue"  # no scan in time, or none that can be read
    LIDAR_BLIND = "lidar blind"  # nothing comes back on any ray, or the same from everywhere
    LIDAR_FROZEN = "lidar frozen"  # new scans, same distances
    POLICY_MISSING = "policy missing"
    POLICY_FAILED = "policy failed"  # raised, or answered in the wrong shape
    POLICY_NOT_FINITE = "policy not finite"  # NaN or infinite
    LEASE_LOST = "lease lost"  # whoever drove went silent
    DRIVER_INPUT_MISSING = "driver input missing"  # manual or assisted without fresh input
    WHEELS_BLOCKED = "wheels blocked"
    BATTERY_CRITICAL = "battery critical"


class Actuator(enum.StrEnum):
    """What can be calibrated, one at a time."""

    STEERING = "steering"
    THROTTLE = "throttle"


CAMERA_FAULTS = frozenset(
    {
        Fault.CAMERA_LOST,
        Fault.CAMERA_STATIC,
        Fault.CAMERA_OVERDUE,
        Fault.FRAME_FROM_FUTURE,
        Fault.CAMERA_FROZEN,
        Fault.CAMERA_COVERED,
    }
)
"""Faults that calibrating bears: it needs no picture."""

POLICY_SENSOR_FAULTS = frozenset(
    {
        Fault.RIGHT_CAMERA_LOST,
        Fault.RIGHT_CAMERA_OVERDUE,
        Fault.RIGHT_CAMERA_COVERED,
        Fault.RIGHT_CAMERA_FROZEN,
        Fault.STEREO_APART,
        Fault.LIDAR_LOST,
        Fault.LIDAR_OVERDUE,
        Fault.LIDAR_BLIND,
        Fault.LIDAR_FROZEN,
    }
)
"""Faults of sensors that only a policy looks at: who drives by hand bears them."""


class Frame(msgspec.Struct, frozen=True, eq=False):
    """One camera picture."""

    number: int
    """Counts from 0 at the source; a gap means dropped frames."""
    stamp_ns: int
    """When the driver handed it over, before decoding (or the driver's own stamp)."""
    ready_ns: int
    """When it was decoded and could be used."""
    image: npt.NDArray[np.uint8]
    """Height x width x 3, BGR."""
    jpeg: bytes = b""
    """As it came from the camera; empty where the source has none."""


class DriveAction(msgspec.Struct, frozen=True):
    """What a policy or a person wants, in shares of this car's range."""

    steering_frac: float
    """-1 (full right lock) to 1 (full left lock)."""
    throttle_frac: float
    """-1 (full reverse) to 1 (full forward); 0 is neutral, any other value lies beyond the dead band."""


class DriveCommand(msgspec.Struct, frozen=True):
    """What is sent to the board in one tick."""

    armed: bool
    steering_us: float
    throttle_us: float


ExposureMs = Annotated[float, msgspec.Meta(ge=0.1, le=100.0)]
GainSteps = Annotated[int, msgspec.Meta(ge=0, le=1023)]
WhiteBalanceK = Annotated[int, msgspec.Meta(ge=2000, le=10000)]


class CameraLocks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the camera is to leave as it is; None: it chooses, as the light changes."""

    exposure_ms: ExposureMs | None = None
    gain: GainSteps | None = None
    """In the camera's own steps; None: as the camera has it."""
    white_balance_k: WhiteBalanceK | None = None


class BoardPulses(NamedTuple):
    """What a board keeps about one car: where each output rests, and how far it may go, in us."""

    steering_min_us: float
    steering_center_us: float
    steering_max_us: float
    throttle_min_us: float
    throttle_neutral_us: float
    throttle_max_us: float


class BoardStatus(msgspec.Struct, frozen=True):
    """What the board last said of itself, and how old that is."""

    connected: bool
    received_ns: int
    """When the newest valid reply was read; 0 before the first."""
    acked_sent_ns: int
    """When the newest acknowledged command was written; 0 before the first. Health is now minus this."""
    acked_armed: bool
    """Whether that command was applied as armed."""
    applied_steering_us: float = 0.0
    applied_throttle_us: float = 0.0
    neutral_acked_since_ns: int = 0
    """Since when every acknowledged command was neutral, without a gap; 0 when the last one was not."""
    boots: int = 0
    """Counts the board's resets seen since the port was opened."""
    stop_input: bool = False
    watchdog_tripped: bool = False
    battery_v: float | None = None
    wheel_ticks: int | None = None
    """Cumulative since the port was opened, wrap-around already undone; None where there is no sensor."""
    bad_packets: int = 0
    ready_to_arm: bool = False
    """Whether an armed command would be sent as armed: the board is there and holds this car's numbers."""
    problem: str = ""
    """A sentence that tells the owner what to do, or empty."""
    is_storing: bool = False
    """The board is being told its pulses."""
    was_cut_off: bool = False
    """It rests as for calibrating, at this car's neutral: to be told this car's numbers moves no wheel."""


class RequestKind(enum.StrEnum):
    """What an operator can ask for."""

    TAKE_LEASE = "take lease"  # become the driver; refused while another holds it
    RENEW_LEASE = "renew lease"
    RELEASE_LEASE = "release lease"
    START = "start"  # go through ARMING to `target`
    DISARM = "disarm"  # stop; also the only way out of FAILSAFE
    EMERGENCY_STOP = "emergency stop"  # own socket, read first
    DRIVE = "drive"  # a person's steering and throttle
    SET_SPEED_CAP = "set speed cap"
    ACTIVATE_POLICY = "activate policy"
    CALIBRATION_PULSE = "calibration pulse"
    PREPARE_CALIBRATION = "prepare calibration"  # which actuator moves next, and where both rest
    RELOAD_CALIBRATION = "reload calibration"  # the car's file was saved: drive with it, and tell the board
    SET_TRIM = "set trim"  # steering centre, a little to one side, until the vehicle ends
    TUNE_CAMERA = "tune camera"  # lock exposure, gain, white balance, until the vehicle ends
    ASK_LEASE = "ask lease"  # a watcher would like to drive
    YIELD_LEASE = "yield lease"  # the driver hands over to one who asked
    RESTART = "restart"  # end this process, to be started again with the settings as they are now


class OperatorRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """One wish of a person or a command, applied at most once."""

    id: str
    """Unique; a second request with the same id is answered but not applied."""
    source: str
    """Who asks: one per browser page or command."""
    kind: RequestKind
    sent_ns: int
    """CLOCK_MONOTONIC of the same computer, when it was made; older than 200 ms is dropped."""
    target: DriveState | None = None
    steering_frac: float = 0.0
    throttle_frac: float = 0.0
    speed_cap_frac: float = 0.0
    policy: str = ""
    steering_us: float = 0.0
    throttle_us: float = 0.0
    actuator: Actuator | None = None
    echo_ns: int = 0
    """The newest stamp of this vehicle's clock that whoever asks had seen; 0 for a command of this computer,
    which sends none. Older than 300 ms (a renewal: than the lease) is dropped."""
    driver_name: str = ""
    """Of a person, for the others to read; with TAKE_LEASE and ASK_LEASE."""
    to: str = ""
    """Source that YIELD_LEASE makes the driver."""
    time_limit_s: float = 0.0
    """With START: the car disarms by itself after driving for so long; 0 for never."""
    trim_us: float = 0.0
    """With SET_TRIM: added to every steering pulse."""
    camera: CameraLocks | None = None
    """With TUNE_CAMERA."""
    version: int = msgspec.field(default_factory=_this_version)


class LeaseWish(msgspec.Struct, frozen=True):
    """Somebody who watches and would like to drive."""

    source: str
    name: str
    """As that person gave it, or empty."""


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to one request."""

    id: str
    ok: bool
    reason: str = ""
    """Why not, in words for the owner."""
    version: int = msgspec.field(default_factory=_this_version)


class StageTimes(msgspec.Struct, frozen=True):
    """Where the time of one cycle went, all in ns; 0 where a stage did not run."""

    decode_ns: int = 0
    wait_ns: int = 0
    """From the frame being ready to the start of the tick."""
    observe_ns: int = 0
    infer_ns: int = 0
    step_ns: int = 0
    """From the start of the tick to the serial write."""
    frame_to_wire_ns: int = 0
    """From the frame's stamp to the serial write, in cycles that decided."""


class Sensed(msgspec.Struct, frozen=True):
    """What a tick was given beside pictures and the board's status, so that it can be repeated."""

    newest_frame: int = -1
    """Of the front camera, shown to the policy or not."""
    newest_right_frame: int = -1
    camera_lost: bool = False
    right_camera_lost: bool = False
    lidar_lost: bool = False
    lidar_period_s: float = 0.0
    suspended_ns: int = 0
    checked_ns: int = 0
    """When the loop last asked, before it sent, whether the host had stood still."""
    slept_ns: int = 0
    """For how long it had been suspended since `suspended_ns` was read, when it asked then."""


class TickRecord(msgspec.Struct, frozen=True):
    """Everything one tick saw, decided and sent; published, recorded and replayed."""

    sequence: int
    now_ns: int
    decided: bool
    state: DriveState
    faults: tuple[Fault, ...]
    frame_number: int
    frame_stamp_ns: int
    policy_output: tuple[float, ...]
    """As the network gave it; empty when it did not run."""
    action_index: int
    """Of a discrete action space; -1 otherwise."""
    action: DriveAction | None
    wanted: DriveAction
    """After the speed cap, before slew and clamps."""
    sent: DriveCommand
    board: BoardStatus
    trigger: str
    """What started it: `frame` or `deadline` a decision, `tick` one between, `stop` an emergency stop."""
    lateness_ns: int
    """Start of the tick minus its trigger."""
    times: StageTimes
    right_frame_number: int = -1
    """The right eye's picture that goes with the frame; -1 where the policy has no use for one."""
    right_frame_stamp_ns: int = 0
    scan_number: int = -1
    """The LIDAR's newest scan; -1 where the policy has no use for one."""
    scan_stamp_ns: int = 0
    requests: tuple[OperatorRequest, ...] = ()
    """What operators asked for in this tick, refused or not."""
    sensed: Sensed = Sensed()
    sent_frac: DriveAction = DriveAction(0.0, 0.0)
    """What was sent, in shares of this car's range; without the trim."""
    version: int = msgspec.field(default_factory=_this_version)


class Status(msgspec.Struct, frozen=True, omit_defaults=True):
    """The car at a glance: what pages and commands show. Published every fifth tick and on change."""

    now_ns: int
    state: DriveState
    faults: tuple[Fault, ...]
    """Present now."""
    latched_fault: Fault | None
    """Why the car is in FAILSAFE."""
    sentence: str
    """State in words; in FAILSAFE what happened and what to do."""
    not_ready: tuple[str, ...]
    """Why START would be refused now, in words; empty when it would be accepted."""
    driver: str
    """Source that holds the lease, or empty."""
    speed_cap_frac: float
    policy: str
    """Name of the loaded policy, or empty."""
    policy_hash: str
    policy_note: str
    """That one is being loaded, why loading failed, or what its owner should know."""
    control_rate_hz: float
    tick_rate_hz: float
    camera_rate_hz: float
    camera_note: str
    frame_age_s: float
    frame_to_wire_p50_ms: float
    frame_to_wire_p99_ms: float
    missed_decisions: int
    decisions: int
    frames_used_twice: int
    reverses_refused: int
    """Decisions in which the policy wanted to drive backwards; it got neutral."""
    steering_frac: float
    throttle_frac: float
    battery_v: float | None
    board_note: str
    hil: bool
    action_names: tuple[str, ...] = ()
    action_probabilities: tuple[float, ...] = ()
    policy_sensors: tuple[str, ...] = ()
    """What the loaded policy looks at, by the names of `models.sensors`."""
    activation: str = ""
    """What became of the newest wish for a policy: `loading`, `loaded`, `failed`; empty before one."""
    activation_source: str = ""
    """What was wished for, as it was asked for."""
    right_camera_note: str = ""
    lidar_note: str = ""
    scan_age_s: float = -1.0
    """Of the LIDAR's newest scan; -1 without one."""
    is_calibrated: bool = True
    calibration_name: str = ""
    calibration_version: int = 0
    calibration_file: str = ""
    """Where this car's numbers are saved; a reload reads them from there."""
    calibration_note: str = ""
    """That the file is being read, or why it could not be."""
    calibrating: str = ""
    """The actuator that may be calibrated now; empty: none was prepared."""
    is_storing: bool = False
    """The board is being told its pulses."""
    steering_us: float = 0.0
    """As sent in the newest tick."""
    throttle_us: float = 0.0
    driver_name: str = ""
    """What the driver calls themselves, or empty."""
    lease_asked_by: tuple[LeaseWish, ...] = ()
    """Who asked the driver to hand over, within the last half minute."""
    time_left_s: float = -1.0
    """Until the time limit of this drive disarms the car; -1 without one."""
    trim_us: float = 0.0
    """Added to every steering pulse now."""
    trim_steers_right: bool = True
    """Whether a positive trim does: this car's longer pulses are on the right."""
    policy_input_px: tuple[int, int, int] | None = None
    """Width, height and channels of the picture that the policy looks at; None without a policy."""
    is_lockstep: bool = False
    """Whether `now_ns` is the clock of a HIL world that steps with the car, not CLOCK_MONOTONIC."""
    config_digest: str = ""
    """Of the settings that the vehicle was started with (`vehicle.config.config_digest`)."""
    camera_locks: CameraLocks = CameraLocks()
    """What the camera was asked to leave as it is, at the start or since."""
    version: int = msgspec.field(default_factory=_this_version)


class Preview(msgspec.Struct, frozen=True):
    """One picture for people."""

    frame_number: int
    stamp_ns: int
    jpeg: bytes
    version: int = msgspec.field(default_factory=_this_version)
