"""Monitors just inside and just beyond each of their limits, and the limits on what may be sent."""

import math

import cv2
import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vehicle import safety, sensor_monitors
from vehicle.camera import decode_jpeg
from vehicle.limits import MonitorLimits
from vehicle.memory import LimiterMemory, MonitorMemory
from vehicle.messages import GUARDED_STATES, POLICY_STATES, BoardStatus, DriveAction, DriveState, Fault, Frame
from vehicle.safety import NEUTRAL, Limiter, Monitor, Senses
from vehicle.sensor_monitors import PictureMonitor

NOW_NS = 50_000_000_000
TICK_NS = 16_666_667
LIMITS = MonitorLimits()
Image = npt.NDArray[np.uint8]


def striped(seed: int = 0, size: tuple[int, int] = (120, 160)) -> Image:
    """Bright and dark bars with a sensor's noise, another one for each seed."""
    picture = np.full((*size, 3), 60.0)
    picture[:, size[1] // 3 : size[1] // 2] = 200.0
    picture += np.random.default_rng(seed).normal(0, 2, picture.shape)
    return picture.round().clip(0, 255).astype(np.uint8)


def frame_of(image: Image, number: int = 1, stamp_ns: int = NOW_NS) -> Frame:
    return Frame(number=number, stamp_ns=stamp_ns, ready_ns=stamp_ns, image=image)


PICTURE = striped()
HEALTHY_BOARD = BoardStatus(
    connected=True,
    received_ns=NOW_NS,
    acked_sent_ns=NOW_NS,
    acked_armed=True,
    neutral_acked_since_ns=1,
    battery_v=7.4,
    wheel_ticks=0,
    ready_to_arm=True,
)
HEALTHY = Senses(
    now_ns=NOW_NS,
    previous_ns=NOW_NS - TICK_NS,
    clock_ran_backwards=False,
    suspended_ns=0,
    state=DriveState.AUTONOMOUS,
    state_since_ns=NOW_NS - 5_000_000_000,
    frame=frame_of(PICTURE),
    frame_period_s=1 / 30,
    camera_lost=False,
    camera_is_static=False,
    board=HEALTHY_BOARD,
    board_is_real=True,
    lease_lost=False,
    driver_input_ns=NOW_NS,
    policy_fault=None,
    emergency_stop=False,
)


def senses(**changes) -> Senses:
    board = {name: changes.pop(name) for name in list(changes) if name in BoardStatus.__struct_fields__}
    return msgspec.structs.replace(
        HEALTHY, board=msgspec.structs.replace(changes.pop("board", HEALTHY_BOARD), **board), **changes
    )


def faults_of(**changes) -> tuple[Fault, ...]:
    """What a monitor that knows nothing of the past says."""
    return Monitor(LIMITS, decode_jpeg).check(senses(**changes))


def faults_after(*moments: dict) -> tuple[Fault, ...]:
    """What one monitor says at the last of several moments, each a set of changes from health."""
    monitor = Monitor(LIMITS, decode_jpeg)
    return [monitor.check(senses(**moment)) for moment in moments][-1]


def seconds(duration_s: float) -> int:
    return round(duration_s * 1e9)


def test_a_healthy_car_has_no_fault():
    assert faults_of() == ()


@pytest.mark.parametrize("state", DriveState)
def test_a_healthy_car_has_no_fault_in_any_state(state):
    assert faults_of(state=state) == ()


def test_faults_come_gravest_first_and_each_once():
    faults = faults_of(
        emergency_stop=True, lease_lost=True, stop_input=True, connected=False, camera_lost=True, frame=None
    )

    assert faults == (
        Fault.EMERGENCY_STOP,
        Fault.STOP_INPUT,
        Fault.BOARD_LOST,
        Fault.CAMERA_LOST,
        Fault.LEASE_LOST,
    )


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"emergency_stop": True}, Fault.EMERGENCY_STOP),
        ({"lease_lost": True}, Fault.LEASE_LOST),
        ({"stop_input": True}, Fault.STOP_INPUT),
        ({"connected": False}, Fault.BOARD_LOST),
        ({"camera_lost": True}, Fault.CAMERA_LOST),
        ({"policy_fault": Fault.POLICY_FAILED}, Fault.POLICY_FAILED),
        ({"policy_fault": Fault.POLICY_NOT_FINITE}, Fault.POLICY_NOT_FINITE),
    ],
)
def test_what_needs_no_judgement_is_a_fault_at_once(change, fault):
    assert faults_of(**change) == (fault,)


# --- the person


@pytest.mark.parametrize("state", [DriveState.MANUAL, DriveState.ASSISTED])
@pytest.mark.parametrize(("age_ns", "missing"), [(seconds(0.3), False), (seconds(0.3) + 1, True)])
def test_driving_by_hand_needs_an_input_of_the_last_300_ms(state, age_ns, missing):
    faults = faults_of(state=state, driver_input_ns=NOW_NS - age_ns)

    assert (Fault.DRIVER_INPUT_MISSING in faults) == missing


