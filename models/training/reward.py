"""The default reward, written as DeepRacer's are: `reward_function(params)` of one car after one decision.

Another one is used by `lapwing train --reward FILE.py`. `params` has DeepRacer's names and units (degrees,
metres).
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, TypeAlias

from vehicle.errors import LapwingError

Params: TypeAlias = Mapping[str, Any]
Reward: TypeAlias = Callable[[Params], float]

FAST_MPS = 3.0  # the fastest that still pays more
MIDDLE_SHARE = 0.2
EDGE_SHARE = 0.5  # of the way from the middle to the edge: from here on, nearness to the edge may cost
OFF_TRACK_PENALTY = 60.0  # as much as four seconds at full speed: with 6, policies raced and left the track


def reward_function(
    params: Params, off_track_penalty: float = OFF_TRACK_PENALTY, edge_penalty: float = 0.0
) -> float:
    """Pay for speed along the track, take a little for being off its middle, and a lot for leaving it.

    `edge_penalty` is the price of a decision at the very edge, less inside of it and nothing near the middle:
    a policy that cuts bends close to the line leaves the track whenever a picture is late.

    The pay is 1 - (1 - v / v_fast)^2: the first metre per second counts more than the last. Paid in
    proportion, policies raced at a speed that half of the randomised cars could not hold.
    """
    if params["is_offtrack"]:
        return -off_track_penalty
    waypoints, (before, after) = params["waypoints"], params["closest_waypoints"]
    before, after = waypoints[before], waypoints[after]
    direction_rad = math.atan2(after[1] - before[1], after[0] - before[0])
    along = math.cos(math.radians(params["heading"]) - direction_rad)
    off_middle = params["distance_from_center"] / (params["track_width"] / 2)
    share = min(1.0, params["speed"] * along / FAST_MPS)
    too_near = max(0.0, off_middle - EDGE_SHARE) / (1 - EDGE_SHARE)
    return float(1 - (1 - share) ** 2 - MIDDLE_SHARE * off_middle**2 - edge_penalty * too_near**2)


def load_reward(
    path: str | Path | None, off_track_penalty: float = OFF_TRACK_PENALTY, edge_penalty: float = 0.0
) -> Reward:
    """Return the `reward_function` of a file, or the default one; raises LapwingError with what is wrong."""
    if path is None:
        return partial(reward_function, off_track_penalty=off_track_penalty, edge_penalty=edge_penalty)
    file = Path(path)
    spec = spec_from_file_location("lapwing_user_reward", file)
    if not file.is_file() or spec is None or spec.loader is None:
        raise LapwingError(f"{path} is no Python file; give a file that defines reward_function(params)")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    reward = getattr(module, "reward_function", None)
    if not callable(reward):
        raise LapwingError(f"{path} defines no reward_function(params); DeepRacer's has exactly this name")
    return reward  # type: ignore[no-any-return]
