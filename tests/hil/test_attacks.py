"""What nobody thinks of, in lockstep: two faults at once, in a transition, bursts, races, wrong clocks."""

import itertools
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hil.policies import write_policy
from vehicle.hil.faults import HOST_PARTS, MOMENTARY, Part, order_fault
from vehicle.messages import Actuator, DriveState, Fault, OperatorRequest, RequestKind
from vehicle.proof.outcomes import BOARD_BOUND_S, Row, Stop, Tolerated, rows
from vehicle.proof.soak import Judge
from vehicle.proof.stepped_car import PREPARE_S, SteppedCar, stepped_car

AUTONOMOUS, MANUAL, CALIBRATING = DriveState.AUTONOMOUS, DriveState.MANUAL, DriveState.CALIBRATING
DISARMED, FAILSAFE = DriveState.DISARMED, DriveState.FAILSAFE
MS = 1_000_000
LONG_AGO_NS, FAR_AHEAD_NS = -(10**18), 4 * 10**18
QUICK_S = 0.4
"""Claims of more are for what wears on slowly; here they would cost time."""


@pytest.fixture(scope="module")
def policy(tmp_path_factory) -> Path:
    return write_policy(tmp_path_factory.mktemp("policy") / "straight")


@pytest.fixture(scope="module")
def shared(policy) -> Iterator[SteppedCar]:
    with stepped_car(policy) as car:
        yield car


@pytest.fixture
def car(shared: SteppedCar) -> Iterator[SteppedCar]:
    """Yield a car at rest; afterwards nothing is broken, and it has never done what may never be."""
    wrong: list[str] = []
    throttle = shared.calibration.throttle
    judge = Judge(shared.neutral_us, -1.0 if throttle.reverse_us < throttle.neutral_us else 1.0)
    judge.forget(shared.state)
    shared.on_tick = lambda record: wrong.extend(judge.look(record, shared.now_ns))
    yield shared
    for name in shared.world.control("ping")["faults"]:
        part, _, fault = name.partition("=")
        shared.world.control("fault", part=part, fault=fault, on=False)
    shared.vehicle.host_faults.mend()
    shared.on_tick = lambda _: None
    shared.renewing, shared.drive_share, shared.steering_share = True, 0.25, 0.0
    if shared.state is not DISARMED:
        shared.run(0.3)
        shared.ask(RequestKind.DISARM)
    assert not wrong


def go(car: SteppedCar, state: DriveState, driven_s: float = 0.4) -> None:
    assert car.start(state) == ""
    car.put_down()
    car.run(driven_s)
    assert car.state is state, car.status.sentence


def begin(car: SteppedCar, state: DriveState) -> None:
    """Have the car arm, and no more."""
    for _ in range(60):
        car.run(0.1)
        if car.state is not DISARMED:
            car.ask(RequestKind.DISARM)
        car.ask(RequestKind.TAKE_LEASE)
        reply = car._ask_to_start(state)
        if reply.ok:
            car.put_down()
            return
    pytest.fail(reply.reason)


def break_it(car: SteppedCar, part: Part, fault: str, amount: float | None = None) -> None:
    if part in HOST_PARTS:
        at_s = car.vehicle.host_faults.elapsed_s()
        car.vehicle.host_faults.order(order_fault(part, fault, amount, at_s))
    else:
        car.world.control("fault", part=part, fault=fault, amount=amount)


def mend(car: SteppedCar, part: Part, fault: str) -> None:
    if part in HOST_PARTS:
        car.vehicle.host_faults.mend()
    elif (part, fault) not in MOMENTARY:
        car.world.control("fault", part=part, fault=fault, on=False)


def request_of(car: SteppedCar, kind: RequestKind, sent_ns: int, source: str = "driver", **fields) -> str:
    """Make a request with a date of its own; return its id."""
    request = OperatorRequest(f"dated-{next(car._ids)}", source, kind, sent_ns, **fields)
    car.border.waiting.append(request)
    return request.id


def stop_of(row: Row) -> Stop | None:
    outcome = row.outcome
    if isinstance(outcome, Tolerated):
        return outcome.beyond
    return outcome if isinstance(outcome, Stop) and outcome.faults else None


