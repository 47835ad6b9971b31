"""Every set of sensors of the field drives through the real bytes, and stops when one of them fails."""

import hashlib

import numpy as np
import pytest

from tests.hil.policies import write_policy
from tests.hil.rig import Rig, lockstep_rig
from tests.hil.sensing_policies import KINDS, write_sensing_policy
from vehicle.config import CameraConfig
from vehicle.hil.settings import Obstacle, OtherCar
from vehicle.messages import DriveState, Fault, RequestKind

PULSE_S = 0.020  # a pulse that has started is not taken back
TICK_S = 0.017
FRAME_S, SCAN_S, OVERDUE_S = 1 / 30, 0.1, 0.075
FRAME_OVERDUE_BOUND_S = 2 * FRAME_S + OVERDUE_S + TICK_S + 2 * PULSE_S
SCAN_OVERDUE_BOUND_S = 2 * SCAN_S + OVERDUE_S + TICK_S + 2 * PULSE_S
FIVE_FRAMES_BOUND_S = 6 * FRAME_S + 0.030 + 2 * TICK_S + 2 * PULSE_S
THREE_SCANS_BOUND_S = 4 * SCAN_S + 2 * TICK_S + 2 * PULSE_S

STEREO, FRONT = "STEREO_CAMERAS", "FRONT_FACING_CAMERA"
LIST, RANGE, SAC = KINDS
FAR_ENOUGH_M = 10.0


def travelled_m(rig: Rig, limit_s: float = 40.0) -> float:
    """Drive on until far enough, or until something is touched; return how far it was."""
    places = []
    while len(places) < limit_s / 0.1:
        rig.run(0.1)
        truth = rig.world.truth_now()
        places.append((truth.x_m, truth.y_m))
        path_m = float(np.hypot(*np.diff(places, axis=0).T).sum()) if len(places) > 1 else 0.0
        if truth.crashed or path_m > FAR_ENOUGH_M:
            break
    assert not truth.crashed, truth.crashed_into
    return path_m


@pytest.mark.parametrize(
    ("camera", "lidar", "kind"),
    [
        ("observation", None, LIST),
        (FRONT, None, LIST),
        ("LEFT_CAMERA", None, RANGE),
        (STEREO, None, LIST),
        (FRONT, "LIDAR", LIST),
        ("LEFT_CAMERA", "SECTOR_LIDAR", LIST),
        ("observation", "DISCRETIZED_SECTOR_LIDAR", LIST),
        (STEREO, "LIDAR", LIST),
        (STEREO, "DISCRETIZED_SECTOR_LIDAR", SAC),
    ],
)
def test_a_policy_of_every_kind_and_set_of_sensors_drives_ten_metres_and_touches_nothing(
    tmp_path, camera, lidar, kind
):
    with lockstep_rig(policy=write_sensing_policy(tmp_path / "policy", camera, lidar, kind=kind)) as rig:
        rig.start()
        assert travelled_m(rig) > FAR_ENOUGH_M

        assert rig.state is DriveState.AUTONOMOUS
        record = next(r for r in reversed(rig.publisher.records) if r.decided)
        assert rig.status.policy_sensors == tuple(sorted(name for name in (camera, lidar) if name))
        steered = {r.action_index for r in rig.publisher.records if r.action_index >= 0}
        if kind == LIST:
            assert len(steered) > 1, "it must really have steered"
        else:
            assert not steered
            angles = {round(r.wanted.steering_frac, 2) for r in rig.publisher.records if r.decided}
            assert len(angles) > 10, "it must really have steered, by more than three angles"
        assert (record.right_frame_number == record.frame_number) == (camera == STEREO)
        assert (record.right_frame_stamp_ns == record.frame_stamp_ns) == (camera == STEREO)
        assert (record.scan_number >= 0) == (lidar is not None)
        if lidar is not None:
            assert 0 <= record.now_ns - record.scan_stamp_ns <= 1.1 * SCAN_S * 1e9