@pytest.mark.parametrize(("age_ns", "missing"), [(seconds(0.3), False), (seconds(0.3) + 1, True)])
def test_a_driver_has_300_ms_for_the_first_input_after_the_state_began(age_ns, missing):
    faults = faults_of(state=DriveState.MANUAL, driver_input_ns=0, state_since_ns=NOW_NS - age_ns)

    assert (Fault.DRIVER_INPUT_MISSING in faults) == missing


@pytest.mark.parametrize("state", sorted(set(DriveState) - {DriveState.MANUAL, DriveState.ASSISTED}))
def test_no_input_is_missed_where_nobody_steers_by_hand(state):
    assert Fault.DRIVER_INPUT_MISSING not in faults_of(state=state, driver_input_ns=0)


# --- the host


@pytest.mark.parametrize("gap_ns", [1, TICK_NS, seconds(0.1)])
def test_a_gap_up_to_100_ms_between_ticks_is_borne(gap_ns):
    assert faults_of(previous_ns=NOW_NS - gap_ns) == ()


@pytest.mark.parametrize("gap_ns", [seconds(0.1) + 1, seconds(5), seconds(3600)])
def test_a_longer_gap_between_ticks_is_a_stalled_host(gap_ns):
    assert faults_of(previous_ns=NOW_NS - gap_ns) == (Fault.HOST_STALLED,)


@pytest.mark.parametrize("gap_ns", [0, -1, -seconds(5)])
def test_a_clock_that_does_not_advance_is_wrong(gap_ns):
    assert faults_of(previous_ns=NOW_NS - gap_ns) == (Fault.CLOCK_WRONG,)


def test_a_clock_that_ran_backwards_within_the_last_tick_is_wrong():
    assert faults_of(clock_ran_backwards=True) == (Fault.CLOCK_WRONG,)


@pytest.mark.parametrize(
    ("later_ns", "slept_ns", "is_lost"),
    [
        (0, 0, False),
        (seconds(0.1), seconds(0.05), False),
        (seconds(0.1) + 1, 0, True),
        (-1, 0, True),
        (0, seconds(0.05) + 1, True),
        (0, -seconds(0.05) - 1, True),
    ],
)
def test_what_was_decided_before_time_was_lost_is_too_old_to_be_sent(later_ns, slept_ns, is_lost):
    monitor = Monitor(MonitorLimits(), decode_jpeg)
    assert monitor.has_lost_time(NOW_NS, NOW_NS + later_ns, slept_ns) is is_lost


def test_the_first_tick_has_no_gap():
    assert faults_of(previous_ns=0) == ()


@pytest.mark.parametrize("sign", [1, -1])
def test_a_computer_that_slept_is_found_out_once(sign):
    limit_ns = seconds(0.05)
    start = {"suspended_ns": 700}

    assert faults_after(start, {"suspended_ns": 700 + sign * limit_ns}) == ()
    assert faults_after(start, {"suspended_ns": 700 + sign * (limit_ns + 1)}) == (Fault.CLOCK_WRONG,)
    asleep = {"suspended_ns": 700 + sign * seconds(60)}
    assert faults_after(start, asleep) == (Fault.CLOCK_WRONG,)
    assert faults_after(start, asleep, asleep) == ()


def test_sleep_from_before_the_first_tick_does_not_matter():
    assert faults_of(suspended_ns=seconds(9999)) == ()


# --- the board


@pytest.mark.parametrize("state", sorted(GUARDED_STATES))
@pytest.mark.parametrize(("age_ns", "silent"), [(0, False), (seconds(0.08), False), (seconds(0.0801), True)])
def test_the_newest_acknowledged_command_may_be_80_ms_old(state, age_ns, silent):
    faults = faults_of(state=state, acked_sent_ns=NOW_NS - age_ns)

    assert (Fault.BOARD_SILENT in faults) == silent


def test_a_board_that_answers_late_is_silent_however_fresh_its_bytes_are():
    assert faults_of(received_ns=NOW_NS, acked_sent_ns=NOW_NS - seconds(0.2)) == (Fault.BOARD_SILENT,)


def test_a_board_that_never_acknowledged_is_silent():
    assert faults_of(acked_sent_ns=0) == (Fault.BOARD_SILENT,)


def test_a_board_that_is_gone_is_lost_and_not_also_silent_or_refusing():
    assert faults_of(connected=False, acked_sent_ns=0, acked_armed=False) == (Fault.BOARD_LOST,)


