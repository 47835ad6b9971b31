"""The webhook: signed, in order, again when it fails, never in the way, nowhere else."""

import hashlib
import hmac
import http.server
import json
import stat
import threading
import time

import msgspec
import pytest

from tests.unit.test_webui import RecordingVehicle
from tests.unit.webui_visitors import signed_in, watcher
from vehicle.errors import ConfigError
from webui import create_app
from webui.race_watch import RaceEvent, RaceEventKind
from webui.webhook import WAITING_LIMIT, Webhook, checked_url, post_once, webhook_key

KEY = b"k" * 64


def event(number: int, kind: RaceEventKind = RaceEventKind.LAP) -> RaceEvent:
    return RaceEvent(
        f"ab-{number}", kind, "2026-01-02T10:00:00Z", number, 1, None, "plover", "Ann", lap=number
    )


def until(is_so, limit_s: float = 5.0) -> None:
    deadline_s = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


class Receiver:
    """Takes what is posted and answers as told; nothing else."""

    def __init__(self) -> None:
        self.came: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []
        self.location = ""
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.came.append((dict(self.headers), body))
                self.send_response(receiver.answers.pop(0) if receiver.answers else 204)
                if receiver.location:
                    self.send_header("Location", receiver.location)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/hook?race=7"

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def hook():
    hooks = []

    def make(url: str, **parts) -> Webhook:
        hooks.append(Webhook(url, KEY, **parts))
        hooks[-1].start()
        return hooks[-1]

    yield make
    for each in hooks:
        each.close()


