"""What can be broken in the HIL car, in words: parsed, scheduled in the world's time, seeded.

A fault is written `part=fault[:amount][@start[..end]]`, times in seconds of the world's clock since
its start: `camera=stuck@12s`, `serial_in=delayed:0.1@5s..8s`, `board=not_stored`.
"""

import random
import re
from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

import msgspec

from vehicle.errors import HilError

NEVER_NS = 1 << 62
"""Later than any clock here."""


class Part(StrEnum):
    """What can be broken."""

    CAMERA = "camera"
    CAMERA_RIGHT = "camera_right"  # the second eye
    LIDAR = "lidar"
    SERIAL_OUT = "serial_out"  # host to board
    SERIAL_IN = "serial_in"  # board to host
    BOARD = "board"
    CAR = "car"  # what hangs on the board: servo, ESC, battery, wheel sensor
    POLICY = "policy"
    OPERATOR_LINK = "operator_link"  # page or command to vehicle, the emergency stop too
    CLOCK = "clock"  # of the computer that drives
    DISK = "disk"  # as the vehicle's process sees it


HOST_PARTS = frozenset({Part.POLICY, Part.OPERATOR_LINK, Part.CLOCK, Part.DISK})
"""Broken in the process that drives (`vehicle.hil.host_faults`); all others in the world."""


class FaultKind(NamedTuple):
    """One way to break one part."""

    meaning: str
    amount: float = 0.0
    """Used where the order names none."""
    lowest: float = 0.0
    highest: float = 0.0
    """Equal to `lowest` where this fault takes no amount."""

    @property
    def takes_amount(self) -> bool:
        """Whether there is anything to choose."""
        return self.highest > self.lowest


CAMERA_FAULTS: dict[str, FaultKind] = {
    "off": FaultKind("unplugged: the connection ends, a new one is refused"),
    "stuck": FaultKind("new frame numbers, the same picture bit for bit"),
    "garbage": FaultKind("random bytes where the picture should be"),
    "wrong": FaultKind("the picture mirrored left to right"),
    "slow": FaultKind("only this share of the frames comes, evenly", 0.2, 0.01, 1.0),
    "delayed": FaultKind("every frame this many seconds later", 0.1, 0.0, 10.0),
    "intermittent": FaultKind("this share of the frames is lost, at random", 0.5, 0.0, 1.0),
    "silent": FaultKind("connected, and nothing comes"),
    "covered": FaultKind("a hand over the lens: near darkness, with the sensor's noise"),
    "future": FaultKind("stamps this many seconds ahead of the clock", 1.0, 0.0, 1000.0),
}

WRONG_BYTES = FaultKind(
    "this share of the bytes has a flipped bit, is lost, comes twice or has a strange one before it",
    0.05,
    0.0,
    1.0,
)
FLOOD = FaultKind("this many bytes of noise without an end come at once", 5000.0, 1.0, 60000.0)
SPLIT = FaultKind("every byte comes alone, this many seconds after the one before", 0.001, 0.0001, 1.0)
BATCHED = FaultKind("an adapter hands over only every this many seconds, all at once", 0.016, 0.001, 1.0)
STALL = FaultKind("once nothing arrives for this many seconds, then all of it in a burst", 0.3, 0.001, 10.0)

