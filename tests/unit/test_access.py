"""Who is let in to the page, to what, and how: over HTTP, against the real application."""

import re
import threading
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from simple_websocket import ConnectionClosed
from werkzeug.test import TestResponse

from tests.unit.test_webui import DRIVING, NOW_NS, ORIGIN, START, RecordingVehicle, fresh
from tests.unit.webui_visitors import PASSWORD, script, signed_in, store_of, watcher
from vehicle.messages import RequestKind
from webui import create_app
from webui.access import COOKIE, CSRF_HEADER, socket_visitor, visitor
from webui.access_pages import browser_name
from webui.access_store import AccessStore
from webui.describing import FORM
from webui.guessing import FREE_FAILURES
from webui.hosts import Hosts
from webui.page_scripts import static_path

HERE = {"Origin": ORIGIN}
NAVIGATION = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
OPEN = {
    "/login",
    "/setup",
    "/sign-in",
    "/watch",
    "/ca.crt",
    "/emergency-stop",
    f"{static_path()}/<path:filename>",
}


@pytest.fixture
def vehicle() -> RecordingVehicle:
    return RecordingVehicle()


@pytest.fixture
def app(vehicle: RecordingVehicle, tmp_path: Path) -> Flask:
    return create_app(vehicle, clock_ns=lambda: NOW_NS, access_store=AccessStore(tmp_path / "access"))