def test_an_event_comes_as_json_and_its_signature_can_be_checked(receiver, hook):
    sent = event(3)
    hook(receiver.url).put(sent)
    until(lambda: receiver.came)
    headers, body = receiver.came[0]

    assert json.loads(body) == json.loads(msgspec.json.encode(sent))
    assert (headers["X-Lapwing-Event"], headers["X-Lapwing-Delivery"]) == ("lap", "ab-3")
    stamp = headers["X-Lapwing-Timestamp"]
    assert abs(int(stamp) - time.time()) < 60
    expected = hmac.new(KEY, stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert headers["X-Lapwing-Signature"] == f"sha256={expected}"


class Post:
    """Answers as told, in turn; the last for ever."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.sent: list[str] = []
        self.at_s: list[float] = []

    def __call__(self, url: str, body: bytes, headers: dict[str, str]) -> int:
        self.sent.append(headers["X-Lapwing-Delivery"])
        self.at_s.append(time.monotonic())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def hurried(monkeypatch):
    monkeypatch.setattr("webui.webhook.FIRST_PAUSE_S", 0.02)


@pytest.mark.parametrize("failure", [500, 503, 429, OSError("no route"), TimeoutError("slow")])
def test_what_fails_is_sent_again_with_growing_pauses_before_anything_newer(hook, hurried, failure):
    post = Post(failure, failure, failure, 204)
    webhook = hook("http://10.0.0.9/x", post=post)
    for number in (1, 2):
        webhook.put(event(number))
    until(lambda: webhook.status().delivered == 2)

    assert post.sent == ["ab-1"] * 4 + ["ab-2"]
    pauses = [after - before for before, after in zip(post.at_s, post.at_s[1:4], strict=False)]
    assert pauses[1] > 1.5 * 0.02
    assert pauses[2] > 3 * 0.02
    assert webhook.status().dropped == 0


@pytest.mark.parametrize("refusal", [301, 302, 307, 400, 401, 404, 410])
def test_what_is_refused_is_not_sent_again(hook, refusal):
    post = Post(refusal, 204)
    webhook = hook("http://10.0.0.9/x", post=post)
    webhook.put(event(1))
    webhook.put(event(2))
    until(lambda: webhook.status().delivered == 1)

    assert post.sent == ["ab-1", "ab-2"]
    assert webhook.status().dropped == 1


def test_an_old_event_is_given_up_and_the_newest_are_kept_of_too_many(hook, hurried):
    now_s = [0.0]
    post = Post(OSError("down"), OSError("down"), 204)
    webhook = hook("http://10.0.0.9/x", post=post, now_s=lambda: now_s[0])
    webhook.put(event(1))
    until(lambda: post.sent)
    now_s[0] = 1000.0
    webhook.put(event(2))
    until(lambda: webhook.status().delivered == 1)
    assert (post.sent, webhook.status().dropped) == (["ab-1", "ab-1", "ab-2"], 1)

    silent = Webhook("http://10.0.0.9/x", KEY)  # not started: nothing leaves
    for number in range(WAITING_LIMIT + 7):
        silent.put(event(number))
    assert (silent.status().waiting, silent.status().dropped) == (WAITING_LIMIT, 7)


def test_putting_an_event_never_waits_for_a_receiver_that_hangs(hook):
    hold = threading.Event()

    def hang(url: str, body: bytes, headers: dict[str, str]) -> int:
        hold.wait(10.0)
        return 204

    webhook = hook("http://10.0.0.9/x", post=hang)
    began_s = time.monotonic()
    for number in range(200):
        webhook.put(event(number))
    assert time.monotonic() - began_s < 0.5
    hold.set()


def test_no_redirect_and_no_proxy_leads_elsewhere(receiver, monkeypatch):
    elsewhere = Receiver()
    try:
        receiver.answers, receiver.location = [302], elsewhere.url
        monkeypatch.setenv("http_proxy", elsewhere.url)
        assert post_once(receiver.url, b"{}", {"Content-Type": "application/json"}) == 302
        assert elsewhere.came == []
        assert len(receiver.came) == 1
    finally:
        elsewhere.close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hook",
        "ftp://a/b",
        "file:///etc/passwd",
        "http://",
        "http://u:p@a/",
        "http://a:99999/",
        "http://a/\nb",
    ],
)
def test_an_address_that_cannot_be_posted_to_is_refused_in_words(url):
    with pytest.raises(ConfigError, match="allowed is http:// or https://"):
        checked_url(url)


def test_the_key_is_made_once_and_is_its_owners_alone(tmp_path):
    key = webhook_key(tmp_path / "access")
    path = tmp_path / "access" / "webhook-key"

    assert webhook_key(tmp_path / "access") == key
    assert len(key) == 64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text("short\n")
    with pytest.raises(ConfigError, match="too short"):
        webhook_key(tmp_path / "access")


def test_the_page_tells_the_last_delivery_and_the_last_error_and_keeps_the_address_to_itself(hook, hurried):
    now_s = [100.0]
    post = Post(204, OSError("no route to host"), 404, 204)
    webhook = hook("http://timing.example/hook/s3cret?k=s3cret", post=post, now_s=lambda: now_s[0])
    app = create_app(RecordingVehicle(), webhook=webhook)
    client = signed_in(app)

    def told() -> dict:
        answer = client.get("/api/race/webhook")
        assert "s3cret" not in answer.get_data(as_text=True)
        return answer.json["status"]

    assert (told()["host"], told()["delivered_ago_s"], told()["failed_ago_s"]) == (
        "timing.example",
        None,
        None,
    )
    webhook.put(event(1))
    until(lambda: told()["delivered"] == 1)
    now_s[0] = 130.0
    assert told()["delivered_ago_s"] == 30.0

    webhook.put(event(2))  # nobody answers, then it is refused for good
    until(lambda: told()["dropped"] == 1)
    assert (told()["problem"], told()["failed_ago_s"]) == ("it answers 404", 0.0)
    webhook.put(event(3))
    until(lambda: told()["delivered"] == 2)
    now_s[0] = 150.0
    assert (told()["problem"], told()["last_problem"]) == ("", "it answers 404")
    assert (told()["delivered_ago_s"], told()["failed_ago_s"]) == (20.0, 20.0)
    assert watcher(app).get("/api/race/webhook").status_code == 403


def test_a_car_without_a_webhook_says_so():
    assert signed_in(create_app(RecordingVehicle())).get("/api/race/webhook").json["status"] is None


def test_what_comes_after_another_address_was_chosen_goes_there_alone(receiver, hook, hurried):
    keys_asked = []
    post = Post(OSError("no route"))
    moved = hook("http://timing.example/secret-1", post=post)
    moved.put(event(1))
    until(lambda: moved.status().problem)
    moved._post = post_once
    moved.point_at(receiver.url)  # where the old address is waited for
    assert moved.status().waiting == 0
    assert moved.status().last_problem == ""
    moved.put(event(2))
    until(lambda: receiver.came)
    assert [headers["X-Lapwing-Delivery"] for headers, _ in receiver.came] == ["ab-2"]
    moved.point_at("")
    moved.put(event(3))
    assert moved.status() is None
    late = hook("", post=post_once)
    late._find_key = lambda: keys_asked.append(1) or KEY
    late.put(event(4))  # nowhere, and no key is made for it
    assert not keys_asked
    late.point_at(receiver.url)
    late.put(event(5))
    until(lambda: len(receiver.came) == 2)
    assert receiver.came[1][0]["X-Lapwing-Delivery"] == "ab-5"
    assert keys_asked


def test_an_address_is_repeated_neither_in_a_refusal_nor_in_the_log(hook, hurried, caplog):
    with pytest.raises(ConfigError) as refused:
        checked_url("https://ann:s3cret@timing.example/T0k3n")
    assert "s3cret" not in str(refused.value)
    failing = hook("https://timing.example/T0k3n", post=Post(500))
    failing.put(event(1))
    until(lambda: failing.status().problem)
    assert "timing.example: it answers 500" in caplog.text
    assert "T0k3n" not in caplog.text