def quick_rows(state: DriveState) -> list[Row]:
    """Return what stops a car in this state soon; a clock that is wrong dates nothing here."""
    quick = [row for row in rows(states=[state]) if (claim := stop_of(row)) and claim.bound_s <= QUICK_S]
    return [
        row for row in quick if row.part is not Part.CLOCK and (row.part, row.fault) != (Part.BOARD, "wrong")
    ]


def assert_stopped(car: SteppedCar, began_ns: int, bound_s: float) -> None:
    """Run on and require: failsafe, neutral in time and for good."""
    car.run(bound_s + 0.3, until=lambda: car.state is FAILSAFE)
    car.run(0.3)
    assert car.state is FAILSAFE
    assert car.neutral_after_s(began_ns) <= bound_s


@pytest.mark.parametrize("state", [MANUAL, DriveState.ASSISTED, AUTONOMOUS, CALIBRATING])
def test_two_things_that_break_together_stop_the_car_no_later_than_the_slower_alone(car, state):
    rng = random.Random(f"pairs {state}")
    for _ in range(3):
        pair = rng.sample(quick_rows(state), 2)
        go(car, state)
        began_ns = car.now_ns
        for row in pair:
            break_it(car, row.part, row.fault, stop_of(row).amount)
        assert_stopped(car, began_ns, max(stop_of(row).bound_s for row in pair))
        for row in pair:
            mend(car, row.part, row.fault)
        mended_ns = car.now_ns
        car.run(0.3)
        assert car.neutral_after_s(mended_ns) == 0.0
        assert car.state is FAILSAFE


@pytest.mark.parametrize("state", [MANUAL, AUTONOMOUS, CALIBRATING])
@pytest.mark.parametrize("moment", ["arming", "first tick", "50 ms later"])
def test_what_breaks_while_the_car_begins_to_move_stops_it_as_soon_as_ever(car, state, moment):
    row = random.Random(f"{moment} {state}").choice(quick_rows(state))
    begin(car, state)
    car.run(0.15 if moment == "arming" else 4.0, until=lambda: car.state is state)
    car.run(0.05 if moment == "50 ms later" else 0.0)
    began_ns = car.now_ns
    break_it(car, row.part, row.fault, stop_of(row).amount)

    assert_stopped(car, began_ns, stop_of(row).bound_s)


@pytest.mark.parametrize("part", [Part.SERIAL_OUT, Part.SERIAL_IN])
def test_a_stall_of_any_length_and_the_old_bytes_after_it_drive_nobody(car, part):
    for stall_s in (0.12, 0.18, 0.25):
        go(car, AUTONOMOUS)
        began_ns = car.now_ns
        break_it(car, part, "stall", stall_s)
        car.run(stall_s + 0.3)
        assert car.state is FAILSAFE, stall_s
        assert car.neutral_after_s(began_ns) <= BOARD_BOUND_S, stall_s


@pytest.mark.parametrize("moment", ["prepared", "arming", "turning", "storing again"])
def test_a_board_that_resets_while_calibrating_leaves_neutral_and_a_car_that_drives(car, moment):
    if moment == "prepared":
        car.start(MANUAL)
        car.ask(RequestKind.DISARM)
        car.run(0.3)
        car.ask(
            RequestKind.PREPARE_CALIBRATION,
            actuator=Actuator.THROTTLE,
            steering_us=car.calibration.steering.center_us,
            throttle_us=car.neutral_us,
        )
        car.run(0.02)
    else:
        begin(car, CALIBRATING)
        car.run(0.1 if moment == "arming" else 4.0, until=lambda: car.state is CALIBRATING)
    if moment in {"turning", "storing again"}:
        car.run(0.4)
    if moment == "storing again":
        car.ask(RequestKind.DISARM)
        car.run(0.03)
    began_ns = car.now_ns
    break_it(car, Part.BOARD, "reset", 0.2)
    car.run(PREPARE_S)

    assert car.state in {DISARMED, FAILSAFE}
    assert car.neutral_after_s(began_ns) <= BOARD_BOUND_S
    car.ask(RequestKind.DISARM)
    car.run(6.0, until=lambda: not car.status.calibrating)  # what was prepared is forgotten after a while
    go(car, AUTONOMOUS)


