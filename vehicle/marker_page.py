"""The start marker as a PDF of one page, at true size: rectangles, a ruler to check the print by, words.

Written by hand: one page of rectangles and of a font that every viewer has is forty lines of a format
that has not changed since 1993, and each library for it brings picture and font code that no car needs.
"""

from collections.abc import Sequence
from pathlib import Path

from vehicle.errors import LapwingError
from vehicle.start_marker import CELLS, FOOT_MM, MARKER_MM, PAPERS, Paper, black_cells

PT_PER_MM = 72 / 25.4
RULER_MM = 100.0
MARGIN_MM = 14.0
LINE_MM = 4.8
TEXT_PT, TITLE_PT = 10.0, 15.0

HOW_TO = (
    "Stand it upright beside the track, on a straight, facing the cars that come, and fix it:",
    "stiff card behind it, a heavy foot. Its lower edge on the floor, 5 to 20 cm from the track's edge.",
    "The line is about 1.5 m before it; it need not be drawn. Leave the sheet where it is for a whole race.",
    "Light it evenly, without glare: matt paper, not in a plastic sleeve.",
)
RULER_WORDS = 'This line measures 100 mm. If not, print again at 100 % ("actual size", not "fit to page").'
FOOT_WORDS = "This edge on the floor"


def marker_pdf(paper: Paper) -> bytes:
    """Return the page as a PDF file."""
    drawing = [*_square(paper), *_ruler(paper), *_words(paper)]
    content = "\n".join(drawing).encode("cp1252")
    size = f"{paper.width_mm * PT_PER_MM:.3f} {paper.height_mm * PT_PER_MM:.3f}"
    return _file(
        [
            b"<< /Type /Catalog /Pages 2 0 R /ViewerPreferences << /PrintScaling /None >> >>",
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {size}] /Contents 4 0 R "
            "/Resources << /Font << /F 5 0 R >> >> >>".encode(),
            f"<< /Length {len(content)} >>\nstream\n".encode() + content + b"\nendstream",
            b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        ]
    )


def _square(paper: Paper) -> list[str]:
    """Return the marker: one black square with white cells in it, so that no seam shows."""
    left_mm, cell_mm = (paper.width_mm - MARKER_MM) / 2, MARKER_MM / CELLS
    white = [
        _rectangle(left_mm + column * cell_mm, FOOT_MM + (CELLS - 1 - row) * cell_mm, cell_mm, cell_mm)
        for row, cells in enumerate(black_cells())
        for column, is_black in enumerate(cells)
        if not is_black
    ]
    return ["0 g", _rectangle(left_mm, FOOT_MM, MARKER_MM, MARKER_MM), "1 g", *white, "0 g"]


def _ruler(paper: Paper) -> list[str]:
    left_mm, at_mm = MARGIN_MM, _ruler_mm(paper)
    ticks = [
        _rectangle(
            left_mm + min(max(mm - 0.1, 0.0), RULER_MM - 0.2), at_mm, 0.2, 4.0 if mm % 50 == 0 else 2.0
        )
        for mm in range(0, round(RULER_MM) + 1, 10)
    ]
    return [_rectangle(left_mm, at_mm - 0.2, RULER_MM, 0.4), *ticks]


def _ruler_mm(paper: Paper) -> float:
    return paper.height_mm - MARGIN_MM - 13.0


def _words(paper: Paper) -> list[str]:
    top_mm = paper.height_mm - MARGIN_MM
    words = [_text(MARGIN_MM, top_mm - 4.0, "Lapwing start marker", TITLE_PT)]
    lines = (RULER_WORDS, *HOW_TO)
    for number, line in enumerate(lines):
        words.append(_text(MARGIN_MM, _ruler_mm(paper) - (number + 1) * LINE_MM, line, TEXT_PT))
    words.append(_text(MARGIN_MM, 6.0, FOOT_WORDS, TEXT_PT))
    return words


def _rectangle(left_mm: float, bottom_mm: float, width_mm: float, height_mm: float) -> str:
    points = (part * PT_PER_MM for part in (left_mm, bottom_mm, width_mm, height_mm))
    return " ".join(f"{part:.4f}" for part in points) + " re f"


def _text(left_mm: float, bottom_mm: float, words: str, size_pt: float) -> str:
    escaped = words.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
    at = f"{left_mm * PT_PER_MM:.3f} {bottom_mm * PT_PER_MM:.3f}"
    return f"BT /F {size_pt:g} Tf {at} Td ({escaped}) Tj ET"


def _file(objects: Sequence[bytes]) -> bytes:
    """Return the objects, numbered from 1, with the table that says where each begins."""
    data = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(data))
        data += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
    table = [f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n"]
    table += [f"{offset:010d} 00000 n \n" for offset in offsets]
    trailer = f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(data)}\n%%EOF\n"
    return data + "".join(table).encode() + trailer.encode()


def write_marker(paper_name: str, out: Path) -> str:
    """Write the page and return what to do with it, in words; raises LapwingError."""
    paper = PAPERS.get(paper_name)
    if paper is None:
        raise LapwingError(f"the paper is {paper_name!r}, allowed {' or '.join(PAPERS)}")
    if out.suffix.lower() != ".pdf":
        raise LapwingError(f"{out} does not end in .pdf; name the file, for instance start-marker.pdf")
    try:
        out.write_bytes(marker_pdf(paper))
    except OSError as error:
        raise LapwingError(
            f"{out} cannot be written ({error.strerror}); choose another file with --out"
        ) from None
    return (
        f"{out}: print it at 100 % on {paper_name.upper()} paper, and check with a ruler that its line "
        f"measures {RULER_MM:g} mm. Then stand it beside a straight, facing the cars that come."
    )
