"""Says what this computer has and lacks for driving, each lack with its remedy; opens no device."""

import enum
import importlib.metadata
import os
import platform
import re
import resource
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vehicle.realtime import LOOP_PRIORITY
from vehicle.remote import PATH_LIMIT, default_run_dir

DISTRIBUTION = "lapwing"
OLDEST_PYTHON = (3, 11)
TRAINING_PACKAGES = ("torch", "stable-baselines3", "gymnasium")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
STEADY_CLOCKS = frozenset({"tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter"})
PORT_GRABBERS = {
    "ModemManager": "sudo systemctl disable --now ModemManager",
    "brltty": "sudo apt-get remove brltty",
}
"""Services that open serial adapters by themselves: the first sends modem commands to new ports, the
second takes CH340 adapters, which many boards have, for Braille displays."""

LOCKED_MEMORY_BYTES = 400 << 20  # the vehicle process with the standard network, with room
LEAST_FREE_DISK_BYTES = 2 << 30  # some hours of recorded driving
LEAST_FREE_MEMORY_BYTES = 500 << 20
HOT_DEG_C = 85.0  # small computers without a fan slow down from about here

LOG_IN_AGAIN = "then log in again"


class Level(enum.StrEnum):
    """How a finding looks."""

    OK = "ok"
    WARN = "warn"  # works, with a drawback
    MISSING = "missing"


class Need(enum.StrEnum):
    """What cannot be done without it."""

    EVERYTHING = "everything"
    REAL_CAR = "a real car"
    STEADY_TIMING = "steady timing"
    TRAINING = "training"
    BROWSER_TESTS = "browser tests"


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at."""

    name: str
    level: Level
    seen: str
    needed_for: Need
    remedy: str = ""
    """What to type or do; empty where nothing needs doing."""


def try_realtime() -> str:
    """Ask for real-time priority on a thread made for it; return the refusal, empty when it was given."""
    refusals: list[str] = []

    def ask() -> None:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(LOOP_PRIORITY))
        except OSError as error:
            refusals.append(error.strerror or str(error))

    thread = threading.Thread(target=ask, name="realtime-trial")
    thread.start()
    thread.join()
    return refusals[0] if refusals else ""


def installed_version(package: str) -> str:
    """Return the version of a Python package of this interpreter, empty where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


@dataclass(frozen=True)
class Computer:
    """Where to look; tests give a folder with files of their own for `root`."""

    root: Path = Path("/")
    """Above /sys, /proc, /dev and /etc."""
    machine: str = field(default_factory=platform.machine)
    user_id: int = field(default_factory=os.getuid)
    group_ids: tuple[int, ...] = field(default_factory=lambda: tuple({os.getgid(), *os.getgroups()}))
    run_dir: Path = field(default_factory=default_run_dir)
    find_program: Callable[[str], str | None] = shutil.which
    limit: Callable[[int], int] = field(default=lambda kind: resource.getrlimit(kind)[0])
    """Returns the soft limit of a kind of `resource.RLIMIT_*`."""
    try_realtime: Callable[[], str] = try_realtime
    """Returns why real-time priority was refused, empty when it was given."""
    free_disk_bytes: Callable[[], int] = field(default=lambda: shutil.disk_usage(Path.cwd()).free)
    version_of: Callable[[str], str] = installed_version
    """Returns the installed version of a Python package, empty where there is none."""

    def read(self, path: str) -> str:
        """Return the stripped text of a file under the root, empty when it cannot be read."""
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return ""

    def paths(self, pattern: str) -> list[Path]:
        """Return what matches a pattern under the root, in natural order (video2 before video10)."""
        return sorted(
            self.root.glob(pattern),
            key=lambda path: [
                int(part) if part.isdigit() else part for part in re.split(r"(\d+)", str(path))
            ],
        )

    def shown(self, path: Path) -> str:
        """Return a path as the user knows it."""
        return f"/{path.relative_to(self.root)}"


def examine(computer: Computer | None = None) -> list[Finding]:
    """Look at everything and return what was found, most needed first."""
    computer = computer or Computer()
    return [
        _python(),
        _packages(computer),
        _training_packages(computer),
        _processor(computer),
        _cores(computer),
        _memory(computer),
        _disk(computer),
        _run_dir(computer),
        _pseudo_terminals(computer),
        _governor(computer),
        _realtime(computer),
        _locked_memory(computer),
        _clock_source(computer),
        _temperature(computer),
        _cameras(computer),
        _serial_ports(computer),
        _groups(computer),
        _port_grabbers(computer),
        _browser(computer),
    ]


def is_fit(findings: list[Finding]) -> bool:
    """True when nothing is missing that everything needs."""
    return not any(
        finding.level is Level.MISSING and finding.needed_for is Need.EVERYTHING for finding in findings
    )


