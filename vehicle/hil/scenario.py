"""A scenario file: faults to come, as TOML: `faults = ["camera=stuck@12s..20s", "operator_link=off@30s"]`."""

from pathlib import Path

import msgspec

from vehicle.errors import UNREADABLE, HilError
from vehicle.hil.faults import HOST_PARTS, parse_fault


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to break."""

    faults: tuple[str, ...] = ()


def read_scenario(path: Path) -> tuple[str, ...]:
    """Return the faults of a scenario file, each of them readable; raises HilError."""
    try:
        scenario = msgspec.toml.decode(path.read_bytes(), type=Scenario)
    except OSError as error:
        raise HilError(
            f"the scenario {path} cannot be read ({error.strerror}); name another with --scenario"
        ) from None
    except UNREADABLE as error:
        raise HilError(f'the scenario {path} is no list of faults: {error}; write faults = ["..."]') from None
    for text in scenario.faults:
        parse_fault(text)
    return scenario.faults


def split_by_side(faults: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the faults that the world is to make, and those that the process that drives is to make."""
    host = tuple(text for text in faults if parse_fault(text).part in HOST_PARTS)
    return tuple(text for text in faults if text not in host), host
