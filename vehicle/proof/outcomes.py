"""What the car does about each fault in each moving state: the table that the fault matrix proves.

Times count from the moment a fault begins to the start of the first pulse that is neutral for good, by the
board's own account.
"""

from collections.abc import Iterable

import msgspec

from vehicle.hil.faults import FAULTS, Part
from vehicle.limits import ACK_LIMIT_S, FRAME_OVERDUE_S, LEASE_AUTONOMOUS_S, LEASE_HANDS_ON_S, STALL_LIMIT_S
from vehicle.messages import DriveState, Fault
from vehicle.safety import BATTERY_LIMIT_S, BLOCKED_LIMIT_S

MANUAL, ASSISTED = DriveState.MANUAL, DriveState.ASSISTED
AUTONOMOUS, CALIBRATING = DriveState.AUTONOMOUS, DriveState.CALIBRATING
ALL = (MANUAL, ASSISTED, AUTONOMOUS, CALIBRATING)
SEEING = (MANUAL, ASSISTED, AUTONOMOUS)
BY_POLICY = (ASSISTED, AUTONOMOUS)
BY_HAND = (MANUAL, CALIBRATING)
WITH_INPUT = (MANUAL, ASSISTED)
HANDS_ON = (MANUAL, ASSISTED, CALIBRATING)

PROVED_PARTS = (
    Part.CAMERA,
    Part.SERIAL_OUT,
    Part.SERIAL_IN,
    Part.BOARD,
    Part.CAR,
    Part.POLICY,
    Part.OPERATOR_LINK,
    Part.CLOCK,
    Part.DISK,
)
"""Second eye and LIDAR are judged as the camera is, by tests of their own (tests/hil/test_sensors.py)."""

TICK_S = 0.017
PULSE_S = 0.020
AT_ONCE_S = TICK_S + 2 * PULSE_S
"""A tick, the pulse that has started, the one that waits for its turn."""
BOARD_BOUND_S = 0.220
ACK_BOUND_S = ACK_LIMIT_S + TICK_S + AT_ONCE_S
FRAME_BOUND_S = 2 * 0.034 + FRAME_OVERDUE_S + AT_ONCE_S
"""Until the next frame is due, and its delivery, before it can be overdue."""
DECISION_S = 0.034
PICTURES_BOUND_S = 6 * 0.034 + 0.030 + AT_ONCE_S
"""Five pictures, the one that began before, its delivery."""
LEASE_AUTONOMOUS_BOUND_S = LEASE_AUTONOMOUS_S + AT_ONCE_S
LEASE_HANDS_ON_BOUND_S = LEASE_HANDS_ON_S + AT_ONCE_S


class Stop(msgspec.Struct, frozen=True):
    """The car stops by itself, says why, and stays stopped."""

    faults: frozenset[Fault]
    """One of these is named; empty: the process ended, and the board's own watchdog stopped the motor."""
    bound_s: float
    amount: float | None = None
    """Of the fault; None: its usual one."""
    neutral_shift_us: float = 0.0
    """The board's stored neutral is this far off by then."""


class Tolerated(msgspec.Struct, frozen=True):
    """The car drives on up to a limit, and stops beyond it."""

    limit: str
    amount: float
    beyond: Stop


class Undetectable(msgspec.Struct, frozen=True):
    """The car cannot know; lease, speed cap, emergency stop and the person still bound it."""

    why: str
    amount: float | None = None


class NotUsed(msgspec.Struct, frozen=True):
    """This state has no use for the part: the car drives on unharmed."""

    why: str
    amount: float | None = None


Outcome = Stop | Tolerated | Undetectable | NotUsed


class Row(msgspec.Struct, frozen=True):
    """One cell of the matrix."""

    part: Part
    fault: str
    state: DriveState
    outcome: Outcome


def stop(*faults: Fault, bound_s: float, amount: float | None = None) -> Stop:
    """Return a stop that names one of these faults."""
    return Stop(frozenset(faults), bound_s, amount)


