"""What `lapwing models metadata FILE` prints: what the car understands of one metadata file."""

import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from models import metadata
from models.archive_limits import printable
from models.errors import PolicyError
from models.metadata import ActionRange, PolicyMetadata, SacSquash, Sensor, TrainingAlgorithm

EXIT_REFUSED = 2
SENSORS_FOR_PEOPLE = {
    Sensor.OBSERVATION: "front camera (observation)",
    Sensor.FRONT_FACING_CAMERA: "front camera",
    Sensor.LEFT_CAMERA: "left camera",
    Sensor.STEREO_CAMERAS: "stereo cameras",
    Sensor.LIDAR: "LIDAR",
    Sensor.SECTOR_LIDAR: "sector LIDAR",
    Sensor.DISCRETIZED_SECTOR_LIDAR: "discretised sector LIDAR",
}


def metadata_command(path: Path, as_json: bool) -> int:
    """Print what is understood of a `model_metadata.json`; return 0, or 2 after the reason of a refusal."""
    try:
        understood = metadata.load(path)
    except PolicyError as error:
        if as_json:
            _print_json({"file": str(path), "understood": None, "refused": str(error)})
        else:
            sys.stderr.write(f"lapwing: {printable_line(str(error))}\n")
        return EXIT_REFUSED
    if as_json:
        _print_json({"file": str(path), "understood": understood.understood(), "refused": None})
    else:
        _print_for_people(understood)
    return 0


def printable_line(text: str) -> str:
    """Return a sentence of any length that no terminal takes for a command."""
    return "".join(printable(character) for character in text)


def _print_json(document: dict[str, object]) -> None:
    """In ASCII, so that no name or text of the file can break the output."""
    sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")


def _print_for_people(understood: PolicyMetadata) -> None:
    console = Console(highlight=False)
    facts = Table.grid(padding=(0, 2))
    for name, text in _facts(understood):
        facts.add_row(Text(name, style="dim"), Text(printable_line(text)))
    console.print(facts)
    console.print(_action_table(understood))
    if understood.unknown:
        names = ", ".join(printable(name) for name in sorted(understood.unknown))
        console.print(Text(f"Kept, but not read: {names}", style="dim"), soft_wrap=True)
    for note in understood.notes:
        console.print(Text(f"Note: {printable_line(note)}", style="yellow"), soft_wrap=True)


def _facts(understood: PolicyMetadata) -> list[tuple[str, str]]:
    algorithm = understood.training_algorithm.value
    if understood.training_algorithm is TrainingAlgorithm.SAC:
        by = (
            "tanh, as in training"
            if understood.sac_squash is SacSquash.TANH
            else "clipping, as the AWS car does"
        )
        algorithm += f", squashed by {by}"
    sensors = ", ".join(SENSORS_FOR_PEOPLE[sensor] for sensor in understood.sensors)
    lidar = understood.lidar
    if lidar is not None:
        sensors += f" ({lidar.input_size} numbers, up to {lidar.clip_m:g} m)"
    wanted = understood.input
    stack = f", {wanted.frame_stack} pictures" if wanted.frame_stack > 1 else ""
    return [
        ("actions", f"{understood.action_space_type}, {understood.output_count} outputs"),
        ("units", understood.action_units.value),
        ("algorithm", algorithm),
        ("sensors", sensors),
        (
            "input",
            f"{wanted.color}{stack}, layout {wanted.layout or 'by its shape'}, "
            f"range {wanted.range or 'not stated (a DeepRacer graph takes 0..255)'}",
        ),
        ("rate", f"{understood.control_rate_hz:g} Hz"),
        ("network", understood.neural_network),
        ("version", f"{understood.version:g}"),
    ]


def _action_table(understood: PolicyMetadata) -> Table:
    space = understood.action_space
    table = Table(box=None, header_style="bold", padding=(0, 2))
    table.add_column("output", justify="right")
    if isinstance(space, ActionRange):
        table.add_column("of")
        table.add_column("low", justify="right")
        table.add_column("high", justify="right")
        table.add_row(
            "0", "steering, + left", f"{space.steering_low_deg:g} deg", f"{space.steering_high_deg:g} deg"
        )
        table.add_row("1", "speed", f"{space.speed_low_mps:g} m/s", f"{space.speed_high_mps:g} m/s")
        return table
    table.add_column("steering, + left", justify="right")
    table.add_column("speed", justify="right")
    for index, action in enumerate(space):
        table.add_row(str(index), f"{action.steering_deg:g} deg", f"{action.speed_mps:g} m/s")
    return table
