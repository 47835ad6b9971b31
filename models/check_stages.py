"""From an uploaded file to a checked bundle, stage by stage, in the process of the check.

What a stage needs is loaded when it comes: on a car's processor onnxruntime takes a second, and most of what
is refused is refused before.
"""

import shutil
from pathlib import Path
from typing import Any

import msgspec

from models import metadata
from models.archive import Contents, unpack
from models.bundle_files import METADATA_NAME, MODEL_NAME
from models.check_limits import PeakMemory
from models.check_process import Progress
from models.check_report import CheckReport
from models.errors import PolicyError
from models.field_checks import plain


def make_bundle(
    source: Path, into: Path, *, name: str, source_name: str, input_range: str, tell: Progress
) -> CheckReport:
    """Make a checked bundle in the new folder `into`; raises PolicyError with a sentence.

    Report and original are not in it yet: `models.check` and the store put them there.
    """
    peak = PeakMemory()
    into.mkdir()
    unpacked = into / "unpacked"
    unpacked.mkdir()

    tell("unpacking", 0.05)
    contents = unpack(source, unpacked, name=source_name)
    conversion = _take_network(contents, into, tell)
    peak.look()
    model = into / MODEL_NAME

    tell("looking at the network", 0.35)
    from models.check_network import check_network  # noqa: PLC0415 - onnx

    check_network(model)
    _take_metadata(contents, into, input_range)
    shutil.rmtree(unpacked)
    peak.look()

    tell("loading what runs it", 0.45)
    from models.check_running import Origin, report_of  # noqa: PLC0415 - onnxruntime

    return report_of(into, Origin(source, source_name, name, contents, conversion), peak, tell)


def _take_network(contents: Contents, into: Path, tell: Progress) -> dict[str, Any] | None:
    """Put the network as ONNX where the bundle will be; a frozen graph is converted on the way."""
    if contents.kind == "frozen_graph":
        tell("converting the frozen graph", 0.15)
        from models.convert import convert  # noqa: PLC0415 - only for a frozen graph

        conversion: dict[str, Any] = msgspec.to_builtins(convert(contents.network, into))
        return conversion
    for path in contents.external_data:  # under names of their own: what was unpacked has no other
        path.rename(into / path.name)
    contents.network.rename(into / MODEL_NAME)
    return None


def _take_metadata(contents: Contents, into: Path, input_range: str) -> None:
    """Put the metadata where the bundle will be, byte for byte unless the owner adds the input's range."""
    if contents.metadata is None:
        raise PolicyError(
            f"there is no {METADATA_NAME} in {plain(contents.name)}, which says what the network's answers "
            "mean; put the one of the same training into the archive"
        )
    stated = metadata.parse(contents.metadata.read_bytes())  # refuses without a path of this car in it
    contents.metadata.rename(into / METADATA_NAME)
    if not input_range:
        return
    from models.check_network import read_network  # noqa: PLC0415 - onnx

    properties = {entry.key: entry.value for entry in read_network(into / MODEL_NAME).metadata_props}
    known = metadata.with_properties(stated, properties).input.range
    if known is not None and known != input_range:
        raise PolicyError(
            f"--input-range is {input_range}, but the policy itself says {known.value}; leave it out"
        )
    chosen = msgspec.structs.replace(stated.input, range=metadata.ValueRange(input_range))
    (into / METADATA_NAME).write_bytes(metadata.encode(msgspec.structs.replace(stated, input=chosen)))
