"""Makes a run of a file that was cut off by a kill or a power cut."""

from pathlib import Path

from vehicle.run_file import PART_SUFFIX, RunWriter, read_whole
from vehicle.run_traces import TRACES, TraceKeeper


def mend(part: Path) -> Path | None:
    """Make a run of a file that was cut off, and return it; None where it holds no message at all.

    The cut-off file is removed only when the run is safely on the disk.
    """
    path = part.with_name(part.name.removesuffix(PART_SUFFIX))
    traces = TraceKeeper()
    writer, count = None, 0
    for entry in read_whole(part):
        writer = writer or RunWriter(path.with_name(f"{path.stem}-mended.mcap"))
        writer.add(*entry)
        traces.entry(entry)
        count += 1
    if writer is None:
        part.unlink()
        return None
    writer.attach(TRACES, traces.packed())
    writer.finish({"cut_off": "true", "messages": str(count)})
    writer.path.rename(path)
    part.unlink(missing_ok=True)
    return path