ORDERS = list(itertools.permutations((RequestKind.EMERGENCY_STOP, RequestKind.DISARM, RequestKind.START)))


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: "-".join(kind.value for kind in order))
@pytest.mark.parametrize("state", [DISARMED, DriveState.ARMING, AUTONOMOUS])
def test_an_emergency_stop_wins_in_its_tick_whatever_else_comes_in_it(car, state, order):
    if state is AUTONOMOUS:
        go(car, AUTONOMOUS, driven_s=0.1)
    elif state is DriveState.ARMING:
        begin(car, AUTONOMOUS)
    else:
        begin(car, AUTONOMOUS)
        car.ask(RequestKind.DISARM)
    assert car.state is state
    for kind in order:
        car.send(kind, **({"target": AUTONOMOUS} if kind is RequestKind.START else {}))
    car.tick()

    assert car.state is FAILSAFE
    assert car.latched_fault is Fault.EMERGENCY_STOP
    car.run(0.5)
    assert car.state is FAILSAFE


@pytest.mark.parametrize("dated_ns", [LONG_AGO_NS, 0, FAR_AHEAD_NS])
def test_what_stops_is_obeyed_whatever_its_senders_clock_says_and_nothing_else_is(car, dated_ns):
    go(car, MANUAL)
    refused = [
        request_of(car, RequestKind.DRIVE, dated_ns, throttle_frac=1.0),
        request_of(car, RequestKind.SET_SPEED_CAP, dated_ns, speed_cap_frac=1.0),
        request_of(car, RequestKind.TAKE_LEASE, dated_ns),
    ]
    car.tick()
    assert [car.border.replies[one].ok for one in refused] == [False, False, False]
    assert car.state is MANUAL
    request_of(car, RequestKind.EMERGENCY_STOP, dated_ns, source="watcher")
    car.tick()
    assert car.latched_fault is Fault.EMERGENCY_STOP
    disarm = request_of(car, RequestKind.DISARM, dated_ns)  # has not seen that stop, or cannot show it
    car.tick()
    assert not car.border.replies[disarm].ok
    assert car.state is FAILSAFE

    car.ask(RequestKind.DISARM)
    go(car, MANUAL)
    request_of(car, RequestKind.DISARM, dated_ns, source="watcher")
    car.tick()
    assert car.state is DISARMED


def test_an_emergency_stop_while_a_policy_loads_stays_and_the_policy_starts_nothing(car, policy):
    car.start(MANUAL)
    car.ask(RequestKind.DISARM)
    car.run(0.1)
    assert car.ask(RequestKind.ACTIVATE_POLICY, policy=str(policy)).ok
    assert car.vehicle.policies.is_loading
    car.ask(RequestKind.EMERGENCY_STOP)
    assert car.latched_fault is Fault.EMERGENCY_STOP
    car.load_policy()
    car.run(1.0)
    assert car.latched_fault is Fault.EMERGENCY_STOP
    assert car.ask(RequestKind.DISARM).ok
    car.run(0.5)

    assert car.state is DISARMED
    assert car.status.speed_cap_frac <= 0.3  # that of a new policy
    go(car, AUTONOMOUS)


@pytest.mark.parametrize("first", [RequestKind.START, RequestKind.ACTIVATE_POLICY])
def test_a_start_and_another_policy_in_one_tick_never_drive_while_it_loads(car, policy, first):
    car.start(MANUAL)
    car.ask(RequestKind.DISARM)
    car.run(0.3)
    asked = {
        RequestKind.START: {"target": AUTONOMOUS},
        RequestKind.ACTIVATE_POLICY: {"policy": str(policy)},
    }
    for kind in (first, *(set(asked) - {first})):
        car.send(kind, **asked[kind])
    car.tick()

    assert car.state is DISARMED
    car.run(0.1)
    if first is RequestKind.START:  # the other way round its answer says so
        assert car.status.sentence.startswith("Not started: ")
    car.load_policy()
    car.run(0.3)
    assert car.state is DISARMED
    go(car, AUTONOMOUS)


