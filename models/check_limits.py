"""What the check of an upload may use of this computer, held by the kernel."""

import contextlib
import os
import resource

MEMORY_BYTES = 1000 << 20  # private memory; the largest DeepRacer network takes 600 MB with its session
CPU_S = 240
INT8_CPU_S = 1800  # thousands of frames through two networks, and laps; a minute or two here
FILE_BYTES = 1200 << 20  # 1 GB unpacked, and the disk's own bookkeeping
OPEN_FILES = 128
NICENESS = 10


def limit_this_process(cpu_s: int = CPU_S) -> None:
    """Be polite and bounded from now on: niceness, private memory, processor time, size of a file.

    RLIMIT_DATA counts what is private and writable, so that a mapped network of 230 MB costs nothing of it;
    RLIMIT_AS would count that, and the libraries too.
    """
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    for kind, wanted in (
        (resource.RLIMIT_DATA, MEMORY_BYTES),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        bounded = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (bounded, bounded))


def private_memory_mb() -> float:
    """Return the private memory of this process now, in MB: what it would give back by ending."""
    with open("/proc/self/smaps_rollup", encoding="ascii") as file:
        fields = dict(line.split(":", 1) for line in file if ":" in line and not line[0].isdigit())
    return sum(int(fields[name].split()[0]) for name in ("Private_Clean", "Private_Dirty")) / 1000.0


class PeakMemory:
    """The largest private memory seen at any look."""

    def __init__(self) -> None:
        self.mb = private_memory_mb()

    def look(self) -> None:
        """Remember it if it is more than before."""
        self.mb = max(self.mb, private_memory_mb())