@pytest.fixture
def stranger(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def owned(app: Flask) -> Flask:
    """The application of a car that has a password."""
    signed_in(app)
    return app


def send(client: FlaskClient, path: str, **fields: str) -> TestResponse:
    return client.post(path, data=fields, headers=HERE)


def sign_in(client: FlaskClient, password: str = PASSWORD, **fields: str) -> TestResponse:
    return send(client, "/login", password=password, **fields)


def proof(client: FlaskClient, path: str = "/") -> str:
    found = re.search(r'<meta name="csrf" content="([0-9a-f]{64})">', client.get(path).text)
    assert found is not None
    return found[1]


# ---- strangers ----


def test_a_stranger_gets_nothing_but_the_pages_that_let_in(owned: Flask, vehicle: RecordingVehicle) -> None:
    """Walks every route there is, so that a new one cannot be forgotten."""
    stranger = owned.test_client()
    tried = 0
    for rule in owned.url_map.iter_rules():
        if rule.rule in OPEN or rule.websocket:
            continue
        path = re.sub(r"<[^>]+>", "a", rule.rule)
        for method in (rule.methods or set()) - {"OPTIONS"}:
            tried += 1
            assert stranger.open(path, method=method, headers=HERE, json=fresh()).status_code == 401
    assert tried > 20
    assert vehicle.asked == []


def test_a_stranger_in_a_browser_is_led_to_the_sign_in_page(owned: Flask) -> None:
    answer = owned.test_client().get("/access", headers=NAVIGATION)
    assert (answer.status_code, answer.location) == (303, "/login?next=%2Faccess")


@pytest.mark.parametrize(
    "cookie",
    ["", "x", "a" * 5000, "\xff", "'; drop table sessions"],
    ids=["none", "x", "long", "latin", "sql"],
)
def test_a_made_up_cookie_opens_nothing(owned: Flask, cookie: str) -> None:
    client = owned.test_client(use_cookies=False)
    assert client.get("/api/status", headers={"Cookie": f"{COOKIE}={cookie}"}).status_code == 401


def test_before_the_first_password_nothing_can_be_asked_of_the_car(
    stranger: FlaskClient, vehicle: RecordingVehicle
) -> None:
    for path in DRIVING:
        answer = stranger.post(path, json=fresh(speed_cap_frac=1.0), headers=HERE)
        assert answer.status_code == 401
        assert "no password yet" in answer.json["error"]
    assert vehicle.asked == []
    assert stranger.get("/", headers=NAVIGATION).location == "/setup"
    assert stranger.get("/login", headers=NAVIGATION).location == "/setup"


# ---- the emergency stop ----


def test_the_emergency_stop_needs_nobody_to_be_signed_in(
    stranger: FlaskClient, owned: Flask, vehicle: RecordingVehicle, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    assert stranger.post("/emergency-stop", headers=HERE).status_code == 200
    assert owned.test_client().post("/emergency-stop", headers=HERE).status_code == 200
    assert vehicle.stops == 2
    assert "emergency stop from 127.0.0.1" in caplog.text


def test_the_button_itself_stops_the_car_of_a_page_without_its_script_and_leads_back(
    stranger: FlaskClient, vehicle: RecordingVehicle
) -> None:
    for page, back in (("http://localhost/login", "/login"), ("http://evil.example//x.y", "/"), (None, "/")):
        headers = HERE if page is None else {**HERE, "Referer": page}
        answer = stranger.post("/emergency-stop", headers=headers, data={})
        form = stranger.post("/emergency-stop", headers={**headers, "Content-Type": FORM}, data=b"")
        assert (answer.status_code, form.status_code, form.location) == (200, 303, back)
    assert vehicle.stops == 6


def test_the_emergency_stop_of_another_site_is_refused(
    stranger: FlaskClient, vehicle: RecordingVehicle
) -> None:
    assert stranger.post("/emergency-stop", headers={"Origin": "http://evil.example"}).status_code == 403
    assert vehicle.stops == 0


def test_whoever_is_locked_out_can_still_stop_the_car(owned: Flask, vehicle: RecordingVehicle) -> None:
    client = owned.test_client()
    while sign_in(client, "wrong").status_code != 429:
        pass
    for _ in range(50):
        assert client.post("/emergency-stop", headers=HERE).status_code == 200
    assert vehicle.stops == 50


def test_the_emergency_stop_works_with_a_session_that_has_run_out(
    owned: Flask, vehicle: RecordingVehicle
) -> None:
    client = owned.test_client(use_cookies=False)
    assert client.post("/emergency-stop", headers={**HERE, "Cookie": f"{COOKIE}=old"}).status_code == 200
    assert vehicle.stops == 1


def test_the_emergency_stop_does_not_wait_for_passwords_being_tried(
    owned: Flask, vehicle: RecordingVehicle
) -> None:
    passwords = owned.extensions["access"].passwords
    tried = threading.Event()
    passwords._thread.submit(tried.wait)
    guess = threading.Thread(target=lambda: sign_in(owned.test_client()))
    guess.start()
    try:
        assert owned.test_client().post("/emergency-stop", headers=HERE).status_code == 200
        assert guess.is_alive()
    finally:
        tried.set()
    guess.join()
    assert vehicle.stops == 1


def test_where_the_owner_says_so_the_emergency_stop_asks_who_it_is(
    owned: Flask, vehicle: RecordingVehicle
) -> None:
    owner = signed_in(owned)
    assert send(owner, "/access/stop", needs_sign_in="yes").status_code == 303
    assert owned.test_client().post("/emergency-stop", headers=HERE).status_code == 401
    assert vehicle.stops == 0

    for client in (owner, watcher(owned), script(owned)):
        headers = {} if client is not owner else {CSRF_HEADER: ""}  # no token is asked for
        assert client.post("/emergency-stop", headers={**HERE, **headers}).status_code == 200
    assert vehicle.stops == 3

    send(owner, "/access/stop", needs_sign_in="no")
    assert owned.test_client().post("/emergency-stop", headers=HERE).status_code == 200


def test_a_damaged_access_file_keeps_everybody_out_but_stops_the_car(
    owned: Flask, vehicle: RecordingVehicle
) -> None:
    owner = signed_in(owned)
    (store_of(owned).root / "access.json").write_text("{")
    answer = owner.get("/api/status")
    assert answer.status_code == 503
    assert "lapwing password" in answer.json["error"]
    page = owner.get("/", headers=NAVIGATION)
    assert page.status_code == 503
    assert "<code>lapwing password</code>" in page.text
    assert 'action="/emergency-stop"' in page.text
    assert 'href="/">Try again</a>' in page.text
    assert owned.test_client().post("/emergency-stop", headers=HERE).status_code == 200
    assert vehicle.stops == 1


def test_a_person_is_refused_by_a_page_that_stops_the_car_and_a_script_by_json(owned: Flask) -> None:
    owner = signed_in(owned)
    page = owner.get("/nowhere", headers=NAVIGATION)
    assert (page.status_code, page.mimetype) == (404, "text/html")
    assert "There is nothing at this address." in page.text
    assert 'action="/emergency-stop"' in page.text
    assert "Try again" not in page.text
    refused = watcher(owned).get("/access", headers=NAVIGATION)
    assert (refused.status_code, "Only somebody who signed in" in refused.text) == (403, True)
    for accept in ("*/*", "application/json"):
        answer = owner.get("/nowhere", headers={"Accept": accept})
        assert (answer.status_code, answer.json) == (404, {"error": "There is nothing at this address."})
    elsewhere = owner.get("/", headers={**NAVIGATION, "Host": "evil.example"})
    assert (elsewhere.status_code, elsewhere.mimetype) == (403, "application/json")


# ---- first visit ----


def test_the_first_visit_sets_the_password_and_signs_in(app: Flask, stranger: FlaskClient) -> None:
    assert "Make this car yours" in stranger.get("/setup").text
    code = store_of(app).setup_code()

    answer = send(stranger, "/setup", code=code, password="three small words", again="three small words")

    assert (answer.status_code, answer.location) == (303, "/")
    assert stranger.get("/api/status").status_code == 200
    assert sign_in(app.test_client(), "three small words").status_code == 303
    assert stranger.get("/setup").location == "/login"


def test_a_second_first_visit_is_refused_as_a_conflict(app: Flask, stranger: FlaskClient) -> None:
    code = store_of(app).setup_code()
    fields = {"code": code, "password": "three small words", "again": "three small words"}
    assert send(stranger, "/setup", **fields).status_code == 303

    second = send(app.test_client(), "/setup", **fields)
    assert second.status_code == 409
    assert "Somebody has set the password already" in second.text
    assert "Set-Cookie" not in second.headers


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"code": "AAAA-AAAA"}, 401, "That is not the set-up code"),
        ({"password": "short", "again": "short"}, 400, "The password has 5 characters, allowed 8 to 256"),
        ({"password": "x" * 257, "again": "x" * 257}, 400, "The password has 257 characters"),
        ({"again": "three other words"}, 400, "The two passwords differ"),
        ({"password": "", "again": ""}, 400, "0 characters"),
    ],
)
def test_a_first_visit_that_is_not_right_says_why_and_sets_nothing(
    app: Flask, stranger: FlaskClient, fields: dict[str, str], status: int, words: str
) -> None:
    right = {
        "code": store_of(app).setup_code(),
        "password": "three small words",
        "again": "three small words",
    }
    answer = send(stranger, "/setup", **{**right, **fields})
    assert answer.status_code == status
    assert words in answer.text
    assert not store_of(app).has_password