_UNJUDGED_BY_HAND = (
    "pictures are judged only while a policy drives by them; a person who drives sees it on the page"
)
_NO_PICTURE = NotUsed("calibrating needs no picture")
_NO_POLICY = NotUsed("a person drives")
_SILENT = stop(Fault.BOARD_SILENT, bound_s=ACK_BOUND_S)
_DEAF = stop(Fault.BOARD_SILENT, Fault.BOARD_REFUSED, bound_s=BOARD_BOUND_S)
_REBOOT = stop(Fault.BOARD_RESET, Fault.BOARD_SILENT, Fault.BOARD_REFUSED, bound_s=BOARD_BOUND_S)
_OVERDUE = stop(Fault.CAMERA_OVERDUE, bound_s=FRAME_BOUND_S)
_NO_DRIVER_HANDS_ON = stop(Fault.LEASE_LOST, Fault.DRIVER_INPUT_MISSING, bound_s=LEASE_HANDS_ON_BOUND_S)
_NO_DRIVER = stop(Fault.LEASE_LOST, bound_s=LEASE_AUTONOMOUS_BOUND_S)
_BY_CHANCE_S = 3.0
"""For what strikes at random, until it has struck hard enough."""
_NO_FILE = NotUsed("the loop neither reads nor writes a file while the car moves")
ROLLS_ON_S = 2.5  # 2 s from the top speed of 4 m/s, and the last slow turn of a wheel
_BLOCKED = stop(Fault.WHEELS_BLOCKED, bound_s=ROLLS_ON_S + BLOCKED_LIMIT_S + AT_ONCE_S)
"""The motor gives nothing; until the wheels have stopped rolling nobody can tell."""
_WHEELS_UP = Undetectable("wheels that stand still are no fault while calibrating")
_ANY_COUNT = NotUsed("only whether the wheels turn is judged, not how fast or which way")
_ESC_SET_UP = Undetectable("an ESC says nothing of how it is set up; forward is unharmed, and so is a stop")
_NO_REVERSE = NotUsed("a policy never reverses")
_CLOCK = stop(Fault.CLOCK_WRONG, bound_s=AT_ONCE_S)


def _beyond(row: Stop, amount: float, bound_s: float | None = None) -> Stop:
    return Stop(row.faults, row.bound_s if bound_s is None else bound_s, amount)