FAULTS: dict[Part, dict[str, FaultKind]] = {
    Part.CAMERA: CAMERA_FAULTS,
    Part.CAMERA_RIGHT: CAMERA_FAULTS,
    Part.LIDAR: {
        "off": FaultKind("unplugged: the connection ends, a new one is refused"),
        "stuck": FaultKind("new scan numbers, the same distances bit for bit"),
        "garbage": FaultKind("random bytes where the distances should be"),
        "wrong": FaultKind("the scan mirrored left to right"),
        "slow": FaultKind("only this share of the scans comes, evenly", 0.2, 0.01, 1.0),
        "delayed": FaultKind("every scan this many seconds later", 0.1, 0.0, 10.0),
        "intermittent": FaultKind("this share of the scans is lost, at random", 0.5, 0.0, 1.0),
        "silent": FaultKind("connected, and nothing comes"),
        "covered": FaultKind("a hood over it: nothing comes back on any ray"),
        "future": FaultKind("stamps this many seconds ahead of the clock", 1.0, 0.0, 1000.0),
    },
    Part.SERIAL_OUT: {
        "off": FaultKind("nothing arrives"),
        "stuck": FaultKind("nothing arrives; all that was held back comes in one burst afterwards"),
        "garbage": FaultKind("this share of the bytes is random", 1.0, 0.0, 1.0),
        "wrong": WRONG_BYTES,
        "slow": FaultKind("the line runs at this share of its rate", 0.1, 0.001, 1.0),
        "delayed": FaultKind("everything arrives this many seconds later", 0.1, 0.0, 10.0),
        "intermittent": FaultKind("this share of the writes is lost, at random", 0.5, 0.0, 1.0),
        "jitter": FaultKind("everything arrives up to this many seconds later, at random", 0.05, 0.0, 10.0),
        "flood": FLOOD,
        "split": SPLIT,
        "batched": BATCHED,
        "stall": STALL,
    },
    Part.SERIAL_IN: {
        "off": FaultKind("nothing arrives"),
        "stuck": FaultKind("every reply is the last good one again, valid and old"),
        "garbage": FaultKind("this share of the bytes is random", 1.0, 0.0, 1.0),
        "wrong": WRONG_BYTES,
        "slow": FaultKind("the line runs at this share of its rate", 0.1, 0.001, 1.0),
        "delayed": FaultKind("everything arrives this many seconds later", 0.1, 0.0, 10.0),
        "intermittent": FaultKind("this share of the replies is lost, at random", 0.5, 0.0, 1.0),
        "jitter": FaultKind("everything arrives up to this many seconds later, at random", 0.05, 0.0, 10.0),
        "flood": FLOOD,
        "split": SPLIT,
        "batched": BATCHED,
        "stall": STALL,
        "reordered": FaultKind("this many replies at a time come in reverse order", 2.0, 2.0, 64.0),
    },
    Part.BOARD: {
        "off": FaultKind("without power: no pulses, no replies; boots when it comes back"),
        "stuck": FaultKind("the firmware hangs, again after every reboot, until switched off"),
        "garbage": FaultKind("random bytes in place of every reply", 1.0),
        "wrong": FaultKind("another car's values are stored: this many us away", 40.0, -400.0, 400.0),
        "slow": FaultKind("the firmware looks at its input every this many seconds", 0.05, 0.0001, 10.0),
        "delayed": FaultKind("every reply this many seconds later", 0.1, 0.0, 10.0),
        "intermittent": FaultKind(
            "a loose power contact: a reset every this many seconds", 0.5, 0.01, 1000.0
        ),
        "reset": FaultKind("one reset, this many seconds in the bootloader", 0.0, 0.0, 5.0),
        "hang": FaultKind("one hang of the firmware, ended by the hardware watchdog"),
        "stop_input": FaultKind("the stop switch is held"),
        "version": FaultKind("the firmware speaks this version of the protocol", 99.0, 0.0, 255.0),
        "not_stored": FaultKind("no pulses are stored for this car"),
        "unplugged": FaultKind("the USB cable is pulled: the port is gone, the board goes on"),
        "baud": FaultKind("the board runs at another rate: both sides read random bytes"),
        "watchdog_slow": FaultKind(
            "its watchdog stops the car only after a silence of this many seconds", 1.0, 0.2, 60.0
        ),
        "watchdog_off": FaultKind("its watchdog never stops the car, and it says that it does"),
        "latched": FaultKind(
            "an error is latched, for which it stops by itself; of a Maestro's error word bit number "
            "this many: 3 is CRC, 4 protocol, 5 time-out",
            3.0,
            0.0,
            8.0,
        ),
        "script": FaultKind("a script stored in a Maestro moves the throttle"),
        "second_opener": FaultKind(
            "another program has the port open too: it takes this share of the replies, and writes lines "
            "of its own between ours",
            0.5,
            0.0,
            1.0,
        ),
        "another_device": FaultKind("it is unplugged, and another device comes under its name"),
        "rc_takeover": FaultKind(
            "a radio takes servo and ESC over and holds the stop input; its stick is at this share of the "
            "way to the longest pulse",
            0.0,
            -1.0,
            1.0,
        ),
    },
    Part.CAR: {
        "off": FaultKind("the drive battery is unplugged: the ESC drives no motor"),
        "stuck": FaultKind("the servo stays where it is"),
        "garbage": FaultKind("the wheel sensor counts at random"),
        "wrong": FaultKind("the servo turns the other way"),
        "slow": FaultKind("the drive battery gives this voltage", 6.0, 0.0, 20.0),
        "delayed": FaultKind("servo and ESC take every pulse this many seconds later", 0.1, 0.0, 10.0),
        "intermittent": FaultKind("this share of the pulses is lost on the way, at random", 0.5, 0.0, 1.0),
        "ticks_stuck": FaultKind("the wheel sensor counts no more"),
        "ticks_lost": FaultKind("this share of the wheel sensor's counts is lost", 0.5, 0.0, 1.0),
        "ticks_doubled": FaultKind("the wheel sensor counts everything twice"),
        "ticks_backwards": FaultKind("the wheel sensor counts down"),
        "ticks_wrap": FaultKind("the wheel sensor's count jumps to a little before its 16 bits are over"),
        "esc_not_armed": FaultKind("the ESC was switched off and on, and waits for neutral"),
        "esc_trim": FaultKind("the ESC's own neutral is a pulse this many us longer", 40.0, -100.0, 100.0),
        "reverse_brakes": FaultKind("the ESC brakes where it should reverse"),
        "reverse_at_once": FaultKind("the ESC reverses at the first pull, where it should brake"),
        "servo_slow": FaultKind("the servo turns at this share of its speed", 0.1, 0.01, 1.0),
        "servo_limited": FaultKind("the servo reaches this share of its way, both sides", 0.3, 0.0, 1.0),
    },
    Part.POLICY: {
        "off": FaultKind("it raises instead of answering"),
        "stuck": FaultKind("it repeats its last answer"),
        "garbage": FaultKind("its answer is not a number"),
        "wrong": FaultKind("it steers the other way"),
        "slow": FaultKind("every answer takes this many seconds more", 0.15, 0.0, 10.0),
        "delayed": FaultKind("its answer is the one of this many seconds ago", 0.2, 0.0, 10.0),
        "intermittent": FaultKind("this share of its answers fails, at random", 0.5, 0.0, 1.0),
    },
    Part.OPERATOR_LINK: {
        "off": FaultKind("nothing arrives"),
        "stuck": FaultKind("nothing arrives; all that was held back comes in one burst afterwards"),
        "garbage": FaultKind("this share of the bytes is random", 1.0, 0.0, 1.0),
        "wrong": FaultKind("a person's steering and throttle arrive with the other sign"),
        "slow": FaultKind("only this share of the requests arrives, evenly", 0.05, 0.001, 1.0),
        "delayed": FaultKind("every request arrives this many seconds later", 0.3, 0.0, 10.0),
        "intermittent": FaultKind("this share of the requests is lost, at random", 0.95, 0.0, 1.0),
    },
    Part.CLOCK: {
        "off": FaultKind("reading it is an error, which ends the process"),
        "stuck": FaultKind("it stands still"),
        "garbage": FaultKind("every reading is up to ten seconds wrong, at random"),
        "wrong": FaultKind("it jumps by this many seconds", 1.0, -3600.0, 3600.0),
        "slow": FaultKind("it runs at this share of its rate", 0.5, 0.01, 1.0),
        "delayed": FaultKind("the computer was suspended for this many seconds", 60.0, 0.0, 1e6),
        "intermittent": FaultKind("this share of the readings repeats the one before", 0.5, 0.0, 1.0),
    },
    Part.DISK: {
        "off": FaultKind("opening a file to write is an input/output error"),
        "stuck": FaultKind("opening a file to write waits until this is over"),
        "garbage": FaultKind("opening a file to write says that the file system is damaged"),
        "wrong": FaultKind("the disk has become read-only"),
        "slow": FaultKind("opening a file to write takes this many seconds", 0.5, 0.0, 10.0),
        "delayed": FaultKind("the next opening of a file to write takes this many seconds", 5.0, 0.0, 60.0),
        "intermittent": FaultKind("this share of the openings to write fails, at random", 0.5, 0.0, 1.0),
        "full": FaultKind("there is no space left"),
    },
}
"""Every fault there is; the first seven words mean the same everywhere."""