def test_whoever_takes_the_lease_of_a_stopped_car_inherits_neither_stick_nor_start(car):
    car.drive_share = 1.0
    go(car, MANUAL)
    car.renewing = False
    began_ns = car.now_ns
    assert_stopped(car, began_ns, 0.36)
    car.run(1.5)  # a stopped car waits for its driver as long as a policy's does
    taken = request_of(car, RequestKind.TAKE_LEASE, car.now_ns, source="other")
    car.tick()
    assert car.border.replies[taken].ok
    refused = [
        car.send(RequestKind.DRIVE, throttle_frac=1.0),
        car.send(RequestKind.START, target=MANUAL),
        car.send(RequestKind.RENEW_LEASE),
    ]
    late = request_of(car, RequestKind.START, car.now_ns - 100 * MS, source="other", target=MANUAL)
    car.tick()
    assert not any(car.border.replies[one].ok for one in (*refused, late))
    assert car.state is FAILSAFE

    request_of(car, RequestKind.DISARM, car.now_ns, source="other")
    car.tick()
    request_of(car, RequestKind.TAKE_LEASE, car.now_ns, source="other")
    car.tick()
    start = request_of(car, RequestKind.START, car.now_ns, source="other", target=MANUAL)
    car.tick()
    assert car.border.replies[start].ok, car.border.replies[start].reason
    disarmed_ns = car.now_ns
    for _ in range(20):  # the old driver's stick is still held; the new one's says nothing
        request_of(car, RequestKind.RENEW_LEASE, car.now_ns, source="other")
        car.send(RequestKind.DRIVE, throttle_frac=1.0)
        car.run(0.1)
    assert car.neutral_after_s(disarmed_ns) == 0.0
    car.run(0.5)  # and the new one falls silent
    assert car.state is FAILSAFE


def test_a_vehicle_that_starts_anew_while_the_stick_is_held_stands_still(car):
    car.drive_share = 1.0
    go(car, MANUAL)
    car.vehicle.close()
    car.restart()
    began_ns = car.now_ns
    for _ in range(40):
        drive = car.send(RequestKind.DRIVE, throttle_frac=1.0)
        car.run(0.05)
        assert not car.border.replies[drive].ok

    assert car.state is DISARMED
    assert car.neutral_after_s(began_ns) == 0.0
    go(car, MANUAL)


def test_wheels_that_seem_to_turn_while_the_car_stands_start_nothing_and_hide_nothing_else(car):
    break_it(car, Part.CAR, "garbage")
    began_ns = car.now_ns
    car.run(1.0)
    assert car.state is DISARMED
    assert car.neutral_after_s(began_ns) == 0.0
    go(car, AUTONOMOUS)
    began_ns = car.now_ns
    break_it(car, Part.CAMERA, "silent")
    assert_stopped(car, began_ns, 0.2)


@pytest.mark.parametrize("fault", ["reverse_at_once", "reverse_brakes"])
def test_an_esc_that_is_set_up_otherwise_never_drives_back_before_the_car_stands(car, fault):
    car.drive_share = 1.0
    go(car, MANUAL, driven_s=0.8)
    assert car.truth().speed_mps > 1.0
    break_it(car, Part.CAR, fault)
    car.drive_share = -1.0
    speeds = []
    for _ in range(60):
        car.run(0.05)
        speeds.append(car.truth().speed_mps)

    first_stand = next((at for at, speed in enumerate(speeds) if speed < 0.3), len(speeds))
    assert all(speed >= 0.0 for speed in speeds[:first_stand])
    assert all(late <= early + 0.01 for early, late in itertools.pairwise(speeds[:first_stand]))
    if fault == "reverse_brakes":
        assert min(speeds) >= -0.01


def test_a_radio_that_takes_over_has_the_car_and_leaves_it_stopped(car):
    go(car, AUTONOMOUS)
    throttle = car.calibration.throttle
    forward = 1.0 if throttle.forward_us > throttle.neutral_us else -1.0
    began_ns = car.now_ns
    break_it(car, Part.BOARD, "rc_takeover", 0.3 * forward)
    car.run(1.0)
    assert car.latched_fault is Fault.STOP_INPUT
    assert car.neutral_after_s(began_ns) <= 0.057
    assert car.truth().speed_mps > 0.3  # the person's stick drives it
    mend(car, Part.BOARD, "rc_takeover")
    car.run(3.0)

    assert car.state is FAILSAFE
    assert car.truth().speed_mps == pytest.approx(0.0, abs=0.02)
    assert car.neutral_after_s(began_ns) <= 0.057