def test_guessing_the_set_up_code_is_slowed(app: Flask, stranger: FlaskClient) -> None:
    wrong = {"code": "AAAA-AAAA", "password": "three small words", "again": "three small words"}
    statuses = [send(stranger, "/setup", **wrong).status_code for _ in range(FREE_FAILURES + 1)]
    assert statuses == [401] * FREE_FAILURES + [429]


# ---- signing in and out ----


def test_the_right_password_signs_in_with_a_cookie_that_scripts_cannot_read(owned: Flask) -> None:
    answer = sign_in(owned.test_client())
    assert answer.status_code == 303
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Path=/" in cookie


def test_over_https_the_cookie_stays_on_https_and_on_this_name(owned: Flask) -> None:
    client = owned.test_client()
    answer = client.post(
        "/login",
        data={"password": PASSWORD},
        base_url="https://localhost",
        headers={"Origin": "https://localhost"},
    )
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-lapwing=")
    assert "Secure" in cookie
    assert client.get("/api/status", base_url="https://localhost").status_code == 200
    assert client.get("/api/status", base_url="http://localhost").status_code == 401


def test_a_wrong_password_says_so_and_gives_no_cookie(owned: Flask) -> None:
    answer = sign_in(owned.test_client(), "wrong")
    assert answer.status_code == 401
    assert "That is not the password" in answer.text
    assert "Set-Cookie" not in answer.headers


