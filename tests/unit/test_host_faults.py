"""Policy, operator link, clock and disk break as their words say."""

import errno
import itertools
import math
import os
import threading
import time

import msgspec
import pytest

from models.errors import PolicyOutputError
from models.policy import Decision, Policy
from vehicle.errors import HilError
from vehicle.hil.faults import FAULTS, HOST_PARTS, Part, order_fault, parse_fault
from vehicle.hil.host_faults import BrokenClock, BrokenDisk, BrokenLink, BrokenPolicy, HostFaults
from vehicle.messages import DriveAction, OperatorRequest, Reply, RequestKind

SECOND = 10**9


class Hands:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.at_ns = 5 * SECOND
        self.waited_ns = 0

    def now_ns(self) -> int:
        return self.at_ns

    def suspended_ns(self) -> int:
        return 7

    def wait(self, deadline_ns, camera, after_frame, *, hears) -> bool:
        self.waited_ns = deadline_ns
        return hears


@pytest.fixture
def hands():
    return Hands()


def faults(hands, *texts, pause=None):
    return HostFaults([parse_fault(text) for text in texts], hands.now_ns, pause=pause or (lambda s: None))


def test_only_this_sides_parts_can_be_ordered(hands):
    for part in Part:
        order = order_fault(part, "off")
        if part in HOST_PARTS:
            HostFaults([order], hands.now_ns)
        else:
            with pytest.raises(HilError, match="lapwing hil"):
                HostFaults([order], hands.now_ns)


def test_a_fault_begins_and_ends_in_time_and_can_be_mended(hands):
    broken = HostFaults([parse_fault("clock=stuck@2..3")], hands.now_ns, start_ns=5 * SECOND)
    assert not broken.is_on(Part.CLOCK, "stuck")
    hands.at_ns = 7 * SECOND
    assert broken.is_on(Part.CLOCK, "stuck")
    hands.at_ns = 8 * SECOND
    assert not broken.is_on(Part.CLOCK, "stuck")
    assert broken.elapsed_s() == 3.0

    broken.order(order_fault("policy", "slow", 0.2, 3.0))
    assert broken.amount(Part.POLICY, "slow") == 0.2
    broken.mend()
    assert broken.amount(Part.POLICY, "slow") is None


# The clock.


def test_a_sound_clock_shows_the_true_time(hands):
    clock = BrokenClock(hands, faults(hands))
    hands.at_ns += 3
    assert clock.now_ns() == hands.at_ns
    assert clock.suspended_ns() == 7
    clock.wait(123, None, None, hears=False)
    assert hands.waited_ns == 123


def test_a_clock_breaks_as_its_words_say(hands):
    def readings(text, count=4):
        hands.at_ns = 5 * SECOND
        clock = BrokenClock(hands, faults(hands, text))
        shown = []
        for _ in range(count):
            hands.at_ns += SECOND
            shown.append(clock.now_ns() / SECOND)
        return shown

    assert readings("clock=stuck") == [5, 5, 5, 5]
    assert readings("clock=wrong:2") == [8, 9, 10, 11]
    assert readings("clock=slow:0.5") == [6, 6.5, 7, 7.5]
    assert readings("clock=garbage") != [6, 7, 8, 9]
    assert all(abs(shown - 5 - n) <= 11 for n, shown in enumerate(readings("clock=garbage", 50)))
    jumpy = readings("clock=intermittent:0.5", 50)
    assert any(a == b for a, b in itertools.pairwise(jumpy))
    assert any(a != b for a, b in itertools.pairwise(jumpy))


def test_a_clock_that_cannot_be_read_raises(hands):
    clock = BrokenClock(hands, faults(hands, "clock=off@6"))
    hands.at_ns += 2 * SECOND
    with pytest.raises(OSError, match="cannot be read"):
        clock.now_ns()


def test_a_computer_that_slept_says_so(hands):
    assert BrokenClock(hands, faults(hands, "clock=delayed:60")).suspended_ns() == 60 * SECOND + 7


