"""Actions by the clock instead of by what is seen: a figure-eight needs that, and no network has a memory.

`timetable` in a `model_metadata.json` is a list of `{"action": INDEX, "seconds": S}`, gone through from the
start of every drive, over and over. The network runs beside it, so that a broken one is seen. Time is counted
in decisions, so that a replayed drive repeats.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from models.field_checks import number, refuse, shown, whole_number

KEY = "timetable"
ENTRIES_MAX = 100
SECONDS_RANGE = (0.1, 600.0)


class Entry(msgspec.Struct, frozen=True):
    """One line of a timetable."""

    action: int
    """Index in the action space."""
    seconds: float


class Timetable(msgspec.Struct, frozen=True):
    """Actions one after another, from the beginning again at the end."""

    entries: tuple[Entry, ...]

    def action_at(self, time_s: float) -> int:
        """Return the index of the action that is due this long after the start."""
        left_s = time_s % sum(entry.seconds for entry in self.entries)
        for entry in self.entries:
            left_s -= entry.seconds
            if left_s < 0.0:
                return entry.action
        return self.entries[-1].action


def timetable_from(fields: Mapping[str, Any], action_count: int) -> Timetable | None:
    """Return the timetable of a metadata file, None where it has none; raises PolicyError.

    `action_count` is 0 for a policy without a list of actions, which cannot have one.
    """
    value = fields.get(KEY)
    if value is None:
        return None
    if not action_count:
        refuse(f"{KEY} is given", "it names actions of a list, and action_space is a range", "leave it out")
    if not isinstance(value, list) or not 0 < len(value) <= ENTRIES_MAX:
        refuse(
            f"{KEY} is {shown(value)}",
            f"it must be a list of 1 to {ENTRIES_MAX} entries",
            'e.g. [{"action": 0, "seconds": 3.4}]',
        )
    return Timetable(tuple(_entry(entry, f"{KEY}[{at}]", action_count) for at, entry in enumerate(value)))


def _entry(value: object, name: str, action_count: int) -> Entry:
    if not isinstance(value, dict) or value.keys() != {"action", "seconds"}:
        refuse(f"{name} is {shown(value)}", "it has exactly the keys action and seconds", "correct it")
    return Entry(
        whole_number(value["action"], f"{name}.action", 0, action_count - 1),
        number(value["seconds"], f"{name}.seconds", *SECONDS_RANGE),
    )
