"""What an uploaded file is, judged by its first bytes and never by its name."""

from typing import Literal

from models.archive_limits import ACCEPTED
from models.archive_tar import looks_like_tar
from models.field_checks import refuse

Packing = Literal["gzip", "zip", "tar", ""]

HEAD_BYTES = 1024
GZIP_MAGIC = b"\x1f\x8b"
ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")  # with members; empty
EXPORT_REMEDY = (
    "export the policy as ONNX: `lapwing train --out FOLDER` writes one, "
    "torch.onnx.export does for a training of your own"
)
TORCH_LEGACY_MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."

# Position in the file, the bytes there, and what the file is called.
FOREIGN_MAGICS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"GIF8", "a GIF picture"),
    (0, b"\x89PNG", "a PNG picture"),
    (0, b"\xff\xd8\xff", "a JPEG picture"),
    (0, b"%PDF", "a PDF document"),
    (0, b"\x7fELF", "a program"),
    (0, b"MZ", "a Windows program"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"Rar!", "a RAR archive"),
    (0, b"\xfd7zXZ", "an xz archive"),
    (0, b"BZh", "a bzip2 archive"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (0, b"PK\x07\x08", "one part of a split zip archive"),
    (0, b"\x89HDF", "a Keras or HDF5 file, which has the weights but no frozen graph"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (4, b"TFL3", "a TensorFlow Lite model, made for another car's software"),
    (4, b"ftyp", "a video"),
)


def packing_of(head: bytes) -> Packing:
    """Return how the file is packed; empty for a file that may be a bare network.

    Raises PolicyError for what is recognised as something else, with the remedy.
    """
    if not head:
        refuse("the file is empty", f"allowed is {ACCEPTED}", "copy or export it again")
    if head.startswith(GZIP_MAGIC):
        return "gzip"
    if head.startswith(ZIP_MAGICS):
        return "zip"
    if looks_like_tar(head):
        return "tar"
    refuse_foreign(head, "the file")
    return ""


def refuse_foreign(head: bytes, name: str) -> None:
    """Refuse what is recognised as something else than a network; raises PolicyError."""
    if head.startswith(TORCH_LEGACY_MAGIC) or (head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05"):
        refuse_pickle(name)
    for position, magic, what in FOREIGN_MAGICS:
        if head[position : position + len(magic)] == magic:
            refuse(f"{name} is {what}", f"allowed is {ACCEPTED}", "export or pack the policy again")
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    lowered = text[:400].lower()
    if text.startswith(b"<") and b"<net" in lowered:
        refuse_openvino(name)
    if lowered.startswith((b"<!doctype", b"<html")):
        refuse(f"{name} is a web page", f"allowed is {ACCEPTED}", "download the archive itself, signed in")
    if text.startswith(b"{"):
        refuse(
            f"{name} is a JSON file",
            "a policy is its network and its model_metadata.json together",
            "pack both into one .tar.gz or .zip",
        )


def refuse_pickle(name: str) -> None:
    """Refuse a file of pickled objects, which can run any program when it is opened."""
    refuse(
        f"{name} is a PyTorch or Python pickle file",
        "such a file can hold any program and is never opened here",
        EXPORT_REMEDY,
    )


def refuse_openvino(name: str) -> None:
    """Refuse the intermediate form of OpenVINO."""
    refuse(
        f"{name} is an OpenVINO model, made for another car's software",
        "the car needs the network that it was made from",
        "upload the archive that training exported, with model.pb",
    )
