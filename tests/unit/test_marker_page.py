"""The printed page, drawn by a PDF viewer's own library and measured."""

import cv2
import numpy as np
import pypdfium2
import pytest

from vehicle.errors import LapwingError
from vehicle.marker_page import marker_pdf, write_marker
from vehicle.start_marker import DICTIONARY, FOOT_MM, MARKER_ID, MARKER_MM, PAPERS, sheet_image

PX_PER_MM = 5.0


@pytest.fixture(scope="module", params=sorted(PAPERS))
def page(request):
    """Return the paper, the drawn page in gray, and its words."""
    paper = PAPERS[request.param]
    document = pypdfium2.PdfDocument(marker_pdf(paper))
    assert len(document) == 1
    sheet = document[0]
    size_mm = [side / 72 * 25.4 for side in sheet.get_size()]
    assert size_mm == pytest.approx([paper.width_mm, paper.height_mm], abs=0.01)
    text = sheet.get_textpage()
    words = text.get_text_bounded()
    image = sheet.render(scale=PX_PER_MM * 25.4 / 72, grayscale=True).to_numpy()
    text.close()
    document.close()
    return paper, np.ascontiguousarray(image).reshape(image.shape[:2]), words


def test_the_marker_is_there_at_true_size_and_upright(page):
    paper, image, _ = page
    parameters = cv2.aruco.DetectorParameters()
    parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
    detector = cv2.aruco.ArucoDetector(cv2.aruco.getPredefinedDictionary(DICTIONARY), parameters)
    corners, ids, _ = detector.detectMarkers(image)
    assert ids.ravel().tolist() == [MARKER_ID]
    upper_left, upper_right, lower_right, lower_left = corners[0][0] / PX_PER_MM

    for start, end in ((upper_left, upper_right), (lower_left, lower_right), (upper_left, lower_left)):
        assert np.hypot(*(end - start)) == pytest.approx(MARKER_MM, abs=0.2)
    assert lower_left[1] > upper_left[1]
    assert paper.height_mm - lower_left[1] == pytest.approx(FOOT_MM, abs=0.3)
    assert upper_left[0] + upper_right[0] == pytest.approx(paper.width_mm, abs=0.5)


def test_the_ruler_is_a_hundred_millimetres_long(page):
    paper, image, _ = page
    above = image[: round((paper.height_mm - FOOT_MM - MARKER_MM - 5) * PX_PER_MM)] < 128
    longest = max(runs(row) for row in above)

    assert longest / PX_PER_MM == pytest.approx(100.0, abs=0.4)


def runs(row: np.ndarray) -> int:
    """Return the length of the longest run of dark pixels."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(int), [0]])))
    return int(max(edges[1::2] - edges[::2], default=0))


def test_the_page_says_how_to_print_and_place_it_beside_and_not_on_the_marker(page):
    paper, image, words = page
    for said in ("100 mm", "100 %", "This edge on the floor", "facing the cars"):
        assert said in words

    white = 18.0  # mm of white around the square, for the edges to be measured in
    left, top = (paper.width_mm - MARKER_MM) / 2, paper.height_mm - FOOT_MM - MARKER_MM
    around = np.full(image.shape, True)
    inside = [
        round(part * PX_PER_MM) for part in (top - 1, top + MARKER_MM + 1, left - 1, left + MARKER_MM + 1)
    ]
    around[inside[0] : inside[1], inside[2] : inside[3]] = False
    area = [round(part * PX_PER_MM) for part in (top - white, top + MARKER_MM + white)]
    assert (image[area[0] : area[1]][around[area[0] : area[1]]] > 200).all()
    right_end = np.flatnonzero((image < 128).any(axis=0))[-1] / PX_PER_MM
    assert right_end < paper.width_mm - 5.0  # what most printers leave white


def test_the_sheet_of_the_simulated_world_is_the_printed_one(page):
    paper, image, _ = page
    ours = cv2.resize(sheet_image(paper, PX_PER_MM, 0, 255), image.shape[::-1])
    below = round((paper.height_mm - FOOT_MM - MARKER_MM - 3) * PX_PER_MM)
    last = round((paper.height_mm - FOOT_MM + 3) * PX_PER_MM)

    differs = np.abs(ours[below:last].astype(int) - image[below:last]) > 64
    assert differs.mean() < 0.004  # the very edges of cells


def test_the_command_writes_the_file_and_says_what_to_do(tmp_path):
    out = tmp_path / "marker.pdf"
    words = write_marker("letter", out)

    assert out.read_bytes() == marker_pdf(PAPERS["letter"])
    assert "100 %" in words
    with pytest.raises(LapwingError, match="allowed a4 or letter"):
        write_marker("a3", out)
    with pytest.raises(LapwingError, match=r"does not end in \.pdf"):
        write_marker("a4", tmp_path / "marker.png")
    with pytest.raises(
        LapwingError, match=r"cannot be written \(No such file or directory\); choose another file with --out"
    ):
        write_marker("a4", tmp_path / "nowhere" / "marker.pdf")
