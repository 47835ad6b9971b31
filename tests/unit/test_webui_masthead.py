"""What stands at the head of every page: the way to the others, and whether anything real moves."""

import tempfile
from pathlib import Path

import msgspec
import pytest

from tests.unit.test_webui import RecordingVehicle, StillWorld
from tests.unit.webui_visitors import signed_in
from vehicle.messages import Status
from webui import PAGES, create_app
from webui.access_store import AccessStore

DOORS = ("/setup", "/login", "/watch?link=x", "/sign-in?link=x")
MARK = "Simulated"


class WiredCar(RecordingVehicle):
    """A real one."""

    def status(self) -> Status | None:
        status = super().status()
        return status and msgspec.structs.replace(status, hil=False)


def heads(home: Path, vehicle: RecordingVehicle, world: StillWorld | None) -> dict[str, str]:
    """Return the text of every page of a car that nobody has visited yet, by its path."""
    app = create_app(vehicle, world, access_store=AccessStore(Path(tempfile.mkdtemp(dir=home))))
    with app.test_request_context():
        paths = [app.url_for(endpoint) for endpoint, _ in PAGES]
    stranger = app.test_client()
    door = {"/setup": stranger.get("/setup").text}  # there is no other before the first password
    owner = signed_in(app)
    door |= {path: stranger.get(path).text for path in DOORS[1:]}
    return door | {path: owner.get(path).text for path in (*paths, "/access")}


@pytest.mark.parametrize("silent", [False, True])
def test_every_page_of_a_simulated_car_says_so(tmp_path: Path, silent: bool) -> None:
    vehicle = RecordingVehicle()
    vehicle.silent = silent
    for path, text in heads(tmp_path, vehicle, StillWorld()).items():
        assert text.count(MARK) == 1, path


def test_no_page_of_a_real_car_says_so(tmp_path: Path) -> None:
    vehicle = WiredCar()
    assert [path for path, text in heads(tmp_path, vehicle, None).items() if MARK in text] == []
    vehicle.silent = True
    assert [path for path, text in heads(tmp_path, vehicle, None).items() if MARK in text] == []


def test_every_page_leads_to_all_others_and_names_itself_and_no_door_leads_in(tmp_path: Path) -> None:
    vehicle = RecordingVehicle()
    for path, text in heads(tmp_path, vehicle, None).items():
        is_door = path.partition("?")[0] in {door.partition("?")[0] for door in DOORS}
        assert ("<nav" in text) is not is_door
        if is_door:
            continue
        for _, name in PAGES:
            assert f">{name}</a>" in text, path
        assert text.count('aria-current="page"') == 1, path
