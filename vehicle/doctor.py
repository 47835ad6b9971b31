"""Says what this computer has and lacks for driving, each lack with its remedy; opens no device."""

import importlib.metadata
import platform
import re
import resource
import sys
from collections.abc import Iterator

import msgspec
from rich.console import Console

from vehicle import doctor_car
from vehicle.computer import Computer
from vehicle.findings import LOG_IN_AGAIN, Finding, Level, Need, is_fit, print_findings
from vehicle.realtime import LOOP_PRIORITY, may_lock_memory
from vehicle.run_dir import PATH_LIMIT

DISTRIBUTION = "lapwing"
OLDEST_PYTHON = (3, 11)
TRAINING_PACKAGES = ("torch", "stable-baselines3", "gymnasium")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
STEADY_CLOCKS = frozenset({"tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter"})

LEAST_FREE_DISK_BYTES = 2 << 30  # some hours of recorded driving
LEAST_FREE_MEMORY_BYTES = 500 << 20
HOT_DEG_C = 85.0  # small computers without a fan slow down from about here


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
        *doctor_car.examine(computer),
        _browser(computer),
    ]


def run_doctor(*, as_json: bool) -> int:
    """Print the findings; return 0 when this computer can drive at least the HIL car, else 1."""
    findings = examine()
    if as_json:
        document = {"fit": is_fit(findings), "findings": findings}
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(document)).decode() + "\n")
    else:
        print_findings(findings, Console())
    return 0 if is_fit(findings) else 1


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
    if may_lock_memory(limit_bytes, computer.read("proc/self/status")):
        is_unlimited = limit_bytes == resource.RLIM_INFINITY
        seen = "unlimited" if is_unlimited else "this process may lock more than its limit (CAP_IPC_LOCK)"
        return Finding("locked memory", Level.OK, seen, Need.STEADY_TIMING)
    return Finding(
        "locked memory",
        Level.WARN,
        f"limit {limit_bytes >> 20} MiB, wanted none",
        Need.STEADY_TIMING,
        'echo "$USER - memlock unlimited" | sudo tee -a /etc/security/limits.d/lapwing.conf, '
        f"{LOG_IN_AGAIN}; in a container: --ulimit memlock=-1 or --cap-add IPC_LOCK",
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


def _browser(computer: Computer) -> Finding:
    found = next((path for name in BROWSERS if (path := computer.find_program(name))), None)
    if found is None:
        return Finding(
            "browser", Level.MISSING, "no Chromium", Need.BROWSER_TESTS, "sudo apt-get install chromium"
        )
    return Finding("browser", Level.OK, found, Need.BROWSER_TESTS)
