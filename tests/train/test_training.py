"""A short real training that must learn, and the environment it happens in. Needs the `train` extra."""

import dataclasses
import json
import platform
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("stable_baselines3")

import torch
from gymnasium.utils.env_checker import check_env
from stable_baselines3 import PPO

from models.metadata import Action
from models.picture import resized
from models.training.commands import command_line, train_command
from models.training.env import (
    CURVATURE_AHEAD_M,
    REPLAYS,
    STATE_SIZE,
    Course,
    DrivingEnv,
    EnvSettings,
    FleetVecEnv,
    drive_shares,
)
from models.training.evaluate import Control, evaluate
from models.training.fleet import FleetSettings, Start
from models.training.freed_memory import keep_freed_memory
from models.training.network import Actor, DrivingPolicy, export_onnx
from models.training.reward import OFF_TRACK_PENALTY
from models.training.settings import TrainSettings
from models.training.train import CHECKPOINT, HISTORY, SETTINGS, train
from vehicle.errors import LapwingError
from vehicle.hil.track import SPACING_M, load_track

pytestmark = [
    pytest.mark.train,
    pytest.mark.timeout(290),
    # The exporter that writes plain ONNX without another package is the older one, and says so.
    pytest.mark.filterwarnings("ignore:You are using the legacy TorchScript-based ONNX export"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch"),
]

ACTIONS = tuple(Action(turn, speed) for speed in (1.0, 2.0) for turn in (-25.0, 0.0, 25.0))
SHORT = TrainSettings(
    tracks=("oval",),
    steps=50_000,
    both_ways=False,
    randomise=False,
    cars=32,
    horizon=64,
    batch=512,
    epochs=4,
    frame_stack=1,
    off_track_penalty=6.0,  # fifty thousand decisions are too few to dare speed at the default price
    evaluate_every=12_000,
    evaluate_starts=16,
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("training") / "short"
    train_command(SHORT, folder, retest_starts=8)
    return folder


def test_a_short_training_laps_from_pixels(trained: Path) -> None:
    result = evaluate(trained, ["oval"], starts=10, laps=2, seed=77).tracks[0]

    assert result.completion > 0.8
    assert result.finished >= 7
    assert result.lap_median_s is not None
    assert result.speed_mean_mps > 1.2  # it does not creep


@pytest.mark.parametrize("control", [Control.BLANK, Control.MIRRORED, Control.OTHER])
def test_what_was_trained_drives_by_what_it_sees(trained: Path, control: Control) -> None:
    result = evaluate(trained, ["oval"], starts=6, laps=2, seed=77, control=control).tracks[0]

    assert result.finished == 0
    assert result.completion < 0.5


def test_a_training_leaves_a_bundle_a_graph_and_a_report(trained: Path) -> None:
    written = {path.name for path in trained.iterdir()}
    assert {
        "model.onnx",
        "model_metadata.json",
        "graph.png",
        "report.json",
        "REPORT.md",
        CHECKPOINT,
    } <= written
    training = json.loads((trained / "report.json").read_text())["training"]

    assert training["command"].startswith("lapwing train --out short --track oval")
    assert training["seed"] == 0
    assert training["network_bytes"] < 4 << 20
    assert training["first_greedy_laps_at_wall_s"] <= training["wall_s"]


def test_a_training_goes_on_where_it_stopped(trained: Path, tmp_path: Path) -> None:
    for name in (CHECKPOINT, HISTORY, "model.onnx", "model_metadata.json"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    longer = dataclasses.replace(SHORT, steps=SHORT.steps + 4096)
    history = train(longer, tmp_path, resume=True, tell=lambda _point: None)
    before = json.loads((trained / HISTORY).read_text())

    assert len(history) == len(before) + 1
    assert history[-1].steps > before[-1]["steps"]
    assert history[-1].completion > 0.2  # not from scratch


def test_a_training_that_cannot_begin_with_a_policy_leaves_its_folder_as_it_was(tmp_path: Path) -> None:
    (tmp_path / SETTINGS).write_text("of an earlier training")
    with pytest.raises(LapwingError, match="give --frame-stack"):
        train_command(dataclasses.replace(SHORT, start_from="curlew"), tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == [SETTINGS]
    assert (tmp_path / SETTINGS).read_text() == "of an earlier training"


def test_equal_seeds_learn_the_same(tmp_path: Path) -> None:
    brief = dataclasses.replace(SHORT, steps=2048, evaluate_every=2048, evaluate_starts=2, randomise=True)
    one, other = (train(brief, tmp_path / name, tell=lambda _point: None) for name in ("one", "other"))

    assert [point.reward for point in one] == [point.reward for point in other]
    assert (tmp_path / "one" / "model.onnx").read_bytes() == (tmp_path / "other" / "model.onnx").read_bytes()


def test_the_environment_is_a_proper_gymnasium_one() -> None:
    settings = EnvSettings(fleet=FleetSettings(rooms_per_track=1), frame_stack=2)
    env = DrivingEnv([load_track("oval")], ACTIONS, settings)
    check_env(env, skip_render_check=True)
    seen, _ = env.reset(seed=3, options={"start": Start(track=0, s_m=2.0)})

    assert seen.shape == (2, 60, 80)
    assert (env.reset(seed=3)[0] == env.reset(seed=3)[0]).all()
    seen, reward, ended, late, info = env.step(np.int64(4))
    assert reward > -1.0
    assert not ended
    assert not late
    assert info["progress"] > 0.0
    assert env.render().shape == (120, 160, 3)


def test_an_episode_ends_when_the_car_leaves_the_track() -> None:
    course = Course(
        [load_track("oval")], ACTIONS, EnvSettings(fleet=FleetSettings(count=4, rooms_per_track=1))
    )
    env = FleetVecEnv(course)
    env.reset()
    over = np.zeros(4, dtype=bool)
    for _ in range(120):
        _, rewards, done, infos = env.step(np.full(4, 5))  # always left
        over |= done
        for car in np.flatnonzero(done):
            assert rewards[car] == -OFF_TRACK_PENALTY
            assert infos[car]["terminal_observation"]["image"].shape == (1, 60, 80)
            assert not infos[car]["TimeLimit.truncated"]
    assert over.all()


def replaying(share: float) -> Course:
    settings = EnvSettings(fleet=FleetSettings(count=4, rooms_per_track=2, seed=5), replay_share=share)
    return Course([load_track("oval")], ACTIONS, settings)


def test_a_draw_that_failed_is_driven_again_from_a_little_before() -> None:
    course = replaying(1.0)
    for car in range(4):
        course.start(car)
    first = {draw.seed: course.fleet.parameters(car) for car, draw in enumerate(course.draws) if draw}
    ended = np.zeros(4, dtype=bool)
    while not ended.any():
        _, ended, _ = course.step(np.full(4, 5))  # always left
    assert len(first) == 4
    waiting = len(course.failed)
    assert waiting == REPLAYS * ended.sum()
    draw, failed_at_m = course.failed[0]
    course.start(0)

    assert course.draws[0] == draw
    assert len(course.failed) == waiting - 1
    assert course.fleet.parameters(0) == first[draw.seed]
    behind_m = (failed_at_m - course.fleet.s_m[0]) % course.fleet.tracks.lengths_m[0]
    assert 0.4 < behind_m < 5.1


def test_no_draw_is_repeated_unless_asked_and_told_starts_are_never_kept() -> None:
    course = replaying(0.0)
    for car in range(4):
        course.start(car, Start(track=0, s_m=1.0))
    for _ in range(90):
        course.step(np.full(4, 5))
    assert not course.failed  # a selection's starts are not a training's
    course.start(0)
    seed = course.draws[0].seed if course.draws[0] else None
    course.start(0)
    assert course.draws[0] is not None
    assert course.draws[0].seed != seed


def test_the_weights_that_ship_are_averaged_and_learn_nothing_themselves() -> None:
    course = replaying(0.0)
    model = PPO(DrivingPolicy, FleetVecEnv(course), n_steps=4, batch_size=16, device="cpu")
    policy = model.policy
    with torch.no_grad():
        policy.actor.head.bias += 1.0
    policy.average(0.25)

    assert torch.allclose(policy.averaged.head.bias, torch.full_like(policy.averaged.head.bias, 0.25))
    learning = {id(p) for group in policy.optimizer.param_groups for p in group["params"]}
    assert not learning & {id(p) for p in policy.averaged.parameters()}
    assert learning >= {id(p) for p in policy.actor.parameters()}


def test_freed_memory_is_kept_where_glibc_allows_it() -> None:
    assert keep_freed_memory() is (platform.libc_ver()[0] == "glibc")


@pytest.mark.parametrize("size_px", [(80, 60), (64, 48)], ids=["whole blocks", "parts of blocks"])
def test_every_car_s_stack_ends_with_its_own_picture_made_small(size_px: tuple[int, int]) -> None:
    width, height = size_px
    fleet = FleetSettings(count=5, randomise=True, seed=3)
    course = Course(
        [load_track("oval")],
        ACTIONS,
        EnvSettings(fleet=fleet, width_px=width, height_px=height, frame_stack=2),
    )
    for car in range(5):
        course.start(car)
    course.fleet.drop_share = np.array([0.0, 1.0, 0.0, 1.0, 0.0])  # two cars keep the picture that they had
    for action in range(4):
        before = course.images.copy()
        course.step(np.full(5, action))
        one_by_one = [resized(picture, size_px) for picture in course.fleet.pictures]

        assert (course.images[:, -1] == one_by_one).all()
        assert (course.images[:, 0] == before[:, 1]).all()
        assert course.fleet.exposed == [0, 2, 4]


def test_the_critic_knows_the_bends_ahead_of_each_car() -> None:
    tracks = [load_track("oval"), load_track("random-3")]
    course = Course(tracks, ACTIONS, EnvSettings(fleet=FleetSettings(count=3)))
    for car, start in enumerate([Start(0, 1.0), Start(1, 4.0), Start(1, tracks[1].length_m - 0.2)]):
        course.start(car, start)
    state = course.privileged()

    for car, track in enumerate([tracks[0], tracks[1], tracks[1]]):
        for place, distance_m in enumerate(CURVATURE_AHEAD_M):
            there = (course.fleet.index[car] + round(distance_m / SPACING_M)) % len(track.center)
            expected = np.float32(track.curvature_per_m[there] / 2)
            assert state[car, STATE_SIZE - len(CURVATURE_AHEAD_M) + place] == expected


def test_the_critic_s_state_never_reaches_the_actor() -> None:
    course = Course(
        [load_track("oval")], ACTIONS, EnvSettings(fleet=FleetSettings(count=2, rooms_per_track=1))
    )
    observation = FleetVecEnv(course).reset()

    assert observation["state"].shape == (2, STATE_SIZE)
    actor = Actor((1, 60, 80), len(ACTIONS), "small")
    assert {name.split(".")[0] for name, _ in actor.named_parameters()} == {"convolutions", "hidden", "head"}
    assert actor(torch.from_numpy(observation["image"])).shape == (2, len(ACTIONS))


@pytest.mark.parametrize("network", ["small", "keen", "fine", "deepracer"])
def test_the_exported_network_answers_as_the_trained_one(tmp_path: Path, network: str) -> None:
    actor = Actor((2, 60, 80), 21, network)
    torch.nn.init.normal_(actor.head.weight)  # answers that differ

    assert export_onnx(actor, (2, 60, 80), tmp_path / "model.onnx") < 1e-4


def test_action_shares_are_those_of_a_driving_policy() -> None:
    from calibration.car import HIL_AWS
    from models.action_space import DiscreteActionSpace, PolicyAction, to_drive_action
    from models.metadata import ActionUnits

    turn, push = drive_shares(ACTIONS, HIL_AWS)
    space = DiscreteActionSpace(ACTIONS)
    for index, action in enumerate(ACTIONS):
        chosen = PolicyAction(index, float(np.radians(action.steering_deg)), action.speed_mps)
        expected = to_drive_action(chosen, space, ActionUnits.PHYSICAL, HIL_AWS)
        assert (turn[index], push[index]) == pytest.approx((expected.steering_frac, expected.throttle_frac))


def test_the_command_line_of_a_training_names_what_is_not_default() -> None:
    words = command_line(dataclasses.replace(SHORT, speeds_mps=(1.0, 2.5)), Path("models/zoo/quick"))

    assert words.startswith(
        "lapwing train --out quick --track oval --steps 50000 --no-both-ways --no-randomise"
    )
    assert "--speeds-mps 1.0 --speeds-mps 2.5" in words
    assert "--gamma" not in words
