"""The units of docs/systemd, judged by systemd's own check."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.main import get_command

from vehicle.cli import app

UNITS = sorted((Path(__file__).parents[2] / "docs" / "systemd").glob("*.service"))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd on this computer")
def test_systemd_accepts_every_unit(tmp_path):
    assert UNITS
    for unit in UNITS:  # the program itself lies on the car
        (tmp_path / unit.name).write_text(
            re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text())
        )
    verified = subprocess.run(
        ["systemd-analyze", "verify", *(tmp_path / unit.name for unit in UNITS)],
        capture_output=True,
        check=False,
        text=True,
    )
    assert (verified.returncode, verified.stderr) == (0, "")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_starts_a_command_that_exists_with_options_that_it_has(unit):
    words = re.search(r"(?m)^ExecStart=(.*)$", unit.read_text()).group(1).split()
    program, command, *arguments = words
    assert program.endswith("/lapwing")
    options = {name for parameter in get_command(app).commands[command].params for name in parameter.opts}
    assert {word for word in arguments if word.startswith("--")} <= options
