"""`lapwing models ...`: policies in, checked, listed, shown, activated and out again."""

from pathlib import Path
from typing import Annotated

import typer

from vehicle.cli_options import JsonOption, RunDirOption

models_app = typer.Typer(no_args_is_help=True, help="Add, look at and choose policies.")

Wanted = Annotated[str, typer.Argument(metavar="KEY", help="A policy's key, its first letters, or its name.")]


@models_app.command("add")
def add(
    file: Annotated[Path, typer.Argument(help="Archive, .onnx file, or a bundle's folder.")],
    name: Annotated[str, typer.Option("--name", help="What to call it; else its file's name.")] = "",
    input_range: Annotated[
        str, typer.Option("--input-range", help="0..255 or 0..1, where the network does not say.")
    ] = "",
    run_dir: RunDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a policy and take it in; nothing is left behind of one that is refused."""
    from models.commands import add_command
    from models.store import PolicyStore

    if input_range not in {"", "0..255", "0..1"}:
        raise typer.BadParameter(f"--input-range is {input_range!r}, allowed 0..255 or 0..1")
    raise typer.Exit(
        add_command(
            file, PolicyStore(), _run_dir(run_dir), name=name, input_range=input_range, as_json=as_json
        )
    )


@models_app.command("list")
def list_policies(as_json: JsonOption = False) -> None:
    """List the policies of this car; * marks the active one."""
    from models.commands import list_command
    from models.store import PolicyStore

    raise typer.Exit(list_command(PolicyStore(), as_json=as_json))


@models_app.command("show")
def show(
    policy: Wanted,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="Draw the action space into this PNG file.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show one: inputs, action space, layers with their cost, its answers when it was checked."""
    from models.commands import show_command
    from models.store import PolicyStore

    raise typer.Exit(show_command(PolicyStore(), policy, picture=picture, as_json=as_json))


@models_app.command("activate")
def activate(policy: Wanted, run_dir: RunDirOption = None, as_json: JsonOption = False) -> None:
    """Make one the policy that drives, now if a car runs, and at every start."""
    from models.commands import activate_command
    from models.store import PolicyStore

    raise typer.Exit(activate_command(PolicyStore(), policy, _run_dir(run_dir), as_json=as_json))


@models_app.command("rename")
def rename(policy: Wanted, name: str, as_json: JsonOption = False) -> None:
    """Give one another name."""
    from models.commands import rename_command
    from models.store import PolicyStore

    raise typer.Exit(rename_command(PolicyStore(), policy, name, as_json=as_json))


@models_app.command("remove")
def remove(policy: Wanted, run_dir: RunDirOption = None, as_json: JsonOption = False) -> None:
    """Remove one; for a day `restore` undoes it."""
    from models.commands import remove_command
    from models.store import PolicyStore

    raise typer.Exit(remove_command(PolicyStore(), policy, _run_dir(run_dir), as_json=as_json))


@models_app.command("restore")
def restore(policy: Annotated[str, typer.Argument(metavar="KEY")], as_json: JsonOption = False) -> None:
    """Undo a removal."""
    from models.commands import restore_command
    from models.store import PolicyStore

    raise typer.Exit(restore_command(PolicyStore(), policy, as_json=as_json))


@models_app.command("export")
def export(
    policy: Wanted,
    out: Annotated[Path | None, typer.Option("--out", help="File to write.")] = None,
    tidy: Annotated[bool, typer.Option("--tidy", help="Network and metadata alone, as a .tar.gz.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write one as it was uploaded, byte for byte."""
    from models.commands import export_command
    from models.store import PolicyStore

    raise typer.Exit(export_command(PolicyStore(), policy, out=out, tidy=tidy, as_json=as_json))


@models_app.command("bench")
def bench(policy: Wanted, run_dir: RunDirOption = None, as_json: JsonOption = False) -> None:
    """Measure one policy's decisions here, once a control period, in every way that could be chosen."""
    from models.bench_command import bench_command
    from models.store import PolicyStore

    raise typer.Exit(bench_command(PolicyStore(), policy, _run_dir(run_dir), as_json=as_json))


@models_app.command("int8")
def int8(
    policy: Wanted,
    frames: Annotated[list[Path] | None, typer.Option("--frames", help="Recorded runs of this car.")] = None,
    hil: Annotated[bool, typer.Option("--hil", help="For a policy trained in the HIL world.")] = False,
    use: Annotated[bool | None, typer.Option("--use/--no-use", help="Choose int8, or the float one.")] = None,
    run_dir: RunDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an int8 network of a policy, judge it beside the float one, or choose between both."""
    from models.int8_command import int8_command
    from models.store import PolicyStore

    raise typer.Exit(
        int8_command(
            PolicyStore(), policy, _run_dir(run_dir), frames=frames or (), hil=hil, use=use, as_json=as_json
        )
    )


@models_app.command("metadata")
def metadata(file: Path, as_json: JsonOption = False) -> None:
    """Print what the car understands of a model_metadata.json; exit status 2 when it refuses it."""
    from models.metadata_report import metadata_command

    raise typer.Exit(metadata_command(file, as_json))


def _run_dir(given: Path | None) -> Path:
    from vehicle.run_dir import default_run_dir

    return given or default_run_dir()
