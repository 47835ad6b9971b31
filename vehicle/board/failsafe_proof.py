"""Which Maestro has shown that it stops by itself, and at which neutral.

A Maestro's failsafe is a setting that its owner must make, so it counts only when it was seen to work.
"""

import re
from pathlib import Path

import msgspec

from calibration.store import write_atomically
from vehicle.errors import BoardConfigError

MATCH_US = 0.25  # a Maestro's resolution
_BY_ID = Path("/dev/serial/by-id")
_SERIAL_NUMBER = re.compile(r"usb-Pololu_.*_([0-9A-Za-z]+)-if00")


class FailsafeProof(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was seen when the host went silent."""

    neutral_us: float
    """At which the throttle came to rest."""
    steering_channel: int
    throttle_channel: int
    proved_at: str
    """ISO 8601."""

    def covers(self, neutral_us: float, steering_channel: int, throttle_channel: int) -> bool:
        """True when a car wired and calibrated like this would come to rest."""
        return (
            abs(self.neutral_us - neutral_us) <= MATCH_US
            and self.steering_channel == steering_channel
            and self.throttle_channel == throttle_channel
        )


def load_proof(file: Path, identity: str) -> FailsafeProof | None:
    """Return the proof of this device, or None; a file that cannot be read proves nothing."""
    return _load_all(file).get(identity)


def save_proof(file: Path, identity: str, proof: FailsafeProof) -> None:
    """Remember the proof of this device; CalibrationError when it cannot be written."""
    proofs = _load_all(file) | {identity: proof}
    write_atomically(file, msgspec.json.format(msgspec.json.encode(proofs), indent=2) + b"\n")


def identity_of(path: str, by_id: Path = _BY_ID) -> str:
    """Return what tells this Maestro from others: its serial number, or the path where there is none.

    BoardConfigError for a name that another device may have tomorrow, and for the Maestro's other port.
    """
    name = Path(path).name
    if name.endswith("-if02"):
        raise BoardConfigError(
            f"{path} is the Maestro's TTL port, allowed is its command port; name the one that ends in -if00"
        )
    match = _SERIAL_NUMBER.fullmatch(name)
    if match:
        return match[1]
    if re.fullmatch(r"/dev/tty(ACM|USB)\d+", path):
        links = sorted(by_id.iterdir()) if by_id.is_dir() else []
        found = next((link for link in links if link.resolve() == Path(path)), by_id / "...")
        raise BoardConfigError(
            f"{path} may be another device after the next start, allowed is a name that stays; "
            f"set the board's port to {found}"
        )
    return str(Path(path).absolute())


def _load_all(file: Path) -> dict[str, FailsafeProof]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, FailsafeProof])
    except (OSError, msgspec.MsgspecError):
        return {}
