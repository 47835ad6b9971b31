"""Which processor this is, in words. Nothing here opens a network, so that pages may ask."""

import functools
import platform
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
NAME_KEYS = ("model name", "Hardware", "Model", "cpu model")
"""As Intel, older ARM, Raspberry Pi and MIPS kernels call it; the first that is there counts."""


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