def test_another_count_of_boots_is_a_reset_once_and_the_first_count_is_none():
    assert faults_of(boots=7) == ()
    assert faults_after({"boots": 7}, {"boots": 8}) == (Fault.BOARD_RESET,)
    assert faults_after({"boots": 7}, {"boots": 8}, {"boots": 8}) == ()
    assert faults_after({"boots": 255}, {"boots": 0}) == (Fault.BOARD_RESET,)


@pytest.mark.parametrize(("age_ns", "refused"), [(seconds(0.25), False), (seconds(0.25) + 1, True)])
def test_a_board_has_250_ms_to_arm(age_ns, refused):
    faults = faults_of(state=DriveState.ARMING, acked_armed=False, state_since_ns=NOW_NS - age_ns)

    assert faults == ((Fault.BOARD_REFUSED,) if refused else ())


@pytest.mark.parametrize("state", sorted(GUARDED_STATES - {DriveState.ARMING}))
def test_a_board_that_disarms_itself_while_driving_refuses_at_once(state):
    assert faults_of(state=state, acked_armed=False, state_since_ns=NOW_NS) == (Fault.BOARD_REFUSED,)


@pytest.mark.parametrize("state", [DriveState.DISARMED, DriveState.FAILSAFE])
def test_a_board_need_not_be_armed_where_it_was_not_asked_to(state):
    assert faults_of(state=state, acked_armed=False) == ()


def battery_after(low_s: float, low_v: float) -> tuple[Fault, ...]:
    monitor, faults = Monitor(LIMITS, decode_jpeg), ()
    monitor.check(senses())
    for moment_ns in (NOW_NS, NOW_NS + seconds(low_s / 2), NOW_NS + seconds(low_s)):
        board = msgspec.structs.replace(HEALTHY_BOARD, battery_v=low_v, acked_sent_ns=moment_ns)
        faults = monitor.check(
            senses(board=board, now_ns=moment_ns, previous_ns=0, frame=frame_of(PICTURE, 1, moment_ns))
        )
    return faults


@pytest.mark.parametrize("low_v", [6.399, 0.0, math.nan])
def test_an_empty_battery_stops_the_car_after_two_seconds(low_v):
    assert battery_after(2.0, low_v) == ()
    assert battery_after(2.001, low_v) == (Fault.BATTERY_CRITICAL,)


def test_a_battery_at_its_limit_is_good_enough():
    assert battery_after(60.0, 6.4) == ()


def test_a_battery_that_recovers_for_a_moment_starts_the_two_seconds_anew():
    monitor = Monitor(LIMITS, decode_jpeg)
    for step in range(100):
        now_ns = NOW_NS + step * seconds(0.1)
        board = msgspec.structs.replace(
            HEALTHY_BOARD, battery_v=7.0 if step % 15 == 0 else 5.0, acked_sent_ns=now_ns
        )
        faults = monitor.check(
            senses(board=board, now_ns=now_ns, previous_ns=0, frame=frame_of(PICTURE, 1, now_ns))
        )
        assert faults == ()


def test_a_board_that_does_not_measure_the_battery_never_calls_it_empty():
    monitor = Monitor(LIMITS, decode_jpeg)
    for now_ns in range(NOW_NS, NOW_NS + seconds(20), seconds(1)):
        board = msgspec.structs.replace(HEALTHY_BOARD, battery_v=None, acked_sent_ns=now_ns)
        frame = frame_of(PICTURE, 1, now_ns)
        assert monitor.check(senses(board=board, now_ns=now_ns, previous_ns=0, frame=frame)) == ()


def wheels_after(still_s: float, *, state=DriveState.AUTONOMOUS, ticks: int | None = 5, **changes):
    """Push for `still_s` with a wheel that does not turn, after a tick in which it did."""
    monitor, faults = Monitor(LIMITS, decode_jpeg), ()
    for moment_s, count in ((0.0, 4), (0.1, ticks), (0.1 + still_s / 2, ticks), (0.1 + still_s, ticks)):
        now_ns = NOW_NS + seconds(moment_s)
        pushing = {"neutral_acked_since_ns": 0, "wheel_ticks": count, "acked_sent_ns": now_ns, **changes}
        board = msgspec.structs.replace(HEALTHY_BOARD, **pushing)
        moment = {"now_ns": now_ns, "previous_ns": 0, "driver_input_ns": now_ns, "state": state}
        faults = monitor.check(senses(board=board, frame=frame_of(PICTURE, 1, now_ns), **moment))
    return faults


@pytest.mark.parametrize("state", [DriveState.MANUAL, DriveState.ASSISTED, DriveState.AUTONOMOUS])
def test_wheels_that_stand_still_under_throttle_for_a_second_and_a_half_are_blocked(state):
    assert wheels_after(1.5, state=state) == ()
    assert wheels_after(1.501, state=state) == (Fault.WHEELS_BLOCKED,)