def test_a_policy_with_a_lidar_steers_by_it_and_by_nothing_else(tmp_path):
    """Mirrored, it sends the car into the wall that it would have avoided, and no monitor can tell."""
    policy = write_sensing_policy(tmp_path / "policy", FRONT, "LIDAR")
    with lockstep_rig(policy=policy, faults=("lidar=wrong",)) as rig:
        rig.start()
        assert rig.run_until(lambda: rig.world.truth_now().crashed, 20.0)


def test_a_camera_said_to_hang_upside_down_is_turned_for_the_policy(tmp_path):
    """This one does not, so that the policy sees the road from the wrong side and leaves it."""
    policy = write_sensing_policy(tmp_path / "policy", FRONT)
    with lockstep_rig(policy=policy, mounted=CameraConfig(rotate_180=True)) as rig:
        rig.start()
        assert rig.run_until(lambda: rig.world.truth_now().crashed, 30.0)


def test_both_eyes_of_a_stereo_policy_count(tmp_path):
    with lockstep_rig(policy=write_sensing_policy(tmp_path / "policy", STEREO)) as rig:
        rig.start()
        rig.run(1.0)
        seen = rig.vehicle.loop._sensing.look(30.0)
        sight = rig.vehicle.loop._sensing.sight(seen)
        policy = rig.vehicle.loop._policy
        calibration = rig.calibration

        plain = policy.decide(sight, calibration).output
        assert policy.decide(sight._replace(right_image=sight.image), calibration).output != plain
        assert policy.decide(sight._replace(image=sight.right_image), calibration).output != plain


@pytest.mark.parametrize(
    ("fault", "amount", "named", "bound_s"),
    [
        ("off", None, {Fault.RIGHT_CAMERA_LOST, Fault.RIGHT_CAMERA_OVERDUE}, FRAME_OVERDUE_BOUND_S),
        ("silent", None, {Fault.RIGHT_CAMERA_OVERDUE}, FRAME_OVERDUE_BOUND_S),
        ("garbage", None, {Fault.RIGHT_CAMERA_OVERDUE}, FRAME_OVERDUE_BOUND_S),
        ("intermittent", 1.0, {Fault.RIGHT_CAMERA_OVERDUE}, FRAME_OVERDUE_BOUND_S),
        ("slow", 0.1, {Fault.RIGHT_CAMERA_OVERDUE}, FRAME_OVERDUE_BOUND_S),
        ("stuck", None, {Fault.RIGHT_CAMERA_FROZEN}, FIVE_FRAMES_BOUND_S),
        ("covered", None, {Fault.RIGHT_CAMERA_COVERED}, FIVE_FRAMES_BOUND_S),
        ("future", 1.0, {Fault.FRAME_FROM_FUTURE, Fault.STEREO_APART}, FRAME_OVERDUE_BOUND_S),
        ("future", 0.028, {Fault.STEREO_APART}, FRAME_OVERDUE_BOUND_S),
    ],
)
def test_a_stereo_policy_stops_when_the_right_camera_fails(tmp_path, fault, amount, named, bound_s):
    with lockstep_rig(policy=write_sensing_policy(tmp_path / "policy", STEREO)) as rig:
        rig.drive()
        began_ns = rig.now_ns
        rig.world.control("fault", part="camera_right", fault=fault, amount=amount)
        rig.assert_stops(named, bound_s, began_ns)

        rig.world.control("fault", part="camera_right", fault=fault, on=False)
        rig.assert_stays_stopped_when_mended()
        rig.assert_drives_again()


