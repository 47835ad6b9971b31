"""What a training's cars drive: its tracks, as episodes of its settings, for its reward."""

from models.training.env import Course, EnvSettings
from models.training.reward import load_reward
from models.training.settings import TrainSettings
from vehicle.hil.track import load_track


def make_course(settings: TrainSettings, *, cars: int, seed: int) -> Course:
    """Return episodes on the training's tracks."""
    environment = EnvSettings(
        fleet=settings.fleet(cars=cars, seed=seed),
        height_px=settings.height_px,
        width_px=settings.width_px,
        frame_stack=settings.frame_stack,
        replay_share=settings.replay_share,
    )
    tracks = [load_track(name) for name in settings.track_names]
    return Course(
        tracks,
        settings.actions,
        environment,
        load_reward(settings.reward, settings.off_track_penalty, settings.edge_penalty),
    )