def test_guessing_the_password_is_slowed_even_with_the_right_one(owned: Flask) -> None:
    client = owned.test_client()
    statuses = [sign_in(client, "wrong").status_code for _ in range(FREE_FAILURES)]
    assert statuses == [401] * FREE_FAILURES
    locked = sign_in(client)
    assert locked.status_code == 429
    assert "emergency stop works" in locked.text


@pytest.mark.parametrize(
    ("wanted", "to"),
    [
        ("/access", "/access"),
        ("//evil.example", "/"),
        ("https://evil.example/", "/"),
        ("/\\evil.example", "/"),
        ("/api/status", "/"),
    ],
)
def test_signing_in_leads_on_to_a_page_of_ours_only(owned: Flask, wanted: str, to: str) -> None:
    assert sign_in(owned.test_client(), next=wanted).location == to


def test_signing_out_ends_the_session_for_good(owned: Flask) -> None:
    client = owned.test_client()
    cookie = sign_in(client).headers["Set-Cookie"].split(";")[0]
    answer = client.post("/access/sign-out", headers={**HERE, CSRF_HEADER: proof(client)})
    assert answer.location == "/login"
    assert (
        owned.test_client(use_cookies=False).get("/api/status", headers={"Cookie": cookie}).status_code == 401
    )


def test_changing_the_password_signs_every_other_browser_out(owned: Flask) -> None:
    client, other = owned.test_client(), signed_in(owned)
    sign_in(client)
    changed = client.post(
        "/access/password",
        data={"old": PASSWORD, "password": "three new words", "again": "three new words"},
        headers={**HERE, CSRF_HEADER: proof(client)},
    )
    assert (changed.status_code, changed.location) == (303, "/access")
    assert client.get("/api/status").status_code == 200
    assert other.get("/api/status").status_code == 401
    assert sign_in(owned.test_client()).status_code == 401
    assert sign_in(owned.test_client(), "three new words").status_code == 303


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"old": "wrong", "password": "three new words", "again": "three new words"}, 401),
        ({"old": PASSWORD, "password": "three new words", "again": "other new words"}, 400),
        ({"old": PASSWORD, "password": "short", "again": "short"}, 400),
    ],
)
def test_a_password_change_that_is_refused_changes_nothing(
    owned: Flask, fields: dict[str, str], status: int
) -> None:
    owner = signed_in(owned)
    assert send(owner, "/access/password", **fields).status_code == status
    assert owner.get("/api/status").status_code == 200
    assert sign_in(owned.test_client()).status_code == 303


def test_another_browser_can_be_signed_out(owned: Flask) -> None:
    owner, lost = signed_in(owned), signed_in(owned)
    ids = re.findall(r'name="id" value="([0-9a-f]{64})"', owner.get("/access").text)
    for key in ids:
        send(owner, "/access/sessions/close", id=key)
    assert lost.get("/api/status").status_code == 401
    assert owner.get("/api/status").status_code == 200


# ---- tokens ----


def test_a_change_without_the_sessions_token_is_refused(owned: Flask, vehicle: RecordingVehicle) -> None:
    client, other = signed_in(owned), signed_in(owned)
    theirs = other.environ_base["HTTP_X_LAPWING_TOKEN"]
    for token in ("", "0" * 64, theirs, "\xff"):
        for path in (START, "/access/keys"):
            answer = client.post(path, json=fresh(), headers={**HERE, CSRF_HEADER: token})
            assert answer.status_code == 403
    assert vehicle.asked == []
    assert store_of(owned).state().keys == ()


def test_the_token_of_a_page_lives_as_long_as_its_session(owned: Flask) -> None:
    client = owned.test_client()
    sign_in(client)
    assert proof(client) == proof(client) == proof(client, "/access")


# ---- keys, watchers, one-time links ----


def test_a_script_with_a_key_needs_neither_cookie_nor_token_nor_origin(
    owned: Flask, vehicle: RecordingVehicle
) -> None:
    client = script(owned)
    assert client.get("/api/status").status_code == 200
    assert client.post(START, json=fresh()).status_code == 200
    assert RequestKind.START in vehicle.kinds