@pytest.mark.parametrize(
    ("fault", "amount", "named", "bound_s"),
    [
        ("off", None, {Fault.LIDAR_LOST, Fault.LIDAR_OVERDUE}, SCAN_OVERDUE_BOUND_S),
        ("silent", None, {Fault.LIDAR_OVERDUE}, SCAN_OVERDUE_BOUND_S),
        ("garbage", None, {Fault.LIDAR_OVERDUE}, SCAN_OVERDUE_BOUND_S),
        ("intermittent", 1.0, {Fault.LIDAR_OVERDUE}, SCAN_OVERDUE_BOUND_S),
        ("slow", 0.1, {Fault.LIDAR_OVERDUE}, SCAN_OVERDUE_BOUND_S),
        ("delayed", 0.5, {Fault.LIDAR_OVERDUE}, SCAN_OVERDUE_BOUND_S),
        ("stuck", None, {Fault.LIDAR_FROZEN}, THREE_SCANS_BOUND_S),
        ("covered", None, {Fault.LIDAR_BLIND}, THREE_SCANS_BOUND_S),
        ("future", 1.0, {Fault.FRAME_FROM_FUTURE}, SCAN_OVERDUE_BOUND_S),
    ],
)
def test_a_lidar_policy_stops_when_the_lidar_fails(tmp_path, fault, amount, named, bound_s):
    with lockstep_rig(policy=write_sensing_policy(tmp_path / "policy", FRONT, "LIDAR")) as rig:
        rig.drive()
        began_ns = rig.now_ns
        rig.world.control("fault", part="lidar", fault=fault, amount=amount)
        rig.assert_stops(named, bound_s, began_ns)

        rig.world.control("fault", part="lidar", fault=fault, on=False)
        rig.assert_stays_stopped_when_mended()
        rig.assert_drives_again()


@pytest.mark.parametrize(("camera", "lidar"), [(STEREO, None), (FRONT, "SECTOR_LIDAR")])
def test_the_front_camera_is_watched_whatever_else_a_policy_looks_at(tmp_path, camera, lidar):
    with lockstep_rig(policy=write_sensing_policy(tmp_path / "policy", camera, lidar)) as rig:
        rig.drive()
        began_ns = rig.now_ns
        rig.world.control("fault", part="camera", fault="silent")
        rig.assert_stops({Fault.CAMERA_OVERDUE}, FRAME_OVERDUE_BOUND_S, began_ns)
        rig.world.control("fault", part="camera", fault="silent", on=False)
        rig.assert_stays_stopped_when_mended()
        rig.assert_drives_again()


def test_sensors_that_the_policy_does_not_look_at_are_not_read_and_may_be_broken():
    with lockstep_rig(faults=("camera_right=off", "lidar=garbage")) as rig:
        rig.drive()

        assert rig.vehicle.right_camera.latest() is None
        assert rig.vehicle.lidar.latest() is None
        assert rig.vehicle.lidar.bad_readings == 0
        assert rig.status.right_camera_note == rig.status.lidar_note == ""


def test_a_person_may_drive_while_the_policys_lidar_is_broken(tmp_path):
    policy = write_sensing_policy(tmp_path / "policy", FRONT, "LIDAR")
    with lockstep_rig(policy=policy, faults=("lidar=off",)) as rig:
        rig.load_policy()
        rig.run(3.0)
        assert "LIDAR" in rig.request_start().reason
        assert "lidar" in rig.status.lidar_note.lower()
        assert rig.request_start(DriveState.MANUAL).ok
        rig.stop()


@pytest.mark.parametrize(
    ("camera", "lidar", "lacks", "words"),
    [
        (STEREO, None, {"has_right_camera": False}, "two cameras"),
        (FRONT, "LIDAR", {"has_lidar": False}, "LIDAR"),
    ],
)
def test_a_policy_that_needs_a_sensor_the_car_lacks_is_refused_in_words(
    tmp_path, camera, lidar, lacks, words
):
    with lockstep_rig(policy=write_sensing_policy(tmp_path / "policy", camera, lidar), **lacks) as rig:
        rig.load_policy()
        rig.run(3.0)
        reply = rig.request_start()

        assert not reply.ok
        assert words in reply.reason
        assert "car.toml" in reply.reason
        assert rig.state is DriveState.DISARMED
        rig.run(1.0)
        assert rig.request_start(DriveState.MANUAL).ok
        rig.stop()