def test_wheels_may_stand_still_in_neutral_or_disarmed_or_without_a_sensor():
    assert wheels_after(60.0, neutral_acked_since_ns=1) == ()
    assert wheels_after(60.0, wheel_ticks=None) == ()
    assert wheels_after(60.0, state=DriveState.CALIBRATING) == ()
    assert wheels_after(60.0, state=DriveState.FAILSAFE, acked_armed=False) == ()
    assert Fault.WHEELS_BLOCKED not in wheels_after(60.0, acked_armed=False)


# --- the camera


def overdue_at(age_s: float, period_s: float = 1 / 30) -> bool:
    frame = frame_of(PICTURE, 1, NOW_NS - seconds(age_s))
    return Fault.CAMERA_OVERDUE in faults_of(frame=frame, frame_period_s=period_s)


@pytest.mark.parametrize("period_s", [1 / 120, 1 / 60, 1 / 30, 1 / 15, 0.2])
def test_a_frame_is_overdue_75_ms_after_the_moment_it_was_due(period_s):
    assert not overdue_at(period_s + 0.0749, period_s)
    assert overdue_at(period_s + 0.0751, period_s)


def test_two_dropped_frames_at_30_per_second_are_borne_and_three_are_not():
    assert not overdue_at(3 / 30)
    assert overdue_at(4 / 30)


@pytest.mark.parametrize("period_s", [0.3, 1.0, 60.0, math.inf])
def test_a_camera_that_slows_down_to_a_crawl_does_not_stretch_what_is_borne(period_s):
    assert not overdue_at(0.2749, period_s)
    assert overdue_at(0.2751, period_s)


def test_no_frame_yet_is_overdue_and_a_lost_camera_is_lost_alone():
    assert faults_of(frame=None) == (Fault.CAMERA_OVERDUE,)
    assert faults_of(frame=None, camera_lost=True) == (Fault.CAMERA_LOST,)


@pytest.mark.parametrize(
    ("ahead_ns", "wrong"), [(0, False), (seconds(0.030), False), (seconds(0.030) + 1, True)]
)
def test_a_frame_may_be_stamped_5_ms_ahead_of_the_tick(ahead_ns, wrong):
    faults = faults_of(frame=frame_of(PICTURE, 1, NOW_NS + ahead_ns))

    assert faults == ((Fault.FRAME_FROM_FUTURE,) if wrong else ())


@pytest.mark.parametrize(
    ("is_static", "is_real", "fault"),
    [(True, True, True), (True, False, False), (False, True, False), (False, False, False)],
)
def test_a_folder_of_pictures_may_drive_the_hil_car_but_no_real_one(is_static, is_real, fault):
    faults = faults_of(camera_is_static=is_static, board_is_real=is_real)

    assert faults == ((Fault.CAMERA_STATIC,) if fault else ())


def picture_faults(images: list[Image], *, is_static: bool = False) -> list[list[Fault]]:
    monitor = PictureMonitor(decode_jpeg)
    return [
        monitor.check(frame_of(image, number), is_static=is_static) for number, image in enumerate(images)
    ]


def test_the_fifth_equal_picture_in_a_row_is_a_frozen_camera():
    faults = picture_faults([striped(1), *[PICTURE] * 5])

    assert faults == [[]] * 5 + [[Fault.CAMERA_FROZEN]]


def test_another_picture_ends_the_row():
    assert not any(picture_faults([*[PICTURE] * 4, striped(1), *[PICTURE] * 4]))
    assert picture_faults([*[PICTURE] * 7, striped(1)])[-1] == []


def test_one_picture_with_something_to_see_ends_a_row_of_blank_ones():
    black = [np.zeros_like(PICTURE)] * 4

    assert not any(picture_faults([*black, PICTURE, *black], is_static=True))


def test_equal_pictures_are_the_nature_of_a_static_source():
    assert not any(picture_faults([PICTURE] * 50, is_static=True))


@pytest.mark.parametrize("at", [(0, 0, 0), (119, 159, 2), (60, 80, 1), (47, 3, 0)])
def test_one_other_value_anywhere_makes_another_picture(at):
    other = PICTURE.copy()
    other[at] ^= 1

    assert not sensor_monitors.is_same_picture(frame_of(PICTURE), frame_of(other), decode_jpeg)
    assert sensor_monitors.is_same_picture(frame_of(PICTURE), frame_of(PICTURE.copy()), decode_jpeg)


def test_a_picture_of_another_size_is_another_picture():
    assert not sensor_monitors.is_same_picture(frame_of(PICTURE), frame_of(PICTURE[:, :-1]), decode_jpeg)


def test_a_frame_that_is_used_in_many_ticks_counts_once():
    monitor = PictureMonitor(decode_jpeg)
    black = np.zeros_like(PICTURE)

    for frame in [frame_of(PICTURE, 3)] * 100 + [frame_of(black, 4)] * 100:
        assert monitor.check(frame, is_static=False) == []


