"""How a policy was trained and what it does: `report.json` for programs, `REPORT.md` for people."""

import json
import platform
from pathlib import Path
from typing import Any

REPORT_JSON, REPORT_MD = "report.json", "REPORT.md"


def machine() -> str:
    """Return what computer this is, in words."""
    name = platform.processor() or platform.machine()
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0]}, {len(models)} cores" if models else name


def read_report(folder: Path) -> dict[str, Any]:
    """Return the folder's report; an empty one where there is none."""
    path = folder / REPORT_JSON
    return json.loads(path.read_text()) if path.is_file() else {"training": None, "evaluations": []}


def write_training(folder: Path, training: dict[str, Any]) -> None:
    """Begin a report with how the policy was trained; evaluations of an older policy are dropped."""
    _write(folder, {"training": training, "evaluations": []})


def add_evaluation(folder: Path, command: str, evaluation: dict[str, Any]) -> None:
    """Add one evaluation; an earlier one by the same command is replaced."""
    report = read_report(folder)
    kept = [entry for entry in report["evaluations"] if entry["command"] != command]
    report["evaluations"] = [*kept, {"command": command, **evaluation}]
    _write(folder, report)


def _write(folder: Path, report: dict[str, Any]) -> None:
    (folder / REPORT_JSON).write_text(json.dumps(report, indent=1) + "\n")
    (folder / REPORT_MD).write_text(_as_markdown(folder.resolve().name, report))


def _as_markdown(name: str, report: dict[str, Any]) -> str:
    lines = [f"# {name}", "", "Written by `lapwing train` and `lapwing evaluate --report`; do not edit.", ""]
    training = report["training"]
    if training:
        lines += ["## Training", "", f"    {training['command']}", "", "| | |", "|---|---|"]
        lines += [
            f"| {key.replace('_', ' ')} | {_cell(value)} |"
            for key, value in training.items()
            if key != "command"
        ]
        lines.append("")
    for entry in report["evaluations"]:
        lines += _evaluation(entry)
    return "\n".join(lines)


def _evaluation(entry: dict[str, Any]) -> list[str]:
    blinded = f", control: {entry['control']}" if entry["control"] != "none" else ""
    world = "randomised" if entry["randomise"] else "nominal"
    title = f"## {entry['starts']} starts x {entry['laps']} laps, {world}{blinded}"
    lines = [title, "", f"    {entry['command']}", ""]
    lines += [
        "| track | length m | finished | laps | completion "
        "| lap median s | best s | mean m/s | pure pursuit s | ratio |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in entry["tracks"]:
        lines.append(
            f"| {row['track']} | {row['length_m']} | {row['finished']}/{row['starts']} "
            f"| {row['laps_completed']}/{row['laps_wanted']} | {100 * row['completion']:.1f} % "
            f"| {_cell(row['lap_median_s'])} | {_cell(row['lap_best_s'])} | {_cell(row['speed_mean_mps'])} "
            f"| {_cell(row['expert_lap_median_s'])} ({row['expert_finished']}/{row['starts']}) "
            f"| {_cell(row['ratio'])} |"
        )
    finished = sum(row["finished"] for row in entry["tracks"])
    total = sum(row["starts"] for row in entry["tracks"])
    lines += [
        "",
        f"All together: {finished}/{total} starts ({100 * finished / total:.1f} %) in {entry['wall_s']} s.",
        "",
    ]
    return lines


def _cell(value: object) -> str:
    if value is None or value == []:
        return "-"
    return ", ".join(str(part) for part in value) if isinstance(value, list | tuple) else str(value)
