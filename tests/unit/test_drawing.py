"""The picture of the driven line, and the film of a drive."""

import dataclasses

import cv2
import numpy as np
import pytest

from vehicle import drawing, lap_video
from vehicle.drawing import DrivenLine, LapRow, TrackLines
from vehicle.lap_video import FilmFrame, FrameStore, Overlay


def ring(radius_m, count=120):
    angle_rad = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return radius_m * np.column_stack([np.cos(angle_rad), np.sin(angle_rad)])


ONE_LAP = (LapRow(1, 9.4, 2.0, 2.1),)
TRACK = TrackLines(center=ring(3.0), inner=ring(2.6), outer=ring(3.4))


def driven_circle(speed_mps=2.0, off_track_share=0.0, laps=ONE_LAP):
    points = ring(3.1, 300)
    count = len(points)
    return DrivenLine(
        x_m=points[:, 0],
        y_m=points[:, 1],
        speed_mps=np.full(count, speed_mps),
        lap=np.ones(count, dtype=np.int64),
        off_track=np.arange(count) < off_track_share * count,
        laps=laps,
        title="ring: 1 lap",
    )


def pixels_of(image, color, tolerance=12):
    return int(np.sum(np.all(np.abs(image.astype(int) - color) <= tolerance, axis=2)))


def test_the_picture_has_its_documented_size():
    assert drawing.draw_driven_line(TRACK, driven_circle()).shape == (1000, 1600, 3)


def test_the_line_is_drawn_where_the_car_was_in_the_color_of_its_speed():
    driven = driven_circle(speed_mps=2.0)
    image = drawing.draw_driven_line(TRACK, driven)
    low_mps, high_mps = drawing.speed_range(driven.speed_mps)
    expected = drawing.speed_colors(np.array([2.0]), low_mps, high_mps)[0]
    scale_px = min(drawing.PLAN_WIDTH_PX, drawing.PLAN_HEIGHT_PX) / 6.8
    middle_px = drawing.PLAN_LEFT_PX + drawing.PLAN_WIDTH_PX / 2
    row_px = drawing.PLAN_TOP_PX + drawing.PLAN_HEIGHT_PX / 2 - 3.1 * scale_px  # y is up
    assert np.abs(image[round(row_px), round(middle_px)].astype(int) - expected).max() <= 12


def test_a_standing_start_does_not_flatten_the_colors_of_the_best_lap():
    driven = driven_circle(speed_mps=2.7)
    with_start = dataclasses.replace(
        driven,
        x_m=np.append(driven.x_m, driven.x_m[-1]),
        y_m=np.append(driven.y_m, driven.y_m[-1]),
        speed_mps=np.append(driven.speed_mps, 0.0),
        lap=np.append(driven.lap, 0),
        off_track=np.append(driven.off_track, False),
    )
    scale = slice(160, 240), slice(1200, 1600)
    assert np.array_equal(
        drawing.draw_driven_line(TRACK, with_start)[scale], drawing.draw_driven_line(TRACK, driven)[scale]
    )


def test_faster_is_never_darker():
    colors = np.array(drawing.speed_colors(np.linspace(1.0, 3.0, 50), 1.0, 3.0), dtype=np.uint8)
    lightness = cv2.cvtColor(colors.reshape(-1, 1, 3), cv2.COLOR_BGR2LAB)[:, 0, 0].astype(int)
    assert np.all(np.diff(lightness) >= -1)
    assert lightness[-1] > lightness[0] + 80


def test_speeds_beyond_the_scale_take_its_ends():
    slow, low, high, fast = drawing.speed_colors(np.array([-1.0, 0.0, 2.0, 9.0]), 0.0, 2.0)
    assert slow == low
    assert fast == high


@pytest.mark.parametrize("speeds_mps", [[], [0.0], [2.0, 2.0], [0.1, 3.9]])
def test_the_speed_scale_always_has_a_span(speeds_mps):
    low_mps, high_mps = drawing.speed_range(np.array(speeds_mps, dtype=float))
    assert high_mps - low_mps >= 0.5


def test_being_put_back_on_the_track_is_not_drawn_as_driving():
    there, back = np.array([-3.0, 0.0]), np.array([3.0, 0.0])
    points = np.vstack([there, back])
    jump = DrivenLine(
        points[:, 0], points[:, 1], np.full(2, 2.0), np.ones(2, dtype=np.int64), np.zeros(2, dtype=bool)
    )
    nobody = DrivenLine(*(np.empty(0),) * 3, np.empty(0, dtype=np.int64), np.empty(0, dtype=bool))
    with_jump = drawing.draw_driven_line(TRACK, jump)[:, :1180]
    assert np.array_equal(with_jump, drawing.draw_driven_line(TRACK, nobody)[:, :1180])


