"""The check of one upload, in a process of its own: `python -m models.check SOURCE --into FOLDER`.

Unpack, convert, refuse what may not run, simplify, bind to the metadata, try on real and random pictures,
show the answers, measure. It ends with a checked bundle in FOLDER and status 0, or with a sentence and
status 2. `models.check_process` starts it, bounds it and clears up after it. Of a bundle that has been
checked, `--measure` measures the time again and `--int8` makes and judges its int8 network, into FOLDER too.
"""

import argparse
import errno
import sys
from pathlib import Path

import msgspec

from models.bundle_files import REPORT_NAME
from models.check_limits import CPU_S, INT8_CPU_S, MEMORY_BYTES, limit_this_process
from models.check_process import Message, Progress
from models.check_report import CheckRefusedError, CheckReport, Response, encode_report
from models.errors import PolicyError
from vehicle.realtime import die_with_parent


def check_here(
    source: Path, into: Path, *, name: str, source_name: str, input_range: str, tell: Progress
) -> CheckReport:
    """Make a checked bundle in the new folder `into`, in this process; raises PolicyError with a sentence."""
    tell("loading what checks it", 0.02)
    from models.check_stages import make_bundle  # noqa: PLC0415 - onnxruntime, within the limits set before

    report = make_bundle(source, into, name=name, source_name=source_name, input_range=input_range, tell=tell)
    (into / REPORT_NAME).write_bytes(encode_report(report))
    return report


def work_here(chosen: argparse.Namespace, tell: Progress) -> str:
    """Do what the command line asks for, in this process; return words for the end of it."""
    if chosen.measure or chosen.int8:
        tell("loading what measures it", 0.02)
        from models import recheck  # noqa: PLC0415 - onnxruntime, within the limits set before

        chosen.into.mkdir()
        if chosen.measure:
            return recheck.measure_here(chosen.source, chosen.into)
        return recheck.int8_here(chosen.source, chosen.into, frames=chosen.frames, hil=chosen.hil, tell=tell)
    source_name = chosen.source_name or chosen.source.name
    report = check_here(
        chosen.source,
        chosen.into,
        name=chosen.name or source_name.partition(".")[0],
        source_name=source_name,
        input_range=chosen.input_range,
        tell=tell,
    )
    return f"passed: {report.sha256}"


def main(arguments: list[str] | None = None) -> int:
    """Check what the command line names; say how it went on standard output."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("source", type=Path)
    parser.add_argument("--into", type=Path, required=True, help="a folder that does not exist yet")
    parser.add_argument("--name", default="")
    parser.add_argument("--source-name", default="")
    parser.add_argument("--input-range", choices=("", "0..1", "0..255"), default="")
    parser.add_argument("--measure", action="store_true", help="SOURCE is a bundle; measure it again")
    parser.add_argument("--int8", action="store_true", help="SOURCE is a bundle; make and judge its int8")
    parser.add_argument("--frames", type=Path, action="append", default=[], help="for --int8: recordings")
    parser.add_argument("--hil", action="store_true", help="for --int8: pictures and laps of the HIL car")
    parser.add_argument("--json-lines", action="store_true", help="progress and result as JSON, a line each")
    chosen = parser.parse_args(arguments)
    die_with_parent()
    limit_this_process(INT8_CPU_S if chosen.int8 else CPU_S)

    def say(message: Message, words: str) -> None:
        line = msgspec.json.encode(message).decode() if chosen.json_lines else words
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    def tell(stage: str, share: float) -> None:
        say(Message(stage=stage, share=share), stage)

    def refuse(sentence: str, responses: dict[str, tuple[Response, ...]] | None = None) -> int:
        say(Message(refused=sentence, responses=responses or {}), sentence)
        return 2

    try:
        words = work_here(chosen, tell)
    except CheckRefusedError as error:
        return refuse(str(error), error.responses)
    except PolicyError as error:
        return refuse(str(error))
    except MemoryError:
        return refuse(
            f"the network needs more than the {MEMORY_BYTES / 1e6:.0f} MB of memory that a check may use; "
            "export a smaller one"
        )
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return refuse("the disk is full; remove policies or recordings, then try again")
        if error.errno == errno.EFBIG:
            return refuse("the network is larger than a check may write; export a smaller one")
        raise
    say(Message(done=True), words)
    return 0


if __name__ == "__main__":
    sys.exit(main())