MOMENTARY = frozenset(
    {
        (Part.BOARD, "reset"),
        (Part.BOARD, "hang"),
        (Part.BOARD, "latched"),
        (Part.SERIAL_OUT, "flood"),
        (Part.SERIAL_IN, "flood"),
        (Part.SERIAL_OUT, "stall"),
        (Part.SERIAL_IN, "stall"),
        (Part.CAR, "esc_not_armed"),
    }
)
"""Happen once when they are switched on; there is nothing to switch off."""

_ORDER = re.compile(
    r"(?P<part>[a-z_ -]+)=(?P<fault>[a-z_ -]+?)(:(?P<amount>[^@]+))?"
    r"(@(?P<start>[^.s]*(\.[0-9]+)?)s?(\.\.(?P<end>[^s]*)s?)?)?"
)


class FaultOrder(msgspec.Struct, frozen=True):
    """Break this part in this way, from one time to another."""

    part: Part
    fault: str
    amount: float
    start_s: float = 0.0
    """Of the world's clock since its start."""
    end_s: float | None = None
    """None: until told otherwise."""


def order_fault(
    part: str,
    fault: str,
    amount: float | None = None,
    start_s: float = 0.0,
    end_s: float | None = None,
) -> FaultOrder:
    """Return a checked order; raises HilError with the words or the range that would do."""
    known_part = _known_part(part)
    name = _plain(fault)
    kinds = FAULTS[known_part]
    if name not in kinds:
        raise HilError(f"{known_part} has no fault '{fault}', only {', '.join(kinds)}")
    kind = kinds[name]
    if amount is None:
        amount = kind.amount
    elif not kind.takes_amount:
        raise HilError(f"{known_part}={name} takes no amount, but {amount} was given; leave it out")
    if kind.takes_amount and not kind.lowest <= amount <= kind.highest:
        raise HilError(
            f"{known_part}={name}: amount is {amount}, "
            f"allowed {kind.lowest} to {kind.highest} ({kind.meaning})"
        )
    if not 0.0 <= start_s < NEVER_NS / 1e9:
        raise HilError(f"{known_part}={name}: starts at {start_s} s, allowed 0 or later")
    if end_s is not None and not end_s > start_s:
        raise HilError(f"{known_part}={name}: ends at {end_s} s, allowed only after its start at {start_s} s")
    return FaultOrder(part=known_part, fault=name, amount=amount, start_s=start_s, end_s=end_s)


