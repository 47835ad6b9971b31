"""The whole stack against the HIL car, in lockstep."""

import hashlib
from itertools import pairwise

import pytest

from tests.hil.rig import lockstep_rig
from vehicle.messages import DriveState


@pytest.mark.parametrize("wiring", ["aws", "standard"])
def test_the_car_arms_drives_and_stops_on_request(wiring):
    with lockstep_rig(wiring=wiring) as rig:
        rig.drive()

        assert rig.world.truth_now().speed_mps == pytest.approx(1.0, abs=0.25)
        stop_ns = rig.now_ns
        rig.stop()
        assert rig.state is DriveState.DISARMED
        rig.run(2.0)
        assert rig.neutral_after_s(stop_ns) <= 0.060
        assert rig.world.truth_now().speed_mps == pytest.approx(0.0, abs=0.01)


def test_nothing_but_neutral_leaves_the_board_before_two_seconds_of_it():
    with lockstep_rig() as rig:
        rig.drive(duration_s=0.5)

        pulses = rig.pulses()
        first_driven_ns = next(t_ns for t_ns, _, throttle_us in pulses if abs(throttle_us - 1446.0) > 1)
        neutral_before = [t_ns for t_ns, _, throttle_us in pulses if throttle_us and t_ns < first_driven_ns]
        assert (first_driven_ns - neutral_before[0]) / 1e9 >= 2.0


def test_a_stopped_car_starts_again_within_half_a_second_when_neutral_never_ceased():
    with lockstep_rig() as rig:
        rig.drive()
        rig.stop()
        rig.run(2.5)

        began_ns = rig.now_ns
        assert rig.request_start().ok
        assert rig.run_until(lambda: rig.state is DriveState.AUTONOMOUS, 1.0)
        assert (rig.now_ns - began_ns) / 1e9 < 0.5


def test_the_same_seed_gives_the_same_pulses_to_the_bit():
    digests = []
    for _ in range(2):
        with lockstep_rig(seed=7) as rig:
            rig.drive(duration_s=2.0)
            digests.append(hashlib.sha256(repr(rig.pulses()).encode()).hexdigest())

    assert digests[0] == digests[1]


def test_throttle_grows_no_faster_than_its_limit_and_falls_at_once():
    with lockstep_rig() as rig:
        rig.drive(duration_s=1.0)
        rig.stop()
        rig.run(1.0)

        throttles_us = [throttle_us for _, _, throttle_us in rig.pulses() if throttle_us]
        steps_us = [before - after for before, after in pairwise(throttles_us)]  # forward is below neutral
        dead_band_us, range_us = 8.0, 127.0
        assert max(steps_us) <= dead_band_us + range_us * 4.0 * 0.040 + 1.5
        assert min(steps_us) <= -25.0


def test_the_page_learns_why_a_start_is_refused():
    with lockstep_rig() as rig:
        rig.load_policy()
        rig.run(1.0)
        rig.world.control("fault", part="camera", fault="off")
        rig.run(1.0)

        reply = rig.request_start()
        assert not reply.ok
        assert "camera" in reply.reason.lower()
        assert rig.state is DriveState.DISARMED