def test_leaving_the_track_is_marked_and_explained():
    on_track = drawing.draw_driven_line(TRACK, driven_circle())
    off_track = drawing.draw_driven_line(TRACK, driven_circle(off_track_share=0.1))
    assert pixels_of(on_track, drawing.OFF_TRACK) == 0
    assert pixels_of(off_track[:, 1200:], drawing.OFF_TRACK) > 50
    assert pixels_of(off_track[:, :1200], drawing.OFF_TRACK) > 200


def test_the_best_lap_is_the_fastest():
    laps = (LapRow(1, 9.0, 1, 1), LapRow(2, 8.5, 1, 1), LapRow(3, 8.7, 1, 1))
    assert driven_circle(laps=laps).best_lap() == 2
    assert driven_circle(laps=()).best_lap() is None


def test_the_picture_is_written_as_a_png(tmp_path):
    path = tmp_path / "line.png"
    drawing.write_driven_line(path, TRACK, driven_circle())
    assert cv2.imread(str(path)).shape == (1000, 1600, 3)


def gray_jpeg(level=120):
    return cv2.imencode(".jpg", np.full((480, 640, 3), level, np.uint8))[1].tobytes()


def test_the_film_keeps_time_when_pictures_come_unevenly():
    store = FrameStore()
    for number, stamp_s in enumerate((0.0, 0.1, 0.15, 0.5)):
        store.add(number, round(stamp_s * 1e9), b"jpeg")
    shown = [frame.number for frame in store.at_rate(10.0)]
    store.close()
    assert shown == [0, 1, 2, 2, 2, 3]


def test_a_full_store_drops_new_pictures_and_counts_them():
    store = FrameStore(limit_bytes=10)
    for number in range(4):
        store.add(number, number, b"12345")
    kept, dropped = len(store), store.dropped
    store.close()
    assert (kept, dropped) == (2, 2)


def test_the_steering_needle_points_left_when_the_car_steers_left():
    black = np.zeros((480, 640, 3), np.uint8)
    film = lap_video.draw_overlay(black, Overlay("AUTONOMOUS", steering_frac=0.8))
    gauge = film[lap_video.PICTURE_HEIGHT_PX + 30 :, :170]
    colored = np.argwhere(np.all(np.abs(gauge.astype(int) - lap_video.STEERING) < 30, axis=2))
    assert len(colored) > 50
    assert colored[:, 1].max() <= 84 + 6


def test_the_chosen_action_alone_is_bright():
    overlay = Overlay("AUTONOMOUS", probabilities=(0.5, 0.5), action_index=1, action_names=("a", "b"))
    film = lap_video.draw_overlay(np.zeros((480, 640, 3), np.uint8), overlay)
    bars = film[lap_video.PICTURE_HEIGHT_PX + 32 : lap_video.PICTURE_HEIGHT_PX + 66, 286:622]
    bright = np.argwhere(np.all(np.abs(bars.astype(int) - lap_video.STEERING) < 12, axis=2))
    assert bright[:, 1].min() > (622 - 286) // 2 - 4


def test_the_picture_is_not_hidden_by_the_panel():
    film = lap_video.draw_overlay(np.full((480, 640, 3), 77, np.uint8), Overlay("DISARMED"))
    assert np.all(film[36 : lap_video.PICTURE_HEIGHT_PX] == 77)


def test_the_film_can_be_read_back(tmp_path):
    frames = [FilmFrame(number, number, gray_jpeg()) for number in range(8)]
    path = lap_video.encode_film(tmp_path / "laps", frames, lambda frame: Overlay(f"frame {frame.number}"))
    film = cv2.VideoCapture(str(path))
    shapes = []
    while (picture := film.read())[0]:
        shapes.append(picture[1].shape)
    film.release()
    assert shapes == [(lap_video.HEIGHT_PX, lap_video.WIDTH_PX, 3)] * 8


def test_no_picture_gives_no_film(tmp_path):
    assert lap_video.encode_film(tmp_path / "laps", [], lambda _: Overlay("")) is None
    assert list(tmp_path.iterdir()) == []


def test_a_broken_picture_is_left_out_of_the_film(tmp_path):
    frames = [FilmFrame(0, 0, b"not a jpeg"), FilmFrame(1, 1, gray_jpeg())]
    seen = []
    lap_video.encode_film(tmp_path / "laps", frames, lambda frame: seen.append(frame.number) or Overlay(""))
    assert seen == [1]