def test_a_loop_with_a_wrong_clock_waits_no_longer_than_a_quarter_second(hands):
    clock = BrokenClock(hands, faults(hands, "clock=wrong:2"))
    shown = clock.now_ns()
    clock.wait(shown + 10_000_000, None, None, hears=False)
    assert hands.waited_ns == hands.at_ns + 10_000_000
    clock.wait(shown + 10 * SECOND, None, None, hears=False)
    assert hands.waited_ns == hands.at_ns + 250_000_000


# The operator's link.


class Border:
    def __init__(self, *requests) -> None:
        self.waiting = list(requests)
        self.replies = []

    def drain(self, answer) -> None:
        waiting, self.waiting = self.waiting, []
        self.replies += [answer(request) for request in waiting]


def request(number, **fields) -> OperatorRequest:
    return OperatorRequest(str(number), "page", RequestKind.DRIVE, 0, **fields)


def arrivals(hands, text, count=20):
    arrived = []
    border = Border()
    link = BrokenLink(border, faults(hands, text))

    def answer(one):
        arrived.append(one)
        return Reply(one.id, ok=True)

    for number in range(count):
        border.waiting.append(request(number, steering_frac=0.5, throttle_frac=0.25))
        link.drain(answer)
    return arrived, border, link, answer


@pytest.mark.parametrize(
    ("text", "fewest", "most"),
    [
        ("operator_link=off", 0, 0),
        ("operator_link=garbage", 0, 0),
        ("operator_link=slow:0.25", 5, 5),
        ("operator_link=intermittent:0.5", 5, 15),
        ("operator_link=wrong", 20, 20),
        ("policy=off", 20, 20),
    ],
)
def test_requests_are_lost_as_the_words_say(hands, text, fewest, most):
    arrived, border, _, _ = arrivals(hands, text)
    assert fewest <= len(arrived) <= most
    assert len(border.replies) == 20
    assert sum(reply.ok for reply in border.replies) == len(arrived)


def test_a_link_that_is_slow_once_more_lets_nothing_through_sooner_for_what_was_before(hands):
    broken, border, arrived = faults(hands), Border(), []
    link = BrokenLink(border, broken)

    def send(number):
        border.waiting.append(request(number))
        link.drain(lambda one: (arrived.append(one.id), Reply(one.id, ok=True))[1])

    for first in (0, 10):
        broken.order(order_fault("operator_link", "slow", 0.25, broken.elapsed_s()))
        for number in range(first, first + 3):
            send(number)
        broken.mend()
        send(first + 5)
    assert arrived == ["5", "15"]


def test_a_wrong_link_turns_the_signs(hands):
    arrived, *_ = arrivals(hands, "operator_link=wrong", 1)
    assert (arrived[0].steering_frac, arrived[0].throttle_frac) == (-0.5, -0.25)


def test_a_delayed_request_arrives_later(hands):
    arrived, _, link, answer = arrivals(hands, "operator_link=delayed:0.1", 2)
    assert arrived == []
    hands.at_ns += 100_000_000
    link.drain(answer)
    assert [one.id for one in arrived] == ["0", "1"]


def test_a_stuck_link_lets_everything_go_at_once_afterwards(hands):
    broken = faults(hands, "operator_link=stuck")
    border, arrived = Border(request(1), request(2)), []
    link = BrokenLink(border, broken)

    def answer(one):
        arrived.append(one)
        return Reply(one.id, ok=True)

    link.drain(answer)
    hands.at_ns += SECOND
    link.drain(answer)
    assert arrived == []
    broken.mend()
    link.drain(answer)
    assert [one.id for one in arrived] == ["1", "2"]


# The policy.


class SteadyPolicy(Policy):
    """Steers a little more at each decision."""

    def __init__(self) -> None:
        self.count = 0

    def decide(self, sight, calibration):
        self.count += 1
        return Decision((), -1, DriveAction(self.count / 100, 0.5), False, 0, 0)


def answers(hands, text, count=5, pause=None):
    class Broken(BrokenPolicy, SteadyPolicy):
        pass

    policy = Broken(SteadyPolicy(), faults(hands, text, pause=pause))
    actions = []
    for _ in range(count):
        hands.at_ns += 100_000_000
        try:
            actions.append(policy.decide(None, None).action)
        except PolicyOutputError:
            actions.append(None)
    return actions


