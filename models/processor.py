"""Which processor and which onnxruntime a measurement was made with, and so holds for."""

import functools
import os
import platform
from pathlib import Path

import msgspec
import onnxruntime

CPUINFO = Path("/proc/cpuinfo")
NAME_KEYS = ("model name", "Hardware", "Model", "cpu model")
"""As Intel, older ARM, Raspberry Pi and MIPS kernels call it; the first that is there counts."""


class Machine(msgspec.Struct, frozen=True):
    """What decides how fast, and in int8 how exact, a network runs here."""

    processor: str
    cores: int
    """That this process may use."""
    onnxruntime: str

    @property
    def words(self) -> str:
        """For people."""
        return f"{self.processor}, {self.cores} cores, onnxruntime {self.onnxruntime}"


def this_machine() -> Machine:
    """Return what measurements made now hold for."""
    return Machine(processor_name(), len(os.sched_getaffinity(0)), onnxruntime.__version__)


@functools.cache
def processor_name(cpuinfo: Path = CPUINFO) -> str:
    """Return the processor's name with its vector instructions, or the architecture where it has none."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    name = next((fields[key] for key in NAME_KEYS if fields.get(key)), "") or platform.machine()
    flags = set(f"{fields.get('flags', '')} {fields.get('Features', '')}".split())
    # Two virtual machines may both be called "AMD EPYC" and multiply bytes differently.
    vectors = [
        flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "asimddp", "i8mm") if flag in flags
    ]
    return (
        f"{name} ({' '.join(vectors) or 'no avx2'})"
        if "x86" in platform.machine()
        else " ".join([name, *vectors])
    )