def test_a_page_of_another_site_gains_nothing_by_a_header(owned: Flask, vehicle: RecordingVehicle) -> None:
    headers = {"Origin": "http://evil.example", "Authorization": "Bearer x"}
    assert signed_in(owned).post(START, json=fresh(), headers=headers).status_code == 403
    assert vehicle.asked == []


@pytest.mark.parametrize("authorization", ["Bearer", "Bearer x", "Basic x", "x", "Bearer \xff"])
def test_a_key_that_is_not_known_is_refused_even_with_a_session(owned: Flask, authorization: str) -> None:
    assert signed_in(owned).get("/api/status", headers={"Authorization": authorization}).status_code == 401


def test_a_key_is_made_shown_once_listed_and_revoked(owned: Flask) -> None:
    owner = signed_in(owned)
    made = send(owner, "/access/keys", name="lap <b>timer</b>")
    key = re.search(r'id="new-key" readonly autofocus value="([\w-]{43})"', made.text)
    assert key is not None
    assert "lap &lt;b&gt;timer&lt;/b&gt;" in made.text
    assert key[1] not in owner.get("/access").text

    with_key = owned.test_client(use_cookies=False)
    bearer = {"Authorization": f"Bearer {key[1]}"}
    assert with_key.get("/api/status", headers=bearer).status_code == 200
    (listed,) = store_of(owned).state().keys
    assert send(owner, "/access/keys/revoke", id=listed.id).status_code == 303
    assert with_key.get("/api/status", headers=bearer).status_code == 401
    assert send(owner, "/access/keys/revoke", id=listed.id).status_code == 404


def test_a_script_cannot_see_or_change_who_has_access(owned: Flask) -> None:
    client = script(owned)
    assert client.get("/access").status_code == 403
    assert send(client, "/access/keys", name="another").status_code == 403


def test_a_watcher_sees_and_stops_and_changes_nothing(owned: Flask, vehicle: RecordingVehicle) -> None:
    client = watcher(owned)
    assert client.get("/").status_code == 200
    assert client.get("/api/status").status_code == 200
    assert client.get("/access").status_code == 403
    for rule in owned.url_map.iter_rules():
        path = re.sub(r"<[^>]+>", "a", rule.rule)
        for method in (rule.methods or set()) & {"POST", "PUT", "DELETE", "PATCH"}:
            if rule.rule not in OPEN and rule.endpoint != "access.sign_out":
                assert client.open(path, method=method, headers=HERE, json=fresh()).status_code == 403
    assert vehicle.asked == []
    assert client.post("/emergency-stop", headers=HERE).status_code == 200


def test_a_view_link_is_opened_by_a_press_and_ends_when_revoked(owned: Flask) -> None:
    owner, friend = signed_in(owned), owned.test_client()
    made = send(owner, "/access/view-links", name="Anna").text
    shown = r'id="new-link" readonly autofocus value="http://localhost(/watch\?link=([\w-]{43}))"'
    address = re.search(shown, made)
    assert address is not None
    assert "Watch this car" in friend.get(address[1]).text
    assert friend.get("/api/status").status_code == 401  # looking at a link opens nothing

    assert send(friend, "/watch", link=address[2]).location == "/"
    assert friend.get("/api/status").status_code == 200
    (listed,) = store_of(owned).state().view_links
    send(owner, "/access/view-links/revoke", id=listed.id)
    assert friend.get("/api/status").status_code == 401
    assert send(friend, "/watch", link=address[2]).status_code == 401


def test_a_one_time_link_signs_in_by_a_press_and_once(owned: Flask) -> None:
    link = store_of(owned).make_sign_in_link()
    first, second = owned.test_client(), owned.test_client()
    assert "Sign in to this car" in first.get(f"/sign-in?link={link}").text
    assert send(first, "/sign-in", link=link).location == "/"
    assert first.get("/access").status_code == 200
    assert send(second, "/sign-in", link=link).status_code == 401
    assert second.get("/api/status").status_code == 401


# ---- sockets ----


class Closable:
    """A socket that remembers how it was closed."""

    def __init__(self) -> None:
        self.closed_with: int | None = None

    def close(self, reason: int, message: str) -> None:
        self.closed_with = reason


