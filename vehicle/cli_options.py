"""Options that several subcommands of `lapwing` have, spelt and explained once."""

from pathlib import Path
from typing import Annotated, Literal

import typer

ConfigOption = Annotated[Path | None, typer.Option("--config", help="This car's car.toml.")]
RunDirOption = Annotated[Path | None, typer.Option("--run-dir", help="Private directory of the sockets.")]
HilDirOption = Annotated[Path | None, typer.Option("--hil-dir", help="Sockets of a running HIL car.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
WiringOption = Annotated[
    Literal["aws", "standard"], typer.Option("--wiring", help="Neutral at 1446 us, or at 1500.")
]
HilBoardOption = Annotated[Literal["own", "maestro"], typer.Option("--board", help="The HIL car's board.")]
UncalibratedOption = Annotated[
    bool, typer.Option("--uncalibrated", help="A HIL car and a board that nobody has calibrated, to try it.")
]
TrackOption = Annotated[str, typer.Option("--track", help="A track's name, or a DeepRacer .npy route file.")]
FaultOption = Annotated[list[str] | None, typer.Option(help="As camera=stuck@12s..20s; often as wanted.")]
MarkerOption = Annotated[
    bool, typer.Option("--marker", help="A printed start marker stands beside the HIL car's start line.")
]
WebhookOption = Annotated[
    str, typer.Option("--webhook", help="Address to which starts and laps are sent, signed (docs/race.md).")
]
ScenarioOption = Annotated[Path | None, typer.Option("--scenario", help="A TOML file with a list of faults.")]
RunsOption = Annotated[Path | None, typer.Option("--runs", help="Folder of the runs.")]