def look_and_check(
    monitor: Monitor, picture: Image, number: int, state: DriveState = DriveState.AUTONOMOUS
) -> tuple[Fault, ...]:
    """Run one tick's monitors: what is found in a picture counts in the tick after."""
    frame = frame_of(picture, number)
    faults = monitor.check(senses(state=state, frame=frame))
    monitor.look(frame, policy_drives=state in POLICY_STATES, is_static=False)
    return faults


def test_pictures_are_judged_while_the_policy_drives_by_them_and_the_count_starts_with_it():
    monitor = Monitor(LIMITS, decode_jpeg)
    drive = [DriveState.AUTONOMOUS] * 4 + [DriveState.DISARMED] + [DriveState.ARMING] * 20
    states = [*drive, *[DriveState.AUTONOMOUS] * 6]
    found = [look_and_check(monitor, PICTURE, number, state) for number, state in enumerate(states)]

    assert found == [()] * 30 + [(Fault.CAMERA_FROZEN,)]


@pytest.mark.parametrize("state", sorted(POLICY_STATES))
def test_both_states_with_a_policy_look_at_the_pictures(state):
    monitor = Monitor(LIMITS, decode_jpeg)
    found = [look_and_check(monitor, PICTURE, number, state) for number in range(6)]

    assert found[-1] == (Fault.CAMERA_FROZEN,)


def noisy(rng: np.random.Generator, picture: npt.NDArray[np.float64], noise: float) -> Image:
    """Return the picture as a sensor with that noise sees it."""
    return (picture + rng.normal(0, noise, picture.shape)).round().clip(0, 255).astype(np.uint8)


def dim_lane(size: tuple[int, int]) -> npt.NDArray[np.int16]:
    """A floor of 10 grey levels with two thin lines of 30: near darkness."""
    picture = np.full((480, 640, 3), 10.0)
    for start, end in (((300, 200), (60, 480)), ((340, 200), (580, 480))):
        cv2.line(picture, start, end, (30.0, 30.0, 30.0), 12)
    return cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA).round().astype(np.int16)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_dim_picture_with_lines_and_noise_gives_no_false_fault_in_ten_minutes(compressed):
    """Ten minutes at 30 frames/s, of which every 30th is looked at."""
    rng = np.random.default_rng(4)
    picture, monitor = dim_lane((240, 320)), PictureMonitor(decode_jpeg)
    noises = [np.rint(rng.normal(0, 1, picture.shape)).astype(np.int16) for _ in range(8)]
    for number in range(0, 18_000, 30):
        noise = np.roll(noises[rng.integers(8)], rng.integers(320), axis=1)  # cheaper than fresh noise
        image = (picture + noise).clip(0, 255).astype(np.uint8)
        if compressed:
            _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 70])
            image = np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), np.uint8)
        assert monitor.check(frame_of(image, number), is_static=False) == []


@pytest.mark.parametrize("size", [(120, 160), (240, 320), (480, 640)])
@pytest.mark.parametrize("level", [0, 2, 16, 255])
def test_a_cap_on_the_lens_is_found_in_five_frames_through_the_sensors_noise(size, level):
    rng = np.random.default_rng(5)
    capped_lens = np.full((*size, 3), float(level))

    faults = picture_faults([striped(1, size), *(noisy(rng, capped_lens, noise=2.0) for _ in range(5))])

    assert faults == [[]] * 5 + [[Fault.CAMERA_COVERED]]


def test_a_black_picture_that_repeats_is_called_covered_first():
    """JPEG makes all pictures of a covered lens alike; its owner should look for the cover, not the plug."""
    monitor = Monitor(LIMITS, decode_jpeg)
    black = np.zeros_like(PICTURE)
    found = [look_and_check(monitor, black, number) for number in range(6)]

    assert found[-1] == (Fault.CAMERA_COVERED, Fault.CAMERA_FROZEN)


def test_contrast_is_the_spread_between_patches_and_noise_averages_out():
    flat, split = np.full((480, 640, 3), 100, np.uint8), np.full((480, 640, 3), 100, np.uint8)
    split[:, 320:] = 110

    assert sensor_monitors.contrast(frame_of(flat)) == 0.0
    assert sensor_monitors.contrast(frame_of(split)) == pytest.approx(5.0)
    noise = noisy(np.random.default_rng(6), flat.astype(np.float64), noise=6.0)
    assert sensor_monitors.contrast(frame_of(noise)) < 1.0