def test_a_policy_breaks_as_its_words_say(hands):
    hundredths = [0.01, 0.02, 0.03, 0.04, 0.05]
    assert [action.steering_frac for action in answers(hands, "clock=off")] == hundredths
    assert answers(hands, "policy=off") == [None] * 5
    assert all(math.isnan(action.throttle_frac) for action in answers(hands, "policy=garbage"))
    assert [action.steering_frac for action in answers(hands, "policy=wrong")] == [-x for x in hundredths]
    assert [action.steering_frac for action in answers(hands, "policy=stuck")] == [0.01] * 5
    late = [action.steering_frac for action in answers(hands, "policy=delayed:0.2")]
    assert late == [0.01, 0.01, 0.01, 0.02, 0.03]
    some = answers(hands, "policy=intermittent:0.5", 40)
    assert 5 < some.count(None) < 35


def test_a_slow_policy_takes_its_time(hands):
    pauses = []
    answers(hands, "policy=slow:0.3", 2, pauses.append)
    assert pauses == [0.3, 0.3]


# The disk.


@pytest.fixture
def broken_disk(hands):
    disks = []

    def make(*texts):
        broken = faults(hands, *texts)
        broken.schedule.advance(hands.now_ns())
        disks.append(BrokenDisk(broken))
        return disks[-1], broken

    yield make
    for disk in disks:
        disk.close()


@pytest.mark.parametrize(
    ("fault", "number"),
    [("off", errno.EIO), ("garbage", errno.EUCLEAN), ("wrong", errno.EROFS), ("full", errno.ENOSPC)],
)
def test_a_broken_disk_refuses_to_open_a_file_to_write(fault, number, broken_disk, tmp_path):
    disk, _ = broken_disk(f"disk={fault}")
    with pytest.raises(OSError, match=os.strerror(number)) as refused:
        (tmp_path / "new").write_text("x")
    assert refused.value.errno == number
    assert disk.writes_tried == 1


def test_a_broken_disk_can_be_read_and_devices_go_on(broken_disk, tmp_path):
    (tmp_path / "old").write_text("x")
    disk, _ = broken_disk("disk=off")
    assert (tmp_path / "old").read_text() == "x"
    with open("/dev/null", "w") as sink:
        sink.write("x")
    assert disk.writes_tried == 0


def test_a_disk_that_is_stuck_goes_on_when_it_is_mended(broken_disk, tmp_path):
    _, broken = broken_disk("disk=stuck")
    writer = threading.Thread(target=(tmp_path / "new").write_text, args=("x",))
    writer.start()
    time.sleep(0.05)
    assert writer.is_alive()
    broken.mend()
    writer.join(5)
    assert (tmp_path / "new").read_text() == "x"


def test_a_slow_disk_takes_its_time_and_a_late_one_only_once(broken_disk, tmp_path):
    def took_s() -> float:
        began_s = time.monotonic()
        (tmp_path / "new").write_text("x")
        return time.monotonic() - began_s

    _, broken = broken_disk("disk=slow:0.05")
    assert took_s() >= 0.05
    broken.mend()
    broken.order(order_fault("disk", "delayed", 0.2, broken.elapsed_s()))
    broken.is_on(Part.DISK, "delayed")
    assert took_s() >= 0.2
    assert took_s() < 0.15


def test_a_disk_that_fails_at_random_fails_some_of_the_time(broken_disk, tmp_path):
    broken_disk("disk=intermittent:0.5")
    failures = 0
    for _ in range(40):
        try:
            (tmp_path / "new").write_text("x")
        except OSError:
            failures += 1
    assert 5 < failures < 35


def test_a_disk_that_was_left_alone_does_nothing(broken_disk, tmp_path):
    disk, _ = broken_disk("disk=off")
    disk.close()
    (tmp_path / "new").write_text("x")
    assert disk.writes_tried == 0


def test_every_word_of_this_side_is_known_here():
    assert msgspec.json.encode(sorted(HOST_PARTS)) == b'["clock","disk","operator_link","policy"]'
    assert all(FAULTS[part] for part in HOST_PARTS)
