"""What a HIL car is told when it starts: its world, its board, its camera, what is broken."""

import fcntl
import os
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from vehicle.errors import UNREADABLE, HilError

Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Light = Literal["even", "dim"]
LOCKSTEP_START_NS = 1_000_000_000  # of virtual time; on the grids of pulses, motion and frames


class CameraSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the camera delivers."""

    fps: Annotated[float, msgspec.Meta(ge=1.0, le=240.0)] = 30.0
    width_px: Annotated[int, msgspec.Meta(ge=0, le=1920)] = 0
    """0: 640 in real time, 160 in lockstep."""
    height_px: Annotated[int, msgspec.Meta(ge=0, le=1080)] = 0
    delay_s: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.030
    """From exposure to the hand-over to the computer, which is when a driver stamps it."""
    jitter_s: Annotated[float, msgspec.Meta(ge=0.0, le=0.2)] = 0.0
    """The delay differs by up to this much either way."""
    drop_frac: Share = 0.0
    encoding: Literal["jpeg", "bmp"] = "jpeg"
    """`bmp` loses nothing; for comparing with what training sees."""
    quality: Annotated[int, msgspec.Meta(ge=10, le=100)] = 90


class RightCameraSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The second eye; in all else it is as the camera. Drawn only while somebody looks through it."""

    baseline_m: Annotated[float, msgspec.Meta(ge=0.0, le=0.5)] = 0.06
    """To the right of the camera. The eyes of an AWS DeepRacer Evo stand 0.03 m either side of its middle
    (deepracer_stereo_cam.urdf of its simulation); here the left eye is the one camera, in the middle."""


class LidarSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the LIDAR measures. It turns only while somebody reads it."""

    rate_hz: Annotated[float, msgspec.Meta(ge=5.0, le=40.0)] = 10.0
    rays: Annotated[int, msgspec.Meta(ge=2, le=4096)] = 360
    field_deg: Annotated[float, msgspec.Meta(gt=0.0, le=360.0)] = 360.0
    """Half of it to either side of straight ahead."""
    min_m: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.15
    """What is nearer gives no answer, as with the real ones."""
    max_m: Annotated[float, msgspec.Meta(ge=0.5, le=100.0)] = 12.0
    noise_m: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.01
    """Standard deviation, as in AWS's simulation (lidar_360_degree_noise_stddev)."""
    forward_m: Annotated[float, msgspec.Meta(ge=-0.5, le=0.5)] = 0.11
    """Of the rear axle, as on AWS's car (hokuyo_joint 0.029 m, rear wheels -0.082 m)."""
    height_m: Annotated[float, msgspec.Meta(ge=0.0, le=0.5)] = 0.185
    """Lower things are not seen; as there."""
    delay_s: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.005
    """From the measurement to the hand-over."""