def test_pictures_that_are_equal_only_after_reduction_are_not_frozen():
    """Near darkness: what differs in the full picture is averaged away in the small one."""
    small = np.full((120, 160, 3), 7, np.uint8)
    jpegs = []
    for column in range(2):
        full = np.full((480, 640, 3), 7, np.uint8)
        full[40:48, 80 * column : 80 * column + 8] = 60
        jpegs.append(cv2.imencode(".jpg", full)[1].tobytes())
    one, other = (Frame(number, 0, 0, small, jpegs[number]) for number in range(2))
    again = Frame(2, 0, 0, small, jpegs[1])

    assert not sensor_monitors.is_same_picture(one, other, decode_jpeg)
    assert sensor_monitors.is_same_picture(other, again, decode_jpeg)


@pytest.mark.parametrize("damaged", [(0,), (1,), (0, 1)])
def test_pictures_whose_full_size_cannot_be_read_are_not_told_apart(damaged):
    """Equal as far as they are known: a camera that repeats them is frozen."""
    small = np.full((120, 160, 3), 7, np.uint8)
    full = {b"\xff\xd8" + bytes([number]): np.full((4, 4, 3), number, np.uint8) for number in range(2)}
    one, other = (Frame(number, 0, 0, small, jpeg) for number, jpeg in enumerate(full))

    def decode(jpeg: bytes) -> Image | None:
        return None if jpeg[2] in damaged else full[jpeg]

    assert sensor_monitors.is_same_picture(one, other, decode)
    assert not sensor_monitors.is_same_picture(one, other, full.__getitem__)


def test_pictures_that_are_no_jpeg_have_all_their_pixels_already():
    small = np.full((120, 160, 3), 7, np.uint8)
    one, other = Frame(0, 0, 0, small, b"BM1"), Frame(1, 0, 0, small, b"BM2")

    assert sensor_monitors.is_same_picture(one, other, {}.__getitem__)


def test_a_covered_lens_is_seen_in_a_reduced_picture_too():
    cover = np.full((480, 640, 3), 3, np.float64)
    full = noisy(np.random.default_rng(8), cover, noise=6.0)
    small = cv2.resize(full, (160, 120), interpolation=cv2.INTER_AREA)

    assert sensor_monitors.contrast(frame_of(small)) < sensor_monitors.COVERED_CONTRAST


def test_a_camera_whose_pictures_decode_alike_at_full_size_repeats_one():
    """The bytes may differ all the same: a camera may stamp each picture with its time."""
    small = np.full((120, 160, 3), 7, np.uint8)
    one, other = Frame(0, 0, 0, small, b"\xff\xd8one"), Frame(1, 0, 0, small, b"\xff\xd8other")

    assert sensor_monitors.is_same_picture(one, other, lambda jpeg: np.ones((4, 4, 3), np.uint8)) is True
    assert (
        sensor_monitors.is_same_picture(one, other, lambda jpeg: np.full((4, 4, 3), len(jpeg), np.uint8))
        is False
    )


def test_pictures_that_differ_are_told_apart_without_decoding():
    assert sensor_monitors.is_same_picture(frame_of(PICTURE), frame_of(striped(1)), {}.__getitem__) is False


@pytest.mark.parametrize(
    ("height", "width", "every"), [(120, 160, 1), (125, 170, 1), (259, 490, 2), (480, 640, 4)]
)
def test_contrast_is_the_deviation_between_the_means_of_twelve_by_sixteen_patches(height, width, every):
    image = np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)
    green = image[::every, ::every, 1].astype(np.float64)
    tall, wide = green.shape[0] // 12, green.shape[1] // 16
    means = [
        green[row * tall : (row + 1) * tall, column * wide : (column + 1) * wide].mean()
        for row in range(12)
        for column in range(16)
    ]

    assert sensor_monitors.contrast(frame_of(image)) == pytest.approx(float(np.std(means)))


def test_a_picture_with_just_enough_contrast_is_not_covered(monkeypatch):
    monkeypatch.setattr(sensor_monitors, "COVERED_CONTRAST", sensor_monitors.contrast(frame_of(PICTURE)))

    assert not any(picture_faults([PICTURE] * 10, is_static=True))