TABLE: dict[Part, dict[str, dict[tuple[DriveState, ...], Outcome]]] = {
    Part.CAMERA: {
        "off": {
            SEEING: stop(Fault.CAMERA_LOST, Fault.CAMERA_OVERDUE, bound_s=FRAME_BOUND_S),
            (CALIBRATING,): _NO_PICTURE,
        },
        "stuck": {
            BY_POLICY: stop(Fault.CAMERA_FROZEN, bound_s=PICTURES_BOUND_S),
            (MANUAL,): Undetectable(_UNJUDGED_BY_HAND),
            (CALIBRATING,): _NO_PICTURE,
        },
        "garbage": {SEEING: _OVERDUE, (CALIBRATING,): _NO_PICTURE},
        "wrong": {
            BY_POLICY: Undetectable("a mirrored picture looks like another track"),
            (MANUAL,): Undetectable(_UNJUDGED_BY_HAND),
            (CALIBRATING,): _NO_PICTURE,
        },
        "slow": {
            SEEING: Tolerated("half of the pictures", 0.5, _beyond(_OVERDUE, 0.2)),
            (CALIBRATING,): _NO_PICTURE,
        },
        "delayed": {
            SEEING: Tolerated("50 ms later than before", 0.05, _beyond(_OVERDUE, 0.1)),
            (CALIBRATING,): _NO_PICTURE,
        },
        "intermittent": {
            SEEING: Tolerated("two pictures lost in a row", 0.1, _beyond(_OVERDUE, 0.9, 1.0)),
            (CALIBRATING,): _NO_PICTURE,
        },
        "silent": {SEEING: _OVERDUE, (CALIBRATING,): _NO_PICTURE},
        "covered": {
            BY_POLICY: stop(Fault.CAMERA_COVERED, Fault.CAMERA_FROZEN, bound_s=PICTURES_BOUND_S),
            (MANUAL,): Undetectable(_UNJUDGED_BY_HAND),
            (CALIBRATING,): _NO_PICTURE,
        },
        "future": {
            SEEING: stop(Fault.FRAME_FROM_FUTURE, bound_s=2 * 0.034 + AT_ONCE_S),
            (CALIBRATING,): _NO_PICTURE,
        },
    },
    Part.SERIAL_OUT: {
        "off": {ALL: _DEAF},
        "stuck": {ALL: _DEAF},
        "garbage": {ALL: _DEAF},
        "wrong": {ALL: Tolerated("a byte in a hundred", 0.01, _beyond(_DEAF, 0.4, _BY_CHANCE_S))},
        "slow": {ALL: Tolerated("a tenth of the rate", 0.1, _beyond(_DEAF, 0.02, 0.4))},
        "delayed": {ALL: Tolerated("30 ms", 0.03, _beyond(_DEAF, 0.15, 0.15 + ACK_BOUND_S))},
        "intermittent": {ALL: Tolerated("a fifth of the commands", 0.2, _beyond(_DEAF, 0.9, _BY_CHANCE_S))},
        "jitter": {ALL: Tolerated("up to 30 ms", 0.03, _beyond(_DEAF, 0.5, _BY_CHANCE_S))},
        "flood": {ALL: Tolerated("200 bytes", 200.0, _beyond(_DEAF, 5000.0))},
        "split": {ALL: Tolerated("1 ms between bytes", 0.001, _beyond(_DEAF, 0.01, 0.4))},
        "batched": {ALL: Tolerated("every 16 ms", 0.016, _beyond(_DEAF, 0.15, 0.15 + ACK_BOUND_S))},
        "stall": {ALL: Tolerated("30 ms", 0.03, _beyond(_DEAF, 0.3))},
    },
    Part.SERIAL_IN: {
        "off": {ALL: _SILENT},
        "stuck": {ALL: _SILENT},
        "garbage": {ALL: _SILENT},
        "wrong": {ALL: Tolerated("a byte in a hundred", 0.01, _beyond(_SILENT, 0.4, _BY_CHANCE_S))},
        "slow": {ALL: Tolerated("a quarter of the rate", 0.25, _beyond(_SILENT, 0.02, 0.4))},
        "delayed": {ALL: Tolerated("30 ms", 0.03, _beyond(_SILENT, 0.15))},
        "intermittent": {ALL: Tolerated("a fifth of the replies", 0.2, _beyond(_SILENT, 0.9, _BY_CHANCE_S))},
        "jitter": {ALL: Tolerated("up to 30 ms", 0.03, _beyond(_SILENT, 0.5, _BY_CHANCE_S))},
        "flood": {ALL: Tolerated("200 bytes", 200.0, _beyond(_SILENT, 5000.0))},
        "split": {ALL: Tolerated("0.5 ms between bytes", 0.0005, _beyond(_SILENT, 0.01, 0.4))},
        "batched": {ALL: Tolerated("every 16 ms", 0.016, _beyond(_SILENT, 0.15))},
        "stall": {ALL: Tolerated("30 ms", 0.03, _beyond(_SILENT, 0.3))},
        "reordered": {ALL: Tolerated("two by two", 2.0, _beyond(_SILENT, 12.0))},
    },
    Part.BOARD: {
        "off": {ALL: _SILENT},
        "stuck": {ALL: _REBOOT},
        "garbage": {ALL: _SILENT},
        "wrong": {ALL: Stop(frozenset({Fault.BOARD_REFUSED}), BOARD_BOUND_S, neutral_shift_us=40.0)},
        "slow": {ALL: Tolerated("a look every 30 ms", 0.03, _beyond(_DEAF, 0.3, 0.6))},
        "delayed": {ALL: Tolerated("30 ms", 0.03, _beyond(_SILENT, 0.15))},
        "intermittent": {ALL: _beyond(_REBOOT, 0.5, 0.5 * 1.5 + BOARD_BOUND_S)},
        "reset": {ALL: _REBOOT},
        "hang": {ALL: _REBOOT},
        "stop_input": {ALL: stop(Fault.STOP_INPUT, bound_s=AT_ONCE_S)},
        "version": {ALL: NotUsed("the version is asked for in the handshake; a start is refused then")},
        "not_stored": {ALL: stop(Fault.BOARD_REFUSED, bound_s=BOARD_BOUND_S)},
        "unplugged": {ALL: stop(Fault.BOARD_LOST, bound_s=BOARD_BOUND_S)},
        "baud": {ALL: _DEAF},
        "watchdog_slow": {
            ALL: Undetectable("the board tells it in the handshake alone, after which no start is allowed")
        },
        "watchdog_off": {
            ALL: Undetectable("a board that lies about its watchdog looks sound until the computer dies")
        },
        "latched": {ALL: stop(Fault.BOARD_REFUSED, bound_s=ACK_BOUND_S)},
        "script": {ALL: NotUsed("the own board has no scripts; a Maestro's is ended in every tick")},
        "second_opener": {ALL: Tolerated("a fifth of the replies", 0.2, _beyond(_SILENT, 0.9, _BY_CHANCE_S))},
        "another_device": {ALL: stop(Fault.BOARD_LOST, bound_s=BOARD_BOUND_S)},
        "rc_takeover": {ALL: stop(Fault.STOP_INPUT, bound_s=AT_ONCE_S)},
    },
    Part.CAR: {
        "off": {SEEING: _BLOCKED, (CALIBRATING,): _WHEELS_UP},
        "stuck": {ALL: Undetectable("a servo says nothing of where it stands")},
        "garbage": {ALL: Undetectable("random counts look like turning wheels")},
        "wrong": {ALL: Undetectable("a servo says nothing of where it stands")},
        "slow": {ALL: stop(Fault.BATTERY_CRITICAL, bound_s=BATTERY_LIMIT_S + AT_ONCE_S)},
        "delayed": {ALL: Undetectable("servo and ESC say nothing of what they do")},
        "intermittent": {ALL: Undetectable("servo and ESC say nothing of what they do")},
        "ticks_stuck": {SEEING: _BLOCKED, (CALIBRATING,): _WHEELS_UP},
        "ticks_lost": {
            SEEING: Tolerated("half of the counts", 0.5, _beyond(_BLOCKED, 1.0)),
            (CALIBRATING,): _WHEELS_UP,
        },
        "ticks_doubled": {ALL: _ANY_COUNT},
        "ticks_backwards": {ALL: _ANY_COUNT},
        "ticks_wrap": {ALL: _ANY_COUNT},
        "esc_not_armed": {SEEING: _BLOCKED, (CALIBRATING,): _WHEELS_UP},
        "esc_trim": {
            ALL: Undetectable("an ESC says nothing of what it takes for neutral: the car may creep")
        },
        "reverse_brakes": {BY_HAND: _ESC_SET_UP, BY_POLICY: _NO_REVERSE},
        "reverse_at_once": {BY_HAND: _ESC_SET_UP, BY_POLICY: _NO_REVERSE},
        "servo_slow": {ALL: Undetectable("a servo says nothing of where it stands")},
        "servo_limited": {ALL: Undetectable("a servo says nothing of where it stands")},
    },
    Part.POLICY: {
        "off": {
            BY_POLICY: stop(Fault.POLICY_FAILED, bound_s=DECISION_S + AT_ONCE_S),
            BY_HAND: _NO_POLICY,
        },
        "stuck": {BY_POLICY: Undetectable("on a straight the same answer is right"), BY_HAND: _NO_POLICY},
        "garbage": {
            BY_POLICY: stop(Fault.POLICY_NOT_FINITE, bound_s=DECISION_S + AT_ONCE_S),
            BY_HAND: _NO_POLICY,
        },
        "wrong": {BY_POLICY: Undetectable("only its training says what is right"), BY_HAND: _NO_POLICY},
        "slow": {
            BY_POLICY: Tolerated(
                "20 ms",
                0.02,
                stop(Fault.HOST_STALLED, bound_s=BOARD_BOUND_S, amount=STALL_LIMIT_S + 0.05),
            ),
            BY_HAND: _NO_POLICY,
        },
        "delayed": {BY_POLICY: Undetectable("an old answer looks like a new one"), BY_HAND: _NO_POLICY},
        "intermittent": {
            BY_POLICY: stop(Fault.POLICY_FAILED, bound_s=8 * DECISION_S + AT_ONCE_S),
            BY_HAND: _NO_POLICY,
        },
    },
    Part.OPERATOR_LINK: {
        "off": {HANDS_ON: _NO_DRIVER_HANDS_ON, (AUTONOMOUS,): _NO_DRIVER},
        "stuck": {HANDS_ON: _NO_DRIVER_HANDS_ON, (AUTONOMOUS,): _NO_DRIVER},
        "garbage": {HANDS_ON: _NO_DRIVER_HANDS_ON, (AUTONOMOUS,): _NO_DRIVER},
        "wrong": {
            WITH_INPUT: Undetectable("a sign that is wrong on its way looks like another wish"),
            (AUTONOMOUS, CALIBRATING): NotUsed("nobody steers by hand"),
        },
        "slow": {
            HANDS_ON: Tolerated("half of the requests", 0.5, _beyond(_NO_DRIVER_HANDS_ON, 0.05)),
            (AUTONOMOUS,): Tolerated("a quarter of the requests", 0.25, _beyond(_NO_DRIVER, 0.05)),
        },
        "delayed": {
            HANDS_ON: Tolerated("0.1 s", 0.1, _beyond(_NO_DRIVER_HANDS_ON, 0.3)),
            (AUTONOMOUS,): Tolerated("0.1 s", 0.1, _beyond(_NO_DRIVER, 0.3)),
        },
        "intermittent": {
            HANDS_ON: Tolerated(
                "a tenth of the requests", 0.1, _beyond(_NO_DRIVER_HANDS_ON, 0.95, _BY_CHANCE_S)
            ),
            (AUTONOMOUS,): Tolerated("a third of the requests", 0.33, _beyond(_NO_DRIVER, 0.99)),
        },
    },
    Part.CLOCK: {
        "off": {ALL: Stop(frozenset(), BOARD_BOUND_S)},
        "stuck": {ALL: _CLOCK},
        "garbage": {ALL: stop(Fault.CLOCK_WRONG, Fault.HOST_STALLED, bound_s=BOARD_BOUND_S)},
        "wrong": {ALL: Tolerated("50 ms", 0.05, stop(Fault.HOST_STALLED, bound_s=BOARD_BOUND_S, amount=1.0))},
        "slow": {
            SEEING: stop(Fault.FRAME_FROM_FUTURE, bound_s=0.2),
            (CALIBRATING,): stop(Fault.LEASE_LOST, bound_s=1.5),
        },
        "delayed": {ALL: _CLOCK},
        "intermittent": {ALL: stop(Fault.CLOCK_WRONG, bound_s=BOARD_BOUND_S)},
    },
    Part.DISK: {fault: {ALL: _NO_FILE} for fault in FAULTS[Part.DISK]},
}


