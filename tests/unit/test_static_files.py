"""What a browser gets of the scripts and styles, packed or not, and that the guards stand before them."""

import gzip
from http import HTTPStatus
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.unit.test_webui import NOW_NS, ORIGIN, RecordingVehicle, StillWorld
from webui import create_app
from webui.access_store import AccessStore
from webui.guard import SECURITY_HEADERS
from webui.hosts import Hosts
from webui.page_scripts import FOLDER, KEPT, static_path
from webui.static_files import MIME_TYPES

SCRIPT = f"{static_path()}/drive.js"
CONTENT = (FOLDER / "drive.js").read_bytes()
BROWSER = "gzip, deflate, br, zstd"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    store = AccessStore(tmp_path_factory.mktemp("access"))
    app = create_app(RecordingVehicle(), StillWorld(), clock_ns=lambda: NOW_NS, access_store=store)
    return app.test_client()


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.iterdir()))
def test_every_file_comes_whole_packed_or_not(client: FlaskClient, name: str) -> None:
    content = (FOLDER / name).read_bytes()
    plain = client.get(f"{static_path()}/{name}")
    packed = client.get(f"{static_path()}/{name}", headers={"Accept-Encoding": BROWSER})

    assert plain.data == content
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == content
    assert len(packed.data) < len(content)
    for answer in (plain, packed):
        assert answer.status_code == HTTPStatus.OK
        assert answer.headers["Content-Length"] == str(len(answer.data))
        assert answer.headers["Content-Type"] == MIME_TYPES["." + name.rpartition(".")[2]]
        assert answer.headers["Vary"] == "Accept-Encoding"
        assert answer.headers["Cache-Control"] == KEPT


@pytest.mark.parametrize(
    ("accepted", "is_packed"),
    [
        (BROWSER, True),
        ("GZIP", True),
        ("br, gzip;q=0.1", True),
        ("*", True),
        ("", False),
        ("identity", False),
        ("br", False),
        ("gzip;q=0", False),
        ("gzip;q=0, *", False),
        ("*;q=0", False),
        (";;=,q", False),
    ],
)
def test_only_who_takes_gzip_gets_it(client: FlaskClient, accepted: str, is_packed: bool) -> None:
    answer = client.get(SCRIPT, headers={"Accept-Encoding": accepted})
    assert answer.headers.get("Content-Encoding") == ("gzip" if is_packed else None)
    assert (gzip.decompress(answer.data) if is_packed else answer.data) == CONTENT


def test_the_driving_page_s_script_is_less_than_half_as_long_packed(client: FlaskClient) -> None:
    assert len(client.get(SCRIPT, headers={"Accept-Encoding": BROWSER}).data) < 0.5 * len(CONTENT)


@pytest.mark.parametrize("accepted", ["", BROWSER])
def test_asking_for_the_head_alone_tells_the_same(client: FlaskClient, accepted: str) -> None:
    whole = client.get(SCRIPT, headers={"Accept-Encoding": accepted})
    head = client.head(SCRIPT, headers={"Accept-Encoding": accepted})
    assert head.data == b""
    assert head.headers == whole.headers


def test_who_has_a_file_already_is_told_so(client: FlaskClient) -> None:
    whole = client.get(SCRIPT)
    tag = whole.headers["ETag"]
    for known in (tag, f'"other", {tag}', tag.removeprefix("W/"), "*"):
        for accepted in ("", BROWSER):
            again = client.get(SCRIPT, headers={"If-None-Match": known, "Accept-Encoding": accepted})
            assert again.status_code == HTTPStatus.NOT_MODIFIED
            assert again.data == b""
            assert "Content-Length" not in again.headers
            assert {name: again.headers[name] for name in ("ETag", "Vary", "Cache-Control")} == {
                name: whole.headers[name] for name in ("ETag", "Vary", "Cache-Control")
            }
    assert client.get(SCRIPT, headers={"If-None-Match": '"other"'}).data == CONTENT
    assert (
        client.get(f"{static_path()}/words.js", headers={"If-None-Match": tag}).status_code == HTTPStatus.OK
    )


def test_a_part_of_a_file_is_never_sent(client: FlaskClient) -> None:
    answer = client.get(SCRIPT, headers={"Range": "bytes=0-9"})
    assert (answer.status_code, answer.data) == (HTTPStatus.OK, CONTENT)
    assert "Accept-Ranges" not in answer.headers


@pytest.mark.parametrize(
    ("address", "is_isolated"),
    [("http://127.0.0.1:8080", True), ("http://finch.local", False), ("https://finch.local", True)],
)
def test_files_carry_the_security_headers_of_every_answer(
    tmp_path: Path, address: str, is_isolated: bool
) -> None:
    hosts = Hosts(("finch.local",), frozenset)
    store = AccessStore(tmp_path / "access")
    client = create_app(RecordingVehicle(), access_store=store, hosts=hosts).test_client()
    page = client.get("/setup", base_url=address)
    for headers in ({}, {"Accept-Encoding": BROWSER}, {"If-None-Match": "*"}):
        answer = client.get(SCRIPT, headers=headers, base_url=address)
        assert answer.headers["Cache-Control"] == KEPT
        for name in SECURITY_HEADERS.keys() - {"Cache-Control"}:
            assert answer.headers[name] == page.headers[name]
        assert ("Cross-Origin-Opener-Policy" in answer.headers) is is_isolated
        assert ("Cross-Origin-Opener-Policy" in page.headers) is is_isolated


def test_whoever_calls_the_car_by_another_name_gets_no_file(client: FlaskClient) -> None:
    for headers in ({}, {"Accept-Encoding": BROWSER}, {"If-None-Match": "*"}):
        for method in ("GET", "HEAD"):
            answer = client.open(SCRIPT, method=method, headers={"Host": "evil.example", **headers})
            assert answer.status_code == HTTPStatus.FORBIDDEN


@pytest.mark.parametrize(
    "path", ["nothing.js", "", "../guard.py", "%2e%2e/guard.py", "drive.js/", "DRIVE.JS", "drive.js%00"]
)
def test_nothing_but_the_files_is_there(client: FlaskClient, path: str) -> None:
    answer = client.get(f"{static_path()}/{path}")
    assert answer.status_code == HTTPStatus.NOT_FOUND
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_a_file_is_only_read(client: FlaskClient, method: str) -> None:
    answer = client.open(SCRIPT, method=method, headers={"Origin": ORIGIN})
    assert answer.status_code == HTTPStatus.NOT_FOUND
    assert answer.headers["Cache-Control"] == "no-store"
