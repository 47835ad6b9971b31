"""What a training has beyond Stable-Baselines3's PPO. Needs the `train` extra."""

import dataclasses
import json
import multiprocessing
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("stable_baselines3")

import torch

from models import metadata
from models.training.ahead import Ahead
from models.training.commands import earlier_stages
from models.training.env import Course, EnvSettings, FleetVecEnv
from models.training.fleet import LENSES, REDRAWN_LENSES, Fleet, FleetSettings, Start
from models.training.learner import Learner
from models.training.network import Actor, DrivingPolicy, against_surroundings, export_onnx, standardised
from models.training.settings import TrainSettings
from models.training.train import policy_metadata, train
from models.training.warm_start import begin_with
from vehicle.errors import LapwingError
from vehicle.hil.scenery import Ground, Scenery, draw_ground
from vehicle.hil.track import Track, load_track

pytestmark = [
    pytest.mark.train,
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings("ignore:You are using the legacy TorchScript-based ONNX export"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch"),
]

BRIEF = TrainSettings(
    tracks=("oval",),
    steps=256,
    both_ways=False,
    cars=8,
    horizon=16,
    batch=64,
    epochs=1,
    frame_stack=2,
    evaluate_every=1 << 20,
    evaluate_starts=1,
    evaluate_laps=0.1,
    rooms=1,
)


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a policy that a training has written, with answers that differ."""
    folder = tmp_path_factory.mktemp("parents") / "parent"
    train(BRIEF, folder, tell=lambda _point: None)
    return folder


def logits(actor: Actor, image: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return actor(image)


def test_a_policy_that_is_begun_with_drives_as_it_did(parent: Path, tmp_path: Path) -> None:
    same = Actor((2, 60, 80), 21, "small")
    begin_with(same, parent, BRIEF.actions)
    finer = dataclasses.replace(BRIEF, frame_stack=5, steering_deg=(-30, -20, -10, -5, 0, 5, 10, 20, 30))
    more = Actor((5, 60, 80), len(finer.actions), "small")
    begin_with(more, parent, finer.actions)
    picture = torch.randint(0, 256, (3, 1, 60, 80), dtype=torch.uint8)  # a car that stands sees one for long
    before, after = logits(same, picture.expand(-1, 2, -1, -1)), logits(more, picture.expand(-1, 5, -1, -1))

    assert before.std() > 0
    for speed in range(3):
        old, new = before[:, 7 * speed : 7 * speed + 7], after[:, 9 * speed : 9 * speed + 9]
        assert torch.allclose(new[:, [0, 1, 2, 4, 6, 7, 8]], old, atol=1e-5)
        assert torch.allclose(new[:, 3], (old[:, 2] + old[:, 3]) / 2, atol=1e-5)


def test_a_keen_network_that_is_begun_with_drives_as_it_did_and_learns_what_is_new(
    parent: Path, tmp_path: Path
) -> None:
    same, keen = Actor((2, 60, 80), 21, "small"), Actor((3, 60, 80), 21, "keen")
    begin_with(same, parent, BRIEF.actions)
    begin_with(keen, parent, BRIEF.actions)
    picture = torch.randint(0, 256, (3, 1, 60, 80), dtype=torch.uint8)  # a car that stands sees one for long
    answers = keen(picture.expand(-1, 3, -1, -1))
    answers.pow(2).mean().backward()
    first = keen.convolutions[0].weight

    assert torch.allclose(answers, logits(same, picture.expand(-1, 2, -1, -1)), atol=1e-6)
    assert first.shape[1] == 3 + keen.newest
    assert first.grad[:, -keen.newest :].abs().max() > 0

    export_onnx(keen, (3, 60, 80), tmp_path / "model.onnx")
    (tmp_path / "model_metadata.json").write_bytes(
        metadata.encode(policy_metadata(dataclasses.replace(BRIEF, frame_stack=3)))
    )
    again = Actor((4, 60, 80), 21, "keen")
    begin_with(again, tmp_path, BRIEF.actions)
    assert torch.allclose(logits(again, picture.expand(-1, 4, -1, -1)), answers.detach(), atol=1e-6)
    with pytest.raises(LapwingError, match="--network"):
        begin_with(Actor((4, 60, 80), 21, "small"), tmp_path, BRIEF.actions)


@pytest.mark.parametrize("light", [0.5, 1.0])
def test_a_dim_line_is_plain_against_its_surroundings(light: float) -> None:
    picture = torch.full((1, 1, 60, 80), 180.0)
    picture[..., :30, :40] = 20.0  # a dark wall: what one contrast for the whole picture goes by
    picture[..., 30:, 60] = 200.0
    local, whole = (f(picture * light)[0, 0, 50] for f in (against_surroundings, standardised))

    assert whole[60] - whole[20] < 0.1
    assert local[60] - local[20] > 0.25
    assert abs(float(local[20])) < 0.01  # even road is nothing


def test_a_training_that_begins_with_a_policy_says_so(parent: Path, tmp_path: Path) -> None:
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    for name in ("model.onnx", "model_metadata.json"):
        (shipped / name).write_bytes((parent / name).read_bytes())
    settings = dataclasses.replace(BRIEF, start_from=str(shipped), critic_first=1 << 20, frame_stack=3)
    train(settings, tmp_path / "child", tell=lambda _point: None)
    child = Learner.load(tmp_path / "child" / "checkpoint.zip", device="cpu")
    begun = Actor((3, 60, 80), 21, "small")
    begin_with(begun, shipped, BRIEF.actions)

    assert earlier_stages(settings) == ["the policy shipped"]
    for name, value in child.policy.actor.state_dict().items():  # only the critic has learned
        assert torch.equal(value, begun.state_dict()[name]), name


@pytest.mark.parametrize(
    ("shape", "network", "told"),
    [((1, 60, 80), "small", "--frame-stack"), ((2, 40, 80), "small", "size"), ((2, 60, 80), "fine", "size")],
)
def test_a_policy_that_does_not_fit_is_refused(
    parent: Path, shape: tuple[int, int, int], network: str, told: str
) -> None:
    with pytest.raises(LapwingError, match=told):
        begin_with(Actor(shape, 21, network), parent, BRIEF.actions)


def test_the_truth_is_guessed_from_what_the_actor_sees() -> None:
    settings = EnvSettings(fleet=FleetSettings(count=32, rooms_per_track=1))
    env = FleetVecEnv(Course([load_track("oval")], BRIEF.actions, settings))
    model = Learner(DrivingPolicy, env, n_steps=8, batch_size=64, n_epochs=4, seed=1, device="cpu")
    model.guess_share = 5.0
    seen = {key: torch.from_numpy(value) for key, value in env.reset().items()}
    nothing = torch.zeros(32, dtype=torch.int64)
    with torch.no_grad():
        *_, before = model.policy.learn_from(seen, nothing)
    model.learn(32 * 8 * 4)
    with torch.no_grad():
        *_, after = model.policy.learn_from(seen, nothing)

    assert float(after) < 0.8 * float(before)


def delays(share: float) -> npt.NDArray[np.int64]:
    fleet = Fleet([load_track("oval")], FleetSettings(count=1, rooms_per_track=1, late_share=share, seed=1))
    found = []
    for _ in range(60):
        fleet.place(0, Start(track=0, s_m=0.0))
        found.append(int(fleet.delay_steps[0]))
    return np.array(found)


def test_more_cars_get_their_pictures_late_where_asked() -> None:
    usual, late = delays(0.0), delays(1.0)

    assert (usual < 20).any()
    assert late.min() >= 26  # 87 ms, of at most 133
    assert late.max() <= 40


def test_one_room_is_drawn_anew() -> None:
    fleet = Fleet([load_track("oval"), load_track("wide")], FleetSettings(count=2, rooms_per_track=2, seed=4))
    before = [room for rooms in fleet._rooms for room in rooms]
    fleet.redraw()
    after = [room for rooms in fleet._rooms for room in rooms]

    assert sum(one is not other for one, other in zip(before, after, strict=True)) == 1


def test_cameras_are_mounted_anew_and_the_old_ones_leave_nothing_behind() -> None:
    settings = FleetSettings(count=LENSES, rooms_per_track=2, seed=4)
    fleet = Fleet([load_track("oval")], settings)
    for _ in range(6):  # until nearly every lens has been in either room
        for car in range(settings.count):
            fleet.place(car, Start(track=0, s_m=0.0))
    before, cameras = list(fleet._lenses), list(fleet._cameras)
    fleet.redraw()
    redrawn = [which for which in range(LENSES) if fleet._lenses[which] is not before[which]]

    assert len(redrawn) == REDRAWN_LENSES
    assert all(fleet._cameras[which].height_m != cameras[which].height_m for which in redrawn)
    assert all(fleet._lenses[which].yaw_rad == fleet._cameras[which].yaw_rad for which in redrawn)
    known = set(fleet._lenses)
    assert all(set(room.backdrops) <= known for rooms in fleet._rooms for room in rooms)
    fleet.drive(np.zeros(settings.count), np.zeros(settings.count))  # the cars look through theirs still


def how_far_lines_stand_out(share: float) -> list[float]:
    drawn: list[Scenery] = []

    def seen(track: Track, scenery: Scenery, _px_per_m: float) -> Ground:
        drawn.append(scenery)
        return draw_ground(track, scenery, 10.0)  # coarse, so that it costs little

    settings = FleetSettings(count=1, rooms_per_track=16, faint_share=share, seed=4)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("models.training.fleet.draw_ground", seen)
        Fleet([load_track("oval")], settings)
    return [sum(one.line) / 3 - sum(one.road) / 3 for one in drawn]


def test_lines_are_faint_in_as_many_rooms_as_asked() -> None:
    usual, mixed, faint = (how_far_lines_stand_out(share) for share in (0.0, 0.5, 1.0))

    assert min(usual) > 70  # each channel of a line has its own tint
    assert max(faint) <= 100
    assert min(faint) >= 60
    assert max(mixed) > 100
    assert 4 <= sum(one <= 100 for one in mixed) - sum(one <= 100 for one in usual) <= 12


def test_a_training_ends_when_its_time_is_up(tmp_path: Path) -> None:
    rates: list[float] = []
    settings = dataclasses.replace(BRIEF, steps=1 << 30, minutes=0.05)
    history = train(settings, tmp_path, tell=lambda _point: None)
    model = Learner.load(tmp_path / "checkpoint.zip", device="cpu")
    rates.append(model.policy.optimizer.param_groups[0]["lr"])

    assert history[-1].steps < 1 << 20
    assert json.loads((tmp_path / "settings.json").read_text())["minutes"] == 0.05
    assert rates[0] < 0.5 * settings.learning_rate  # it has fallen by then


def test_cars_that_drive_in_another_process_are_learned_from(tmp_path: Path) -> None:
    settings = dataclasses.replace(BRIEF, ahead=True, redraw=True, guess_share=0.1)
    history = train(settings, tmp_path, tell=lambda _point: None)
    learned = Learner.load(tmp_path / "checkpoint.zip", device="cpu")

    assert history[-1].steps == 256
    assert learned._n_updates == 2
    assert not multiprocessing.active_children()  # it is closed


def test_what_the_other_process_drove_fits_the_weights_it_was_given() -> None:
    settings = dataclasses.replace(BRIEF, ahead=True, off_track_penalty=5.0)
    actor = Actor((2, 60, 80), len(settings.actions), "small")
    driving = Ahead(settings)
    try:
        for _ in range(2):
            driving.go(actor)
            driven = driving.take()
            images = torch.from_numpy(driven.images.copy()).flatten(0, 1)
            chances = logits(actor, images).log_softmax(1)
            chosen = torch.from_numpy(driven.actions).flatten()

            assert driven.log_probs.flatten() == pytest.approx(chances[range(128), chosen].numpy(), abs=1e-4)
            assert (driven.images[1:, :, :-1] == driven.images[:-1, :, 1:]).mean() > 0.9  # a stack moves on
        assert driven.rewards.std() > 0
        driving._process.kill()
        driving.go(actor)
        with pytest.raises(LapwingError, match="--resume"):
            driving.take()
    finally:
        driving.close()