def rows(parts: Iterable[Part] = PROVED_PARTS, states: Iterable[DriveState] = ALL) -> list[Row]:
    """Return the matrix of these parts and states, in the order of the vocabulary; none may be missing."""
    found = []
    wanted = tuple(states)
    for part in parts:
        for fault in FAULTS[part]:
            by_states = TABLE.get(part, {}).get(fault, {})
            for state in wanted:
                outcomes = [outcome for group, outcome in by_states.items() if state in group]
                if len(outcomes) != 1:
                    raise LookupError(f"{part}={fault} in {state} has {len(outcomes)} outcomes, allowed 1")
                found.append(Row(part, fault, state, outcomes[0]))
    return found


def chosen_rows(parts: Iterable[Part] = PROVED_PARTS) -> list[Row]:
    """Return a row of each part, fault and outcome, the states in turn: for a quick look at the matrix."""
    chosen = []
    for part in parts:
        by_place = {(row.fault, row.state): row for row in rows([part])}
        for place, fault in enumerate(FAULTS[part]):
            chosen += [by_place[fault, group[place % len(group)]] for group in TABLE[part][fault]]
    return chosen


def in_words(outcome: Outcome) -> str:
    """Return what is claimed, for a table."""
    match outcome:
        case Stop():
            named = " or ".join(sorted(outcome.faults)) or "the process ends"
            return f"STOP: {named}, within {outcome.bound_s * 1e3:.0f} ms"
        case Tolerated():
            return f"TOLERATED: {outcome.limit}; beyond it {in_words(outcome.beyond)}"
        case Undetectable():
            return f"UNDETECTABLE: {outcome.why}"
        case NotUsed():
            return f"NOT USED: {outcome.why}"
