"""Which scripts a page names, so that none is fetched late, and how long a browser keeps them."""

import re
from pathlib import Path

import pytest

from tests.unit.test_webui import NOW_NS, RecordingVehicle, StillWorld
from tests.unit.webui_visitors import signed_in
from webui import create_app, page_scripts
from webui.access_store import AccessStore
from webui.page_scripts import FOLDER, KEPT, modules_of, static_path

PAGES = ("/", "/race", "/runs", "/models", "/calibrate", "/settings", "/access")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    store = AccessStore(tmp_path_factory.mktemp("access"))
    return signed_in(
        create_app(RecordingVehicle(), StillWorld(), clock_ns=lambda: NOW_NS, access_store=store)
    )


SCRIPT = re.compile(r'<script type="module" src="([^"]+)"')
PRELOAD = re.compile(r'<link rel="modulepreload" href="([^"]+)"')


@pytest.mark.parametrize("path", PAGES)
def test_a_page_names_every_module_that_its_scripts_import(browser, path):
    text = browser.get(path).text
    scripts = SCRIPT.findall(text)
    assert scripts
    named = {*scripts, *PRELOAD.findall(text)}
    assert len(named) == len(scripts) + len(PRELOAD.findall(text))  # each once
    fetched = set()
    while waiting := named - fetched:
        address = waiting.pop()
        fetched.add(address)
        with browser.get(address) as answer:
            source = answer.text
        imported = set(re.findall(r'from "\./([^"]+)"', source))
        assert {f"{static_path()}/{name}" for name in imported} <= named, address


def test_a_module_that_imports_others_in_several_lines_is_understood(tmp_path, monkeypatch):
    monkeypatch.setattr(page_scripts, "FOLDER", tmp_path)
    (tmp_path / "first.js").write_text(
        'import {\n  one,\n  two,\n} from "./second.js";\nimport "./third.js";\n'
    )
    (tmp_path / "second.js").write_text('import { back } from "./first.js";\n')
    (tmp_path / "third.js").write_text("")
    assert set(modules_of.__wrapped__("first")) == {"second", "third"}


def test_the_address_changes_with_the_content_and_is_kept_by_browsers(browser, tmp_path, monkeypatch):
    with browser.get(f"{static_path()}/drive.js") as answer:
        assert answer.headers["Cache-Control"] == KEPT
    assert browser.get(f"{static_path()}/nothing.js").headers["Cache-Control"] == "no-store"
    assert browser.get("/static/drive.js").status_code in {403, 404}

    monkeypatch.setattr(page_scripts, "FOLDER", tmp_path)
    for file in FOLDER.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert static_path.__wrapped__() == static_path()
    (tmp_path / "drive.js").write_bytes(Path(FOLDER / "drive.js").read_bytes() + b"\n")
    assert static_path.__wrapped__() != static_path()