def parse_fault(text: str) -> FaultOrder:
    """Return the order that `part=fault[:amount][@start[..end]]` stands for; raises HilError."""
    match = _ORDER.fullmatch(text.strip().lower())
    if match is None:
        raise HilError(
            f"cannot read the fault '{text}'; write part=fault[:amount][@start[..end]], "
            "for example camera=stuck@12s or serial_in=delayed:0.1@5s..8s"
        )
    amount, start, end = match["amount"], match["start"], match["end"]
    return order_fault(
        match["part"],
        match["fault"],
        None if amount is None else _number(amount, text),
        0.0 if start is None else _number(start, text),
        None if end is None else _number(end, text),
    )


def refuse_host_part(order: FaultOrder) -> None:
    """Raise HilError for a part that is not the world's to break."""
    if order.part in HOST_PARTS:
        raise HilError(
            f"{order.part} is broken in the process that drives, not in the world; "
            "give --fault to `lapwing drive` or `lapwing run --hil`"
        )


def refuse_world_part(order: FaultOrder) -> None:
    """Raise HilError for a part that is not broken in the process that drives."""
    if order.part not in HOST_PARTS:
        raise HilError(
            f"{order.part} is broken in the world, not in the process that drives; "
            "give --fault to `lapwing hil`"
        )


