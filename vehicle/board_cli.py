"""`lapwing board ...`: looks after the actuator board."""

from pathlib import Path
from typing import Annotated

import typer

board_app = typer.Typer(no_args_is_help=True, help="Look after the actuator board.")


@board_app.command("store")
def board_store(config: Annotated[Path, typer.Option("--config", help="This car's car.toml.")]) -> None:
    """Store this car's calibration in the board; the vehicle must not be running."""
    from vehicle.board_command import store_in_board

    typer.echo(store_in_board(config))


@board_app.command("prove")
def board_prove(
    config: Annotated[Path, typer.Option("--config", help="This car's car.toml.")],
    wheels_up: Annotated[bool, typer.Option("--wheels-up", help="I have put the car on a stand.")] = False,
) -> None:
    """Prove a Maestro's failsafe by going silent once, wheels off the ground."""
    from vehicle.board_command import prove_failsafe

    typer.echo(prove_failsafe(config, wheels_up=wheels_up))
