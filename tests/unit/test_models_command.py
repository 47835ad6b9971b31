"""`lapwing models` as a person uses it, good and bad uploads; checks run in processes of their own."""

import contextlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from models.store import PolicyStore
from tests.unit.policy_files import THREE_ACTIONS, mean_network, write_policy
from tests.unit.upload_files import BAD, good
from vehicle import cli


class Shell:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run the command line in this process, which saves a start of Python each time."""
        words = ["lapwing", "models", *map(str, arguments)]
        out, errors = io.StringIO(), io.StringIO()
        status = 0
        with (
            mock.patch.dict(os.environ, self.environment, clear=True),
            mock.patch.object(sys, "argv", words),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(errors),
        ):
            try:
                cli.main()
            except SystemExit as end:
                status = int(end.code or 0)
        return subprocess.CompletedProcess(words, status, out.getvalue(), errors.getvalue())

    def run_apart(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run the command line as a person's shell does."""
        command = [sys.executable, "-m", "vehicle.cli", "models", *map(str, arguments)]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": "/usr/bin:/bin", "LAPWING_HOME": str(self.folder / "home"), "HOME": "/nowhere"} | {
            "XDG_RUNTIME_DIR": str(self.folder),
            "COLUMNS": "200",
        }

    def json(self, *arguments: object) -> Any:
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def uploaded(self) -> list[str]:
        return [entry.name for entry in PolicyStore(self.folder / "home" / "models").list() if entry.report]

    def left_over(self) -> list[Path]:
        kept = {"lock", "check.lock", "index.json", "bundles", "incoming", "trash"}
        root = self.folder / "home" / "models"
        found = [path for path in root.rglob("*") if path.relative_to(root).parts[0] != "bundles"]
        return [path for path in found if str(path.relative_to(root)) not in kept]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def write(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def test_a_policys_way_through_every_command(shell: Shell, tmp_path: Path) -> None:
    archive = write(tmp_path, "swift one.tar.gz", good())
    added = shell.json("add", archive)
    assert added["name"] == "swift one"
    assert added["new"]
    assert "swift one" in shell.run_apart("list").stdout
    key = added["key"]

    shown = shell.json("show", key[:8], "--picture", tmp_path / "space.png")["report"]
    assert [layer["operator"] for layer in shown["layers"]].count("MatMul") == 1
    pictures = {answer["picture"] for answer in shown["responses"]}
    assert {"blank", "frame 0", "frame 0 mirrored", "random 0"} <= pictures
    assert 0 < shown["infer_median_ms"] <= shown["infer_p99_ms"]
    assert 10 < shown["peak_memory_mb"] < 600
    assert (tmp_path / "space.png").read_bytes().startswith(b"\x89PNG")
    words = shell.run("show", key[:8]).stdout
    assert "m/s over steering" in words
    assert "MMAC" in words

    assert shell.json("activate", key[:8])["loaded"] is False
    refused = shell.run("remove", key[:8])
    assert refused.returncode == 2
    assert "is the active policy" in refused.stderr
    shell.json("activate", "plover")

    assert shell.json("rename", key[:8], "a \x1b[31mred ../..")["name"] == "a [31mred ../.."
    exported = shell.json("export", key[:8], "--out", tmp_path / "back.tar.gz")
    assert Path(exported["file"]).read_bytes() == archive.read_bytes()
    shell.json("export", key[:8], "--tidy", "--out", tmp_path / "tidy.tar.gz")
    with tarfile.open(tmp_path / "tidy.tar.gz") as tidy:
        tidy.extractall(tmp_path / "tidy", filter="data")
    again = shell.json("add", tmp_path / "tidy" / "model.onnx")  # with its metadata beside it
    assert (again["key"], again["new"]) == (key, False)

    bench = shell.json("bench", key[:8])["choice"]
    assert bench["p50_ms"] <= bench["p99_ms"]

    assert [model["name"] for model in shell.json("list") if not model["built_in"]] == ["a [31mred ../.."]
    shell.json("remove", key[:8])
    assert shell.uploaded() == []
    shell.json("restore", key)
    assert shell.uploaded() == ["a [31mred ../.."]
    assert shell.left_over() == []


@pytest.mark.parametrize("sort", sorted(BAD))
def test_a_bad_upload_is_a_sentence_and_leaves_nothing(shell: Shell, tmp_path: Path, sort: str) -> None:
    name, content = BAD[sort]
    done = shell.run("add", write(tmp_path, name, content))
    assert done.returncode == 2
    assert done.stderr.startswith("lapwing: ")
    assert len(done.stderr) > 40
    assert "Traceback" not in done.stderr
    assert "mistake of ours" not in done.stderr
    assert "incoming" not in done.stderr  # where the store keeps it is none of the owner's business
    assert shell.left_over() == []
    assert shell.uploaded() == []


def test_a_folder_is_taken(shell: Shell, tmp_path: Path) -> None:
    folder = write_policy(tmp_path / "from training", input={"range": "0..255"}, control_rate_hz=120)
    assert shell.json("add", folder)["name"] == "from training"


def test_an_unknown_range_is_asked_with_both_answers_and_then_kept(shell: Shell, tmp_path: Path) -> None:
    metadata = json.dumps(
        {"action_space": THREE_ACTIONS, "sensor": ["FRONT_FACING_CAMERA"], "control_rate_hz": 120}
    ).encode()
    archive = write(tmp_path, "which.tar.gz", good(mean_network(), metadata))
    asked = shell.run("add", archive)
    assert asked.returncode == 2
    assert "--input-range 0..1" in asked.stderr
    assert "With --input-range 0..255:" in asked.stdout
    answers = json.loads(shell.run("add", archive, "--json").stdout)["responses"]
    assert set(answers) == {"0..255", "0..1"}
    assert answers["0..255"][1]["output"] != answers["0..1"][1]["output"]
    assert shell.left_over() == []
    added = shell.json("add", archive, "--input-range", "0..1")
    assert "0..1" in shell.json("show", added["key"])["report"]["inputs"][0]["meaning"]


@pytest.mark.parametrize("wanted", ["nobody", "../..", "\x1b[2J"])
def test_a_policy_that_is_not_there_is_a_sentence(shell: Shell, wanted: str) -> None:
    for command in ("show", "activate", "remove", "export", "restore"):
        done = shell.run(command, wanted)
        assert done.returncode == 2
        assert done.stderr.startswith("lapwing: ")
        assert "\x1b" not in done.stderr


@pytest.mark.timeout(20)
@pytest.mark.parametrize("sort", ["pipe", "device", "folder", "nothing"])
def test_what_is_no_file_is_a_sentence_at_once(shell: Shell, tmp_path: Path, sort: str) -> None:
    place = tmp_path / "swift.tar.gz"
    match sort:
        case "pipe":
            os.mkfifo(place)
        case "device":
            place = Path("/dev/zero")
        case "folder":
            place.mkdir()
    done = shell.run("add", place)
    assert done.returncode == 2
    assert done.stderr.startswith(f"lapwing: {place} ")
    assert done.stderr.rstrip().endswith("archive")
    assert shell.left_over() == []