class FaultChange(NamedTuple):
    """A fault that was just switched on or off."""

    part: Part
    fault: str
    amount: float
    on: bool


class FaultSchedule:
    """Which faults are on at a time of the world's clock."""

    def __init__(self, orders: Iterable[FaultOrder] = (), *, seed: int = 0, start_ns: int = 0) -> None:
        self._seed = seed
        self._start_ns = start_ns
        self._pending: list[tuple[int, int, FaultChange]] = []  # (time, order of arrival, change), sorted
        self._arrivals = 0
        self._amounts: dict[tuple[Part, str], float] = {}
        self._random: dict[tuple[Part, str], random.Random] = {}
        self.next_change_ns = NEVER_NS
        for order in orders:
            self.add(order)

    def add(self, order: FaultOrder) -> None:
        """Take an order; one whose start has passed is carried out by the next `advance`."""
        change = FaultChange(order.part, order.fault, order.amount, on=True)
        self._insert(order.start_s, change)
        if order.end_s is not None and (order.part, order.fault) not in MOMENTARY:
            self._insert(order.end_s, change._replace(on=False))

    def switch_off(self, part: Part, fault: str, at_s: float = 0.0) -> None:
        """Order the end of a fault."""
        self._insert(at_s, FaultChange(part, fault, 0.0, on=False))

    def advance(self, now_ns: int) -> list[FaultChange]:
        """Return what changed up to now, in order."""
        changes = []
        while self._pending and self._pending[0][0] <= now_ns:
            change = self._pending.pop(0)[2]
            key = (change.part, change.fault)
            if not change.on:
                self._amounts.pop(key, None)
            elif key not in MOMENTARY:
                self._amounts[key] = change.amount
            changes.append(change)
        self.next_change_ns = self._pending[0][0] if self._pending else NEVER_NS
        return changes

    def amount(self, part: Part, fault: str) -> float | None:
        """Return how much of this fault is on now, None when it is off."""
        return self._amounts.get((part, fault))

    def is_on(self, part: Part, fault: str) -> bool:
        """Whether this fault is on now."""
        return (part, fault) in self._amounts

    @property
    def is_idle(self) -> bool:
        """Whether nothing is on and nothing is to come."""
        return not self._amounts and not self._pending

    def any_on(self, part: Part) -> bool:
        """Whether anything at all is wrong with this part now."""
        return any(broken is part for broken, _ in self._amounts)

    def amounts(self) -> dict[str, float]:
        """Return how much of each fault is on now, by `part=fault`."""
        return {f"{part}={fault}": self._amounts[part, fault] for part, fault in sorted(self._amounts)}

    def ons(self) -> tuple[tuple[Part, str], ...]:
        """Return what is on now."""
        return tuple(self._amounts)

    def random(self, part: Part, fault: str) -> random.Random:
        """Return this fault's own random numbers: the same for a seed, whatever else is broken."""
        key = (part, fault)
        if key not in self._random:
            self._random[key] = random.Random(f"{self._seed}/{part}/{fault}")  # noqa: S311 # repeatable, not secret
        return self._random[key]

    def active(self) -> tuple[str, ...]:
        """Return the faults that are on now, as `part=fault`."""
        return tuple(sorted(f"{part}={fault}" for part, fault in self._amounts))

    def _insert(self, at_s: float, change: FaultChange) -> None:
        self._arrivals += 1
        self._pending.append((self._start_ns + round(at_s * 1e9), self._arrivals, change))
        self._pending.sort(key=lambda entry: entry[:2])
        self.next_change_ns = self._pending[0][0]


def _known_part(text: str) -> Part:
    try:
        return Part(_plain(text))
    except ValueError:
        raise HilError(f"there is no part '{text}' to break, only {', '.join(Part)}") from None


def _plain(word: str) -> str:
    return word.strip().lower().replace("-", "_").replace(" ", "_")


def _number(text: str, order: str) -> float:
    try:
        return float(text.strip().removesuffix("s"))
    except ValueError:
        raise HilError(f"'{text}' in the fault '{order}' is not a number") from None