class Obstacle(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A box that stands on the track or beside it."""

    s_m: Annotated[float, msgspec.Meta(ge=-1000.0, le=1000.0)]
    """Along the track, of its middle."""
    offset_m: Annotated[float, msgspec.Meta(ge=-10.0, le=10.0)] = 0.0
    """From the centre line, positive left."""
    turned_deg: Annotated[float, msgspec.Meta(ge=-180.0, le=180.0)] = 0.0
    """Left of the track's direction."""
    length_m: Annotated[float, msgspec.Meta(gt=0.0, le=5.0)] = 0.25
    width_m: Annotated[float, msgspec.Meta(gt=0.0, le=5.0)] = 0.25
    height_m: Annotated[float, msgspec.Meta(gt=0.0, le=5.0)] = 0.25


class OtherCar(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A car that keeps its line and its speed, or is parked; it stops for nobody."""

    s_m: Annotated[float, msgspec.Meta(ge=-1000.0, le=1000.0)]
    """Along the track, of its middle, when the world begins."""
    offset_m: Annotated[float, msgspec.Meta(ge=-10.0, le=10.0)] = 0.0
    speed_mps: Annotated[float, msgspec.Meta(ge=-10.0, le=10.0)] = 0.0


class MarkerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The printed start marker beside the track, facing the cars that come."""

    s_m: Annotated[float, msgspec.Meta(ge=-1000.0, le=1000.0)] = 1.645
    """Along the track. A camera of the usual field sees its line 1.5 m before it, and stands 0.145 m ahead
    of the rear axle: so the marker's line is the start line."""
    beside_m: Annotated[float, msgspec.Meta(ge=0.0, le=5.0)] = 0.15
    """From the track's border to the sheet's middle."""
    is_left: bool = False
    turned_deg: Annotated[float, msgspec.Meta(ge=-60.0, le=60.0)] = 0.0
    """To the left of straight against the cars: nobody puts it down to the degree."""
    paper: Literal["a4", "letter"] = "a4"


class MaestroDefects(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a Maestro that nobody prepared differs from one that was."""

    factory_settings: bool = False
    """No CRC, no timeout, homes off: its failsafe does nothing."""
    timeout_s: Annotated[float, msgspec.Meta(ge=0.0, le=655.35)] | None = None
    crc: bool | None = None
    usb_dual_port: bool = True
    script_is_running: bool = False
    micro: bool = False


class HilSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One HIL car."""

    hil_dir: Path
    track: str = "oval"
    wiring: Literal["aws", "standard"] = "aws"
    board: Literal["own", "maestro"] = "own"
    seed: int = 0
    lockstep: bool = False
    light: Light = "even"
    """`dim`: a hall in the evening, a little darker and noisier than any that policies are trained in."""
    randomise: bool = False
    """Draw the car, the camera and the room from the seed, as training does."""
    faults: tuple[str, ...] = ()
    """As `part=fault[:amount][@start[..end]]`."""
    camera: CameraSettings = CameraSettings()
    right_camera: RightCameraSettings = RightCameraSettings()
    lidar: LidarSettings = LidarSettings()
    obstacles: tuple[Obstacle, ...] = ()
    cars: tuple[OtherCar, ...] = ()
    marker: MarkerSettings | None = None
    """None: no start marker stands there."""
    maestro: MaestroDefects = MaestroDefects()
    start_ns: int = 0
    """CLOCK_MONOTONIC from which faults count their seconds, in real time; 0: when the process starts."""

    def picture_size(self) -> tuple[int, int]:
        """Return width and height in pixels."""
        width, height = (160, 120) if self.lockstep else (640, 480)
        return self.camera.width_px or width, self.camera.height_px or height


def to_json(settings: HilSettings) -> str:
    """Return the settings as a process is given them."""
    return msgspec.json.encode(settings, enc_hook=str).decode()


def from_json(text: str) -> HilSettings:
    """Return the settings a process was given; raises HilError naming the field that is wrong."""
    try:
        return msgspec.json.decode(text, type=HilSettings, dec_hook=lambda kind, value: kind(value))
    except UNREADABLE as error:
        raise HilError(f"the HIL car's settings are wrong: {error}") from None


LONGEST_DIR = 70  # of characters; a socket's path may have about a hundred


def prepare_hil_dir(hil_dir: Path) -> None:
    """Make the directory, for this user alone; raises HilError when sockets cannot live there."""
    if len(str(hil_dir)) > LONGEST_DIR:
        raise HilError(
            f"the HIL directory's path has {len(str(hil_dir))} characters, allowed {LONGEST_DIR}: {hil_dir}"
        )
    hil_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    owner = hil_dir.stat().st_uid
    if owner != os.getuid():
        raise HilError(f"{hil_dir} belongs to user {owner}, not to {os.getuid()}; choose another --hil-dir")
    hil_dir.chmod(0o700)


def claim(hil_dir: Path, part: str) -> int:
    """Return a lock on this part of the HIL car; raises HilError when another process holds it."""
    lock = os.open(hil_dir / f"{part}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise HilError(f"another {part} runs in {hil_dir}; end it or choose another directory") from None
    return lock


def board_link(hil_dir: Path) -> Path:
    """Return the path under which the board's port appears."""
    return hil_dir / "board"


def camera_socket(hil_dir: Path) -> Path:
    """Return where the camera delivers."""
    return hil_dir / "camera.sock"


def right_camera_socket(hil_dir: Path) -> Path:
    """Return where the second eye delivers."""
    return hil_dir / "camera_right.sock"


def lidar_socket(hil_dir: Path) -> Path:
    """Return where the LIDAR delivers."""
    return hil_dir / "lidar.sock"


def barrier_socket(hil_dir: Path) -> Path:
    """Return where a lockstep world meets the driving side."""
    return hil_dir / "barrier.sock"


def host_endpoint(hil_dir: Path) -> str:
    """Return where the process that drives takes orders to break what belongs to it."""
    return f"ipc://{hil_dir}/host"


def pulse_log(hil_dir: Path) -> Path:
    """Return where the board writes down every pulse."""
    return hil_dir / "pulses.log"


def world_mailbox(hil_dir: Path) -> Path:
    """Return where a board process sends its pulses."""
    return hil_dir / "world.sock"


def board_mailbox(hil_dir: Path) -> Path:
    """Return where a board process receives what it measures and what is broken."""
    return hil_dir / "board.sock"