def test_a_strangers_socket_is_closed_with_a_code_and_a_visitors_is_told_who_it_is(owned: Flask) -> None:
    socket = Closable()
    with owned.test_request_context("/login"):
        owned.preprocess_request()
        with pytest.raises(ConnectionClosed):
            socket_visitor(socket)  # type: ignore[arg-type]
    assert socket.closed_with == 4401

    client = signed_in(owned)
    with owned.test_request_context("/", environ_base=client.environ_base):
        owned.preprocess_request()
        who = socket_visitor(socket)  # type: ignore[arg-type]
        assert who == visitor()
    assert who.may_drive
    assert who.is_allowed_now()
    store_of(owned).set_password("another")
    assert not who.is_allowed_now()


def test_a_revoked_key_ends_an_open_socket_too(owned: Flask) -> None:
    client = script(owned)
    with owned.test_request_context("/", environ_base=client.environ_base):
        owned.preprocess_request()
        who = visitor()
    assert who.is_allowed_now()
    store_of(owned).revoke_key(store_of(owned).state().keys[0].id)
    assert not who.is_allowed_now()


# ---- hosts ----


def lan() -> Hosts:
    return Hosts(["track.example"], lambda: frozenset({"192.168.1.20", "fd00::5"}))


@pytest.mark.parametrize(
    "host",
    [
        "192.168.1.20:8080",
        "[fd00::5]:8080",
        "[FD00:0:0::5]",
        "track.example",
        "Track.Example.:443",
        "localhost",
        "127.0.0.1:1",
        "blue.local:8080",
        "blue",
    ],
)
def test_the_cars_names_and_addresses_are_its_own(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "blue")
    assert lan().is_ours(host)


@pytest.mark.parametrize(
    "host",
    [
        "192.168.1.21",
        "evil.example",
        "blue.local.evil.example",
        "track.example.evil",
        "[fd00::6]",
        "blue.local@evil",
        "",
        "a b",
        "192.168.1.20:8080:1",
        "192.168.1.20/x",
    ],
)
def test_any_other_host_is_refused(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "blue")
    assert not lan().is_ours(host)


def test_an_address_that_the_car_gets_later_is_served_soon() -> None:
    addresses = [frozenset({"10.0.0.1"})]
    now_s = [0.0]
    hosts = Hosts((), lambda: addresses[0], clock_s=lambda: now_s[0])
    assert not hosts.is_ours("10.0.0.2")
    addresses[0] = frozenset({"10.0.0.2"})
    now_s[0] += 2.0
    assert hosts.is_ours("10.0.0.2")
    assert not hosts.is_ours("10.0.0.1")


def test_this_computers_own_addresses_are_found() -> None:
    assert "127.0.0.1" in Hosts().addresses()


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        (
            "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 (KHTML, like Gecko) "
            "Chrome/130.0 Mobile Safari/537.36",
            "Chrome on Android",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
            "Version/18.0 Mobile/15E148 Safari/604.1",
            "Safari on iPhone",
        ),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0", "Firefox on Linux"),
        (
            "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/130.0 Safari/537.36 Edg/130.0",
            "Edge on Windows",
        ),
        (
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
            "HeadlessChrome/150.0.0.0 Safari/537.36",
            "Chrome on Linux",
        ),
        ("", "A browser"),
        ("<script>", "A browser"),
    ],
)
def test_a_browser_is_named_for_people(user_agent: str, name: str) -> None:
    assert browser_name(user_agent) == name


def test_many_sessions_are_folded_behind_the_ones_that_were_here_last(owned: Flask) -> None:
    store = store_of(owned)
    for number in range(7):
        store.open_session("owner", f"Browser {number}")
    text = signed_in(owned).get("/access").text
    shown, _, folded = text.partition("<details>")
    sessions = folded.partition("</details>")[0]
    assert "this browser" in shown
    assert "this browser" not in sessions
    assert sessions.count('name="id"') == text.count("Sign out</button>") - 4
    assert f"{sessions.count('name=' + chr(34) + 'id' + chr(34))} more" in sessions