@pytest.mark.parametrize("size", [(8, 64), (64, 8)])
def test_contrast_is_found_in_a_picture_too_small_for_patches_on_one_side(size):
    image = np.zeros((*size, 3), np.uint8)
    image[: size[0] // 2] = 100

    assert sensor_monitors.contrast(frame_of(image)) == pytest.approx(50.0)


def test_contrast_is_found_in_a_picture_too_small_for_patches():
    tiny = np.zeros((8, 8, 3), np.uint8)
    tiny[:, 4:] = 100

    assert sensor_monitors.contrast(frame_of(tiny)) == pytest.approx(50.0)


def test_limits_from_the_configuration_are_the_ones_that_count():
    limits = MonitorLimits(frame_overdue_s=0.02, ack_limit_s=0.04, stall_limit_s=0.05, battery_critical_v=9.0)
    late = senses(
        frame=frame_of(PICTURE, 1, NOW_NS - seconds(1 / 30 + 0.021)),
        acked_sent_ns=NOW_NS - seconds(0.041),
        previous_ns=NOW_NS - seconds(0.051),
    )

    found = Monitor(limits, decode_jpeg).check(late)
    assert found == (Fault.HOST_STALLED, Fault.BOARD_SILENT, Fault.CAMERA_OVERDUE)
    assert Monitor(LIMITS, decode_jpeg).check(late) == ()


# --- limits on what may be sent

SHARES = [-1.0, -0.5, -0.05, 0.0, 0.05, 0.5, 1.0]


def test_throttle_grows_by_the_limit_and_no_faster():
    assert safety.limited_throttle(1.0, 0.0, 0.02, 4.0) == pytest.approx(0.08)
    assert safety.limited_throttle(1.0, 0.5, 0.02, 4.0) == pytest.approx(0.58)
    assert safety.limited_throttle(0.05, 0.0, 0.02, 4.0) == 0.05
    assert safety.limited_throttle(-1.0, 0.0, 0.02, 4.0) == pytest.approx(-0.08)
    assert safety.limited_throttle(1.0, 0.0, 0.0, 4.0) == 0.0


@pytest.mark.parametrize("previous", SHARES)
@pytest.mark.parametrize("wanted", SHARES)
def test_toward_neutral_nothing_is_slowed(wanted, previous):
    if abs(wanted) <= abs(previous) and wanted * previous >= 0:
        assert safety.limited_throttle(wanted, previous, 0.0, 4.0) == wanted


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_change_of_sign_starts_from_neutral_at_once(sign):
    assert safety.limited_throttle(-sign, sign, 0.02, 4.0) == pytest.approx(-sign * 0.08)


@given(
    wanted=st.floats(-1, 1),
    previous=st.floats(-1, 1),
    dt_s=st.floats(-10, 10),
    growth_per_s=st.floats(0.5, 50),
)
@settings(deadline=None, derandomize=True, database=None)
def test_limited_throttle_is_never_beyond_what_is_wanted_nor_on_its_other_side(
    wanted, previous, dt_s, growth_per_s
):
    limited = safety.limited_throttle(wanted, previous, dt_s, growth_per_s)

    assert abs(limited) <= abs(wanted)
    assert limited * wanted >= 0
    assert abs(limited) <= abs(previous) + growth_per_s * max(0.0, dt_s) + 1e-12


def test_a_clock_that_runs_backwards_adds_no_throttle():
    assert safety.limited_throttle(1.0, 0.2, -1.0, 4.0) == pytest.approx(0.2)


@pytest.mark.parametrize("cap", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("throttle", [-2.0, -1.0, -0.4, 0.0, 0.4, 1.0, 2.0, 1e300])
def test_the_speed_cap_scales_the_throttle_alone(cap, throttle):
    action = safety.capped(DriveAction(0.7, throttle), cap)

    assert action.steering_frac == 0.7
    assert action.throttle_frac == pytest.approx(max(-1.0, min(1.0, throttle)) * cap)


@pytest.mark.parametrize(
    ("steering", "expected"), [(-1.5, -1.0), (-1.0, -1.0), (0.2, 0.2), (1.0, 1.0), (9.0, 1.0)]
)
def test_steering_stays_between_the_locks(steering, expected):
    assert safety.capped(DriveAction(steering, 0.0), 1.0).steering_frac == expected


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_an_action_with_a_value_that_is_no_number_is_not_finite(bad):
    assert not safety.is_finite(DriveAction(bad, 0.0))
    assert not safety.is_finite(DriveAction(0.0, bad))
    assert safety.is_finite(DriveAction(1.0, -1.0))


class Wheel:
    """A limiter and the clock it is called with."""

    def __init__(self, growth_per_s: float = safety.THROTTLE_GROWTH_PER_S) -> None:
        self.limiter = Limiter(growth_per_s)
        self.now_ns = NOW_NS

    def after(self, dt_s: float, wanted: DriveAction, *, moving: bool) -> DriveAction:
        self.now_ns += seconds(dt_s)
        return self.limiter.apply(wanted, moving=moving, now_ns=self.now_ns)


def test_nothing_but_neutral_is_allowed_while_not_moving():
    wheel = Wheel()

    for _ in range(5):
        assert wheel.after(0.02, DriveAction(1.0, 1.0), moving=False) == NEUTRAL


def test_the_first_tick_of_all_allows_no_throttle_yet():
    assert Wheel().after(0.0, DriveAction(0.4, 1.0), moving=True) == DriveAction(0.4, 0.0)


def test_full_throttle_takes_a_quarter_of_a_second():
    wheel, wanted = Wheel(), DriveAction(0.0, 1.0)
    wheel.after(0.0, NEUTRAL, moving=False)

    ramp = [wheel.after(0.02, wanted, moving=True).throttle_frac for _ in range(14)]

    assert ramp == pytest.approx([min(1.0, 0.08 * tick) for tick in range(1, 15)])


def test_a_smaller_throttle_is_allowed_at_once_and_growth_goes_on_from_there():
    wheel = Wheel()
    wheel.after(0.0, NEUTRAL, moving=False)
    wheel.after(1.0, DriveAction(0.0, 1.0), moving=True)

    assert wheel.after(0.02, DriveAction(0.0, 0.1), moving=True).throttle_frac == 0.1
    assert wheel.after(0.02, DriveAction(0.0, 1.0), moving=True).throttle_frac == pytest.approx(0.18)


def test_steering_is_not_slewed():
    wheel = Wheel()
    wheel.after(0.0, NEUTRAL, moving=False)

    assert wheel.after(0.001, DriveAction(1.0, 0.0), moving=True).steering_frac == 1.0
    assert wheel.after(0.001, DriveAction(-1.0, 0.0), moving=True).steering_frac == -1.0


def test_a_stop_holds_the_steering_for_700_ms_and_then_centres_it():
    wheel = Wheel()
    wheel.after(0.0, NEUTRAL, moving=False)
    wheel.after(0.02, DriveAction(-0.6, 0.5), moving=True)

    assert wheel.after(0.02, DriveAction(0.9, 0.9), moving=False) == DriveAction(-0.6, 0.0)
    assert wheel.after(0.679, NEUTRAL, moving=False) == DriveAction(-0.6, 0.0)
    assert wheel.after(0.001, NEUTRAL, moving=False) == NEUTRAL


def test_throttle_grows_from_neutral_after_a_stop():
    wheel = Wheel()
    wheel.after(0.0, NEUTRAL, moving=False)
    wheel.after(1.0, DriveAction(0.0, 1.0), moving=True)
    wheel.after(0.02, NEUTRAL, moving=False)

    assert wheel.after(0.02, DriveAction(0.0, 1.0), moving=True).throttle_frac == pytest.approx(0.08)


def test_the_growth_of_throttle_is_settable():
    wheel = Wheel(growth_per_s=50.0)
    wheel.after(0.0, NEUTRAL, moving=False)

    assert wheel.after(0.02, DriveAction(0.0, 1.0), moving=True).throttle_frac == pytest.approx(1.0)


@pytest.mark.parametrize("fault", Fault)
def test_every_fault_has_a_sentence_that_tells_the_owner_what_to_do(fault):
    sentence = safety.SENTENCES[fault]

    assert sentence[0].isupper()
    assert sentence.endswith(".")
    assert sentence.count(". ") >= 1  # what happened, and what to do


def test_a_picture_is_overdue_beyond_its_limit_and_not_at_it():
    due = {"frame_period_s": 0.1, "frame": frame_of(PICTURE, 1, NOW_NS - 175_000_000)}
    assert LIMITS.frame_overdue_s == 0.075
    assert faults_of(**due) == ()

    late = {"frame_period_s": 0.1, "frame": frame_of(PICTURE, 1, NOW_NS - 175_000_001)}
    assert faults_of(**late) == (Fault.CAMERA_OVERDUE,)


def test_a_monitor_remembers_what_a_judgement_over_time_needs():
    fresh, told = Monitor(LIMITS, decode_jpeg), Monitor(LIMITS, decode_jpeg)
    assert fresh.memory() == MonitorMemory(None, None, 0, None, 0)
    memory = MonitorMemory(boots=1, suspended_ns=2, ticks_moved_ns=3, wheel_ticks=4, battery_good_ns=5)
    told.recall(memory)

    assert told.memory() == memory
    assert Fault.BOARD_RESET in told.check(senses(boots=2))


def test_a_limiter_remembers_what_was_sent():
    fresh, told = Limiter(), Limiter()
    assert fresh.memory() == LimiterMemory(NEUTRAL, 0, 0)
    memory = LimiterMemory(DriveAction(0.5, 0.25), NOW_NS, NOW_NS)
    told.recall(memory)

    assert told.memory() == memory
    assert told.apply(DriveAction(0.0, 0.0), moving=False, now_ns=NOW_NS + 1) == DriveAction(0.5, 0.0)


def test_the_gravest_fault_is_the_first_of_the_list():
    assert (
        safety.gravest((Fault.BATTERY_CRITICAL, Fault.EMERGENCY_STOP, Fault.BOARD_LOST))
        is Fault.EMERGENCY_STOP
    )
    assert safety.gravest([Fault.BATTERY_CRITICAL]) is Fault.BATTERY_CRITICAL
    assert safety.gravest(()) is None
