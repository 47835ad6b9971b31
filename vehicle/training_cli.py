"""`lapwing train` and `lapwing evaluate`: their options; `models.training.commands` does what they say."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import typer

from vehicle.cli_options import JsonOption

NetworkName = Literal["small", "keen", "fine", "deepracer"]
INTERRUPTED = 130
"""Exit status after Ctrl-C, as of a shell."""
ControlName = Literal["none", "blank", "mirrored", "other"]
"""As `models.training.evaluate.Control`, for which the command line does not wait."""


def train(
    out: Annotated[Path, typer.Option("--out", help="Folder for the bundle, the graph and the report.")],
    track: Annotated[list[str], typer.Option("--track", help="As often as wanted.")] = ["oval"],  # noqa: B006
    steps: Annotated[int, typer.Option(min=1, help="Decisions of all cars together.")] = 1_000_000,
    minutes: Annotated[float | None, typer.Option(min=0.1, help="End after this time too.")] = None,
    seed: int = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the folder's checkpoint.")] = False,
    start_from: Annotated[str | None, typer.Option(help="Begin with an earlier training's network.")] = None,
    both_ways: Annotated[bool, typer.Option(help="Drive each track in either direction.")] = True,
    randomise: Annotated[bool, typer.Option(help="Other cars, cameras, rooms and delays.")] = True,
    critic_first: Annotated[
        int, typer.Option(min=0, help="Decisions before an actor begun with learns.")
    ] = 0,
    steering_deg: Annotated[
        list[float] | None, typer.Option("--steering-deg", help="Of the actions; positive is left.")
    ] = None,
    speeds_mps: Annotated[list[float] | None, typer.Option("--speeds-mps", help="Of the actions.")] = None,
    frame_stack: Annotated[int, typer.Option(min=1, max=8, help="Pictures the policy sees.")] = 2,
    network: Annotated[NetworkName, typer.Option(help="Its layers.")] = "small",
    width_px: Annotated[int, typer.Option(min=8, max=640)] = 80,
    height_px: Annotated[int, typer.Option(min=8, max=480)] = 60,
    reward: Annotated[str | None, typer.Option(help="Python file with reward_function(params).")] = None,
    off_track_penalty: float | None = None,
    edge_penalty: Annotated[float, typer.Option(min=0.0, help="For a decision at the track's edge.")] = 0.0,
    replay_share: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="Of the episodes, at most: repeat a draw that failed.")
    ] = 0.0,
    late_share: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Of the cars, more: the longest delays.")
    ] = 0.0,
    faint_share: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Of the rooms: narrow, dim lines.")
    ] = 0.0,
    cars: Annotated[int, typer.Option(min=1, max=1024)] = 64,
    horizon: Annotated[int, typer.Option(min=1, help="Decisions of each car between two updates.")] = 48,
    epochs: Annotated[int, typer.Option(min=1)] = 4,
    batch: Annotated[int, typer.Option(min=8)] = 512,
    learning_rate: float = 4e-4,
    gamma: float = 0.98,
    entropy: float = 0.01,
    rooms: Annotated[int, typer.Option(min=1, help="Looks drawn for each track.")] = 4,
    redraw: Annotated[bool, typer.Option(help="Draw one, and cameras, anew before each update.")] = False,
    guess_share: Annotated[float, typer.Option(min=0.0, help="Of guessing the truth, in the loss.")] = 0.0,
    ahead: Annotated[bool, typer.Option(help="Drive in another process while learning.")] = False,
    evaluate_every: Annotated[int, typer.Option(min=1, help="Decisions.")] = 100_000,
    evaluate_starts: Annotated[int, typer.Option(min=1)] = 72,
    evaluate_laps: Annotated[float, typer.Option(min=0.1)] = 2.0,
    as_json: JsonOption = False,
) -> None:
    """Train a policy from pixels by PPO; leaves a bundle that the car accepts."""
    from models.training.commands import train_command
    from models.training.settings import TrainSettings

    given = dict(locals())
    fields = {field.name for field in dataclasses.fields(TrainSettings)}
    chosen = {key: value for key, value in given.items() if key in fields and value is not None}
    chosen |= {"tracks": tuple(track)}
    if speeds_mps:
        chosen |= {"speeds_mps": tuple(speeds_mps)}
    if steering_deg:
        chosen |= {"steering_deg": tuple(steering_deg)}
    train_command(TrainSettings(**chosen), out, resume=resume, as_json=as_json)


def evaluate(
    policy: Annotated[str, typer.Option("--policy", help="Bundle folder, .onnx file or a shipped policy.")],
    track: Annotated[list[str], typer.Option("--track", help="As often as wanted: name or .npy route.")],
    starts: Annotated[int, typer.Option(min=1, help="All round the track.")] = 50,
    laps: Annotated[int, typer.Option(min=1)] = 3,
    randomise: Annotated[bool, typer.Option("--randomise", help="Other cars, cameras, delays.")] = False,
    seed: int = 0,
    control: Annotated[ControlName, typer.Option(help="Show it something else than the road.")] = "none",
    list_failures: Annotated[
        bool, typer.Option("--list-failures", help="Also where each failed start ended, and in which car.")
    ] = False,
    report: Annotated[bool, typer.Option("--report", help="Add the table to the policy's report.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Drive a policy from many starts, beside a driver that knows the truth; Ctrl-C keeps what is done."""
    from models.training.commands import evaluate_command

    result = evaluate_command(
        policy,
        track,
        starts=starts,
        laps=laps,
        randomise=randomise,
        seed=seed,
        control=control,
        add_to_report=report,
        list_failures=list_failures,
        as_json=as_json,
    )
    if result.interrupted:
        raise typer.Exit(INTERRUPTED)