def test_policies_of_different_sensors_take_turns(tmp_path):
    policies = [
        write_sensing_policy(tmp_path / "both", STEREO, "LIDAR"),
        write_sensing_policy(tmp_path / "front", FRONT),
        write_sensing_policy(tmp_path / "stereo", STEREO),
        write_sensing_policy(tmp_path / "again", STEREO, "LIDAR"),
    ]
    with lockstep_rig(policy=policies[0]) as rig:
        rig.start()
        for policy in policies[1:]:
            rig.run(0.5)
            rig.stop()
            rig.run(0.5)
            assert rig.ask(RequestKind.ACTIVATE_POLICY, policy=str(policy)).ok
            rig.load_policy()
            rig.run(0.2)
            assert (rig.status.activation, rig.status.activation_source) == ("loaded", str(policy))
            assert rig.status.policy == policy.name
            rig.run(1.0)
            assert rig.request_start().ok, rig.status.not_ready
            assert rig.run_until(lambda: rig.state is DriveState.AUTONOMOUS, 3.0)
        rig.run(0.5)
        assert rig.state is DriveState.AUTONOMOUS
        assert rig.publisher.records[-1].scan_number > 0


def test_a_policy_that_could_not_be_loaded_shows_in_the_status(tmp_path):
    broken = write_policy(tmp_path / "broken")
    (broken / "model.onnx").write_bytes(b"not a network")
    with lockstep_rig() as rig:
        rig.load_policy()
        rig.run(0.5)
        loaded = rig.status.policy_hash
        assert rig.ask(RequestKind.ACTIVATE_POLICY, policy=str(broken)).ok
        rig.load_policy()
        rig.run(0.5)

        assert (rig.status.activation, rig.status.activation_source) == ("failed", str(broken))
        assert "not an ONNX file" in rig.status.policy_note
        assert rig.status.policy_hash == loaded


def test_the_same_seed_gives_the_same_pulses_to_the_bit_with_all_sensors(tmp_path):
    policy = write_sensing_policy(tmp_path / "policy", STEREO, "LIDAR")
    cars = (OtherCar(s_m=3.0, offset_m=-0.2, speed_mps=0.4),)
    digests = []
    for _ in range(2):
        with lockstep_rig(policy=policy, seed=7, cars=cars) as rig:
            rig.start()
            start_ns = rig.now_ns
            rig.run(3.0)
            pulses = [(t_ns, *widths) for t_ns, *widths in rig.pulses(start_ns)]
            scans = [(r.scan_number, r.scan_stamp_ns, r.policy_output) for r in rig.publisher.records[-100:]]
            digests.append(hashlib.sha256(repr((pulses, scans)).encode()).hexdigest())

    assert digests[0] == digests[1]


def test_a_lidar_policy_drives_around_a_box_that_a_straight_one_hits(tmp_path):
    box = Obstacle(s_m=1.6, offset_m=-0.28, length_m=0.3, width_m=0.3, height_m=0.3)
    around = write_sensing_policy(tmp_path / "around", FRONT, "LIDAR", speed_mps=0.5)
    straight = write_policy(tmp_path / "straight", speed_mps=0.5)
    crashes = []
    for policy in (straight, around):
        with lockstep_rig(policy=policy, obstacles=(box,)) as rig:
            rig.start()
            rig.world.control("reset", s_m=0.2, offset_m=-0.2)
            rig.run(5.0)
            truth = rig.world.truth_now()
            crashes.append(truth.crashed_into)
            assert len(truth.things) == 1
            assert truth.progress_frac > 0.03

    assert crashes == ["thing", ""]


def test_a_car_that_comes_the_other_way_is_hit():
    with lockstep_rig(cars=(OtherCar(s_m=4.0, speed_mps=-0.3),)) as rig:
        rig.start()
        rig.world.control("reset")
        rig.run_until(lambda: rig.world.truth_now().crashed, 10.0)

        truth = rig.world.truth_now()
        assert truth.crashed_into == "thing"
        assert truth.speed_mps == 0.0