def run_doctor(*, as_json: bool) -> int:
    """Print the findings; return 0 when this computer can drive at least the HIL car, else 1."""
    findings = examine()
    if as_json:
        document = {"fit": is_fit(findings), "findings": findings}
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(document)).decode() + "\n")
    else:
        print_findings(findings, Console())
    return 0 if is_fit(findings) else 1


def print_findings(findings: list[Finding], console: Console) -> None:
    """Print a table, then the remedies, each on lines of its own so that it can be copied."""
    styles = {Level.OK: "green", Level.WARN: "yellow", Level.MISSING: "red"}
    table = Table(title="This computer", title_justify="left", title_style="bold")
    table.add_column("what", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("seen", overflow="fold")
    for finding in findings:
        table.add_row(finding.name, Text(finding.level, style=styles[finding.level]), Text(finding.seen))
    console.print(table)
    for finding in findings:
        if finding.remedy:
            console.print(Text(f"\n{finding.name}, for {finding.needed_for}:", style="bold"))
            console.print(Text(f"  {finding.remedy}"), soft_wrap=True)


def _python() -> Finding:
    seen = platform.python_version()
    if sys.version_info[:2] < OLDEST_PYTHON:
        return Finding(
            "python", Level.MISSING, seen, Need.EVERYTHING, "sudo apt-get install python3.11 python3.11-venv"
        )
    return Finding("python", Level.OK, seen, Need.EVERYTHING)


def _packages(computer: Computer) -> Finding:
    """Compare what our own distribution asks for with what is installed."""
    remedy = "make .venv/.ready"
    try:
        requirements = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return Finding("packages", Level.MISSING, "lapwing is not installed", Need.EVERYTHING, remedy)
    versions = {name: computer.version_of(name) for name in _base_names(requirements)}
    absent = [name for name, version in versions.items() if not version]
    if absent:
        return Finding(
            "packages", Level.MISSING, f"not installed: {', '.join(absent)}", Need.EVERYTHING, remedy
        )
    seen = ", ".join(f"{name} {version}" for name, version in versions.items())
    return Finding("packages", Level.OK, seen, Need.EVERYTHING)


def _base_names(requirements: list[str]) -> Iterator[str]:
    for requirement in requirements:
        name, _, condition = requirement.partition(";")
        if "extra" not in condition:
            yield re.split(r"[^A-Za-z0-9._-]", name.strip(), maxsplit=1)[0]


def _training_packages(computer: Computer) -> Finding:
    versions = {name: computer.version_of(name) for name in TRAINING_PACKAGES}
    if all(versions.values()):
        seen = ", ".join(f"{name} {version}" for name, version in versions.items())
        return Finding("training", Level.OK, seen, Need.TRAINING)
    return Finding(
        "training",
        Level.MISSING,
        "the extra `train` is not installed; driving does not need it",
        Need.TRAINING,
        "pip install 'lapwing[train]'",
    )


def _processor(computer: Computer) -> Finding:
    text = computer.read("proc/cpuinfo")
    flags = set(_cpuinfo_field(text, "flags").split())
    model = _cpuinfo_field(text, "model name") or computer.machine
    if computer.machine not in {"x86_64", "AMD64"}:
        return Finding("processor", Level.OK, f"{model} ({computer.machine})", Need.EVERYTHING)
    have = [flag for flag in ("sse4_2", "avx", "avx2", "avx512f") if flag in flags]
    seen = f"{model}: {', '.join(have) or 'none of sse4_2, avx, avx2'}"
    if "sse4_2" not in flags:
        return Finding(
            "processor", Level.MISSING, seen, Need.EVERYTHING, "use a computer with SSE4.2 (built since 2009)"
        )
    if "avx2" not in flags:
        seen += "; policies run on SSE kernels, several times slower than with AVX2"
    return Finding("processor", Level.OK, seen, Need.EVERYTHING)


def _cpuinfo_field(text: str, name: str) -> str:
    match = re.search(rf"^{name}\s*:\s*(.*)$", text, re.MULTILINE)
    return match.group(1) if match else ""


def _cores(computer: Computer) -> Finding:
    count = len(re.findall(r"^processor\s*:", computer.read("proc/cpuinfo"), re.MULTILINE))
    if count < 2:
        return Finding(
            "cores",
            Level.WARN,
            f"{count}",
            Need.STEADY_TIMING,
            "use two: the page and the loop share one here",
        )
    return Finding("cores", Level.OK, f"{count}", Need.STEADY_TIMING)


def _memory(computer: Computer) -> Finding:
    text = computer.read("proc/meminfo")
    available_bytes, total_bytes = (_meminfo_bytes(text, name) for name in ("MemAvailable", "MemTotal"))
    seen = f"{available_bytes / 2**30:.1f} GiB free of {total_bytes / 2**30:.1f} GiB"
    if available_bytes < LEAST_FREE_MEMORY_BYTES:
        return Finding(
            "memory", Level.WARN, seen, Need.EVERYTHING, "close other programs (ps aux --sort=-rss)"
        )
    return Finding("memory", Level.OK, seen, Need.EVERYTHING)


def _meminfo_bytes(text: str, name: str) -> int:
    match = re.search(rf"^{name}:\s*(\d+) kB", text, re.MULTILINE)
    return int(match.group(1)) * 1024 if match else 0


def _disk(computer: Computer) -> Finding:
    free_bytes = computer.free_disk_bytes()
    seen = f"{free_bytes / 2**30:.1f} GiB free"
    if free_bytes < LEAST_FREE_DISK_BYTES:
        return Finding(
            "disk", Level.WARN, seen, Need.EVERYTHING, "delete old runs and films (du -sh * | sort -h)"
        )
    return Finding("disk", Level.OK, seen, Need.EVERYTHING)


def _run_dir(computer: Computer) -> Finding:
    longest = len(str(computer.run_dir / "requests"))
    seen = f"{computer.run_dir}, longest socket path {longest} of {PATH_LIMIT} characters"
    if longest > PATH_LIMIT:
        return Finding(
            "run directory", Level.MISSING, seen, Need.EVERYTHING, "lapwing run --run-dir /tmp/lapwing"
        )
    return Finding("run directory", Level.OK, seen, Need.EVERYTHING)


def _pseudo_terminals(computer: Computer) -> Finding:
    if not (computer.root / "dev/ptmx").exists():
        return Finding(
            "pseudo-terminals",
            Level.MISSING,
            "/dev/ptmx is absent; the HIL car's board cannot be reached",
            Need.EVERYTHING,
            "sudo mount -t devpts devpts /dev/pts",
        )
    return Finding("pseudo-terminals", Level.OK, "/dev/ptmx", Need.EVERYTHING)


def _governor(computer: Computer) -> Finding:
    files = computer.paths("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")
    governors = sorted({path.read_text(encoding="ascii").strip() for path in files})
    if not governors:
        return Finding("governor", Level.OK, "not adjustable here", Need.STEADY_TIMING)
    seen = ", ".join(governors)
    if governors != ["performance"]:
        return Finding(
            "governor",
            Level.WARN,
            seen,
            Need.STEADY_TIMING,
            "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
        )
    return Finding("governor", Level.OK, seen, Need.STEADY_TIMING)


def _realtime(computer: Computer) -> Finding:
    limit = computer.limit(resource.RLIMIT_RTPRIO)
    refusal = computer.try_realtime()
    if not refusal:
        return Finding("real-time priority", Level.OK, f"given (rtprio limit {limit})", Need.STEADY_TIMING)
    return Finding(
        "real-time priority",
        Level.WARN,
        f"refused: {refusal} (rtprio limit {limit}, wanted {LOOP_PRIORITY})",
        Need.STEADY_TIMING,
        f'echo "$USER - rtprio 60" | sudo tee -a /etc/security/limits.d/lapwing.conf, {LOG_IN_AGAIN}; '
        "in a container: --cap-add SYS_NICE --ulimit rtprio=60",
    )


def _locked_memory(computer: Computer) -> Finding:
    limit_bytes = computer.limit(resource.RLIMIT_MEMLOCK)
    if limit_bytes == resource.RLIM_INFINITY or limit_bytes >= LOCKED_MEMORY_BYTES:
        seen = "unlimited" if limit_bytes == resource.RLIM_INFINITY else f"{limit_bytes >> 20} MiB"
        return Finding("locked memory", Level.OK, seen, Need.STEADY_TIMING)
    return Finding(
        "locked memory",
        Level.WARN,
        f"limit {limit_bytes >> 20} MiB, wanted {LOCKED_MEMORY_BYTES >> 20} MiB",
        Need.STEADY_TIMING,
        'echo "$USER - memlock unlimited" | sudo tee -a /etc/security/limits.d/lapwing.conf, '
        f"{LOG_IN_AGAIN}; in a container: --ulimit memlock=-1",
    )


def _clock_source(computer: Computer) -> Finding:
    current = computer.read("sys/devices/system/clocksource/clocksource0/current_clocksource")
    if current in STEADY_CLOCKS or not current:
        return Finding("clock source", Level.OK, current or "unknown", Need.STEADY_TIMING)
    return Finding(
        "clock source",
        Level.WARN,
        f"{current}: each look at the clock is slow",
        Need.STEADY_TIMING,
        "start the kernel with tsc=reliable (GRUB_CMDLINE_LINUX in /etc/default/grub, then sudo update-grub)",
    )


def _temperature(computer: Computer) -> Finding:
    readings = {
        computer.read(f"{path.relative_to(computer.root)}/type") or path.name: int(text) / 1000
        for path in computer.paths("sys/class/thermal/thermal_zone*")
        if (text := computer.read(f"{path.relative_to(computer.root)}/temp")).lstrip("-").isdigit()
    }
    if not readings:
        return Finding("temperature", Level.OK, "no sensor here", Need.STEADY_TIMING)
    hottest = max(readings, key=lambda zone: readings[zone])
    seen = f"{readings[hottest]:.0f} degrees C ({hottest})"
    if readings[hottest] >= HOT_DEG_C:
        return Finding(
            "temperature", Level.WARN, seen, Need.STEADY_TIMING, "let it cool, and give it air or a fan"
        )
    return Finding("temperature", Level.OK, seen, Need.STEADY_TIMING)


def _cameras(computer: Computer) -> Finding:
    links = {path.resolve(): computer.shown(path) for path in computer.paths("dev/v4l/by-id/*")}
    cameras: list[str] = []
    denied: list[str] = []
    for device in computer.paths("dev/video[0-9]*"):
        name = computer.read(f"sys/class/video4linux/{device.name}/name") or "unnamed"
        link = links.get(device.resolve(), "no by-id link")
        cameras.append(f"{computer.shown(device)} {name} ({link})")
        if not os.access(device, os.R_OK | os.W_OK):
            denied.append(computer.shown(device))
    if not cameras:
        return Finding(
            "cameras",
            Level.MISSING,
            "no /dev/video*; `make demo` drives without one",
            Need.REAL_CAR,
            "connect the camera, then look at: dmesg | tail",
        )
    seen = "; ".join(cameras)
    if denied:
        return Finding(
            "cameras",
            Level.WARN,
            f"{seen}; no access to {', '.join(denied)}",
            Need.REAL_CAR,
            f"sudo usermod -aG video $USER, {LOG_IN_AGAIN}",
        )
    return Finding("cameras", Level.OK, seen, Need.REAL_CAR)


def _serial_ports(computer: Computer) -> Finding:
    links = {path.resolve(): computer.shown(path) for path in computer.paths("dev/serial/by-id/*")}
    devices = [path for pattern in ("dev/ttyUSB*", "dev/ttyACM*") for path in computer.paths(pattern)]
    ports = [links.get(device.resolve(), f"{computer.shown(device)} (no by-id link)") for device in devices]
    denied = [computer.shown(device) for device in devices if not os.access(device, os.R_OK | os.W_OK)]
    if not ports:
        return Finding(
            "serial ports",
            Level.MISSING,
            "no /dev/serial/by-id; `make demo` drives without one",
            Need.REAL_CAR,
            "connect the board by a USB cable that carries data, then look at: dmesg | tail",
        )
    seen = "; ".join(ports)
    if denied:
        return Finding(
            "serial ports",
            Level.WARN,
            f"{seen}; no access to {', '.join(denied)}",
            Need.REAL_CAR,
            f"sudo usermod -aG dialout $USER, {LOG_IN_AGAIN}",
        )
    return Finding("serial ports", Level.OK, seen, Need.REAL_CAR)


def _groups(computer: Computer) -> Finding:
    wanted = ("dialout", "video")
    if computer.user_id == 0:
        return Finding("groups", Level.OK, "root needs none", Need.REAL_CAR)
    ids = {
        name: int(group_id)
        for name, _, group_id, *_ in (line.split(":") for line in computer.read("etc/group").splitlines())
    }
    absent = [name for name in wanted if ids.get(name) not in computer.group_ids]
    if absent:
        return Finding(
            "groups",
            Level.WARN,
            f"not in {', '.join(absent)}",
            Need.REAL_CAR,
            f"sudo usermod -aG {','.join(absent)} $USER, {LOG_IN_AGAIN}",
        )
    return Finding("groups", Level.OK, ", ".join(wanted), Need.REAL_CAR)


def _port_grabbers(computer: Computer) -> Finding:
    running = {
        computer.read(f"{path.relative_to(computer.root)}") for path in computer.paths("proc/[0-9]*/comm")
    }
    found = [name for name in PORT_GRABBERS if name in running]
    if not found:
        return Finding("port grabbers", Level.OK, "none running", Need.REAL_CAR)
    return Finding(
        "port grabbers",
        Level.WARN,
        f"{', '.join(found)} opens serial ports by itself",
        Need.REAL_CAR,
        "; ".join(PORT_GRABBERS[name] for name in found),
    )


def _browser(computer: Computer) -> Finding:
    found = next((path for name in BROWSERS if (path := computer.find_program(name))), None)
    if found is None:
        return Finding(
            "browser", Level.MISSING, "no Chromium", Need.BROWSER_TESTS, "sudo apt-get install chromium"
        )
    return Finding("browser", Level.OK, found, Need.BROWSER_TESTS)
