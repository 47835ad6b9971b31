"""The Models page in a real Chromium: uploads go to the real check and store, a real vehicle loads them."""

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from accessibility import findings, fits
from conftest import LAPTOP, PHONE, PageServer, is_complaint
from paced_car import PacedCar, paced_car
from playwright.sync_api import Browser, Page, expect
from simulated_page_car import SimulatedPageCar

from models.store import Entry, PolicyStore
from models.store_intake import add_file
from tests.unit.webui_visitors import browser_cookies
from vehicle.errors import VehicleSilentError
from vehicle.messages import DriveState, RequestKind
from webui import create_app
from webui.sticks import Sticks

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.unit.policy_files import mean_network
from tests.unit.stick_files import FakeComputer
from tests.unit.store_files import add_one
from tests.unit.upload_files import BAD, METADATA, good

pytestmark = pytest.mark.browser
Served = PageServer | PacedCar
RealCar = tuple[PacedCar, PolicyStore]
Opened = Callable[[Served], Page]
CHECK_MS = 30_000  # a check takes 3 s here, and waits for its turn
HOSTILE = '<img src=x onerror="document.title=1"> ${7*7}'
RIGHT_TO_LEFT = "\u202egnorw"


def file(name: str, content: bytes) -> dict[str, object]:
    return {"name": name, "mimeType": "application/octet-stream", "buffer": content}


def choose_files(page: Page, *files: dict[str, object]) -> None:
    page.set_input_files("#files", list(files))  # type: ignore[arg-type]


def left_over(store: PolicyStore) -> list[Path]:
    return list((store.root / "incoming").glob("*"))


def slow_down(page: Page, upload_bytes_per_s: int) -> None:
    """Make this tab's way to the car as slow as a phone's at the far end of a hall."""
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": upload_bytes_per_s},
    )


def until_sent(page: Page, share: float) -> None:
    page.wait_for_function(
        "share => (document.querySelector('.upload progress')?.value ?? 0) > share", arg=share
    )


@contextlib.contextmanager
def driving(car: PacedCar) -> Iterator[None]:
    """Let the policy drive, with somebody who keeps the lease."""
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(0.1):
            with contextlib.suppress(VehicleSilentError):
                car.client.request(RequestKind.TAKE_LEASE)

    assert car.client.request(RequestKind.TAKE_LEASE).ok
    reply = car.client.request(RequestKind.START, target=DriveState.AUTONOMOUS)
    assert reply.ok, reply.reason
    thread = threading.Thread(target=renew, name="lease")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        car.client.request(RequestKind.DISARM)


@pytest.fixture
def store(tmp_path: Path) -> PolicyStore:
    return PolicyStore(tmp_path / "models")


@pytest.fixture
def computer(tmp_path: Path) -> FakeComputer:
    return FakeComputer(tmp_path / "root")


@pytest.fixture
def server(car: SimulatedPageCar, store: PolicyStore, computer: FakeComputer) -> Iterator[PageServer]:
    server = PageServer(create_app(car, car, store=store, sticks=Sticks(computer.root)))
    yield server
    car.stalled.set()
    server.stop()


@pytest.fixture
def open_models(chromium: Browser, complaints: list[str], request: pytest.FixtureRequest) -> Iterator[Opened]:
    """Open the page of a server in a tab of its own."""
    context = chromium.new_context(**{"viewport": LAPTOP, **getattr(request, "param", {})})
    context.set_default_timeout(20_000)

    def opened(served: Served) -> Page:
        url = served.url
        if context.cookies(url):
            pass  # a browser signs in once, for all its tabs
        elif isinstance(served, PageServer):
            context.add_cookies(browser_cookies(served.app, url))  # type: ignore[arg-type]
        else:
            context.add_cookies(served.cookies)  # type: ignore[arg-type]
        page = context.new_page()
        page.on("console", lambda said: complaints.append(said.text) if is_complaint(said) else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{url}models")
        page.wait_for_selector("#shipped .row")
        return page

    yield opened
    context.close()
    assert complaints == []


@pytest.fixture
def page(server: PageServer, open_models: Opened) -> Page:  # in this order: the server outlives the tab
    return open_models(server)


@pytest.fixture(scope="module")
def real_car(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RealCar]:
    """The real vehicle with a HIL car, and the real server with a store of its own."""
    home = tmp_path_factory.mktemp("home")
    before = os.environ["LAPWING_HOME"]
    os.environ["LAPWING_HOME"] = str(home)
    with paced_car() as car:
        os.environ["LAPWING_HOME"] = before
        yield car, PolicyStore(home / "models")


def test_from_upload_to_the_car_and_back_as_a_file(real_car: RealCar, open_models: Opened) -> None:
    car, store = real_car
    page = open_models(car)
    swift, broken = good(), BAD["metadata of another"][1]
    choose_files(page, file("swift.tar.gz", swift), file("broken.tar.gz", broken))

    refused = page.locator(".upload[data-state=refused]")
    expect(refused.locator(".words")).to_contain_text("the action space has 3 actions", timeout=CHECK_MS)
    done = page.locator(".upload[data-state=done]")
    expect(done.locator(".words")).to_have_text("Checked and ready", timeout=CHECK_MS)
    expect(page.locator("#own .row")).to_have_count(1)
    assert left_over(store) == []

    done.get_by_role("button", name="Show").click()
    expect(page.locator("#details h2")).to_have_text("swift")
    expect(page.locator(".plot circle")).to_have_count(3)
    expect(page.locator(".dry-run tbody tr")).to_have_count(16)
    expect(page.locator("#details")).to_contain_text("99 of 100 within")

    page.get_by_role("button", name="Activate").click()
    expect(page.locator("#sentence")).to_have_text(
        "The car drives with it, and will after a restart.", timeout=CHECK_MS
    )
    (entry,) = (entry for entry in store.list() if not entry.built_in)
    assert car.wait(lambda status: status.policy_hash == entry.key)
    assert PolicyStore(store.root).active() == entry
    expect(page.get_by_role("button", name="Remove", exact=True)).to_be_disabled()

    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert Path(download.value.path()).read_bytes() == swift
    assert download.value.suggested_filename == "swift.tar.gz"

    with driving(car):
        expect(page.locator("#details [data-act=activate]")).to_be_disabled(timeout=CHECK_MS)
        choose_files(page, file("late.tar.gz", good(mean_network(slopes=(-2.0, 0.0, 2.0)))))
        words = page.locator(".upload", has_text="late").locator(".words")
        expect(words).to_have_text("Uploaded. The check starts when the car stops", timeout=CHECK_MS)
    expect(page.locator("#own .row")).to_have_count(2, timeout=CHECK_MS)


def test_progress_is_seen_and_a_cancel_leaves_nothing(page: Page, store: PolicyStore) -> None:
    slow_down(page, 400_000)
    choose_files(page, file("large.zip", os.urandom(1_500_000)))
    upload = page.locator(".upload[data-state=uploading]")
    expect(upload.locator(".words")).to_contain_text("of 1.5 MB")
    until_sent(page, 0.2)
    upload.get_by_role("button", name="Cancel").click()
    expect(page.locator(".upload")).to_have_count(0)
    page.wait_for_function(
        """async () => {
            const { uploads } = await (await fetch("/api/uploads")).json();
            return uploads.every(({ state }) => state !== "uploading");
        }"""
    )
    assert left_over(store) == []
    expect(page.locator("#own-empty")).to_be_visible()


def test_an_emergency_stop_ends_uploads_and_they_start_over(
    page: Page, store: PolicyStore, car: SimulatedPageCar
) -> None:
    """A browser has six connections to a server; a stop must find one."""
    slow_down(page, 150_000)
    choose_files(page, *(file(f"{index}.zip", os.urandom(300_000)) for index in range(3)))
    expect(page.locator(".upload[data-state=uploading]")).to_have_count(2)  # the third waits for its turn
    until_sent(page, 0.1)
    page.keyboard.press("Space")
    assert car.await_that(lambda: bool(car.stops_ns))
    slow_down(page, -1)
    refused = page.locator(".upload[data-state=refused]")  # noise is no model, but all of it came
    expect(refused).to_have_count(3, timeout=CHECK_MS)
    assert all("connection" not in words for words in page.locator(".upload .words").all_inner_texts())
    assert left_over(store) == []


def test_an_unknown_range_is_asked_with_both_answers_shown(page: Page, store: PolicyStore) -> None:
    choose_files(
        page, file("bare.tar.gz", good(metadata=METADATA.replace(b', "input": {"range": "0..255"}', b"")))
    )
    question = page.locator(".upload[data-state=asking] .question")
    expect(question.locator("thead th")).to_have_text(
        ["Picture", "With 0..255", "With 0..1"], timeout=CHECK_MS
    )
    expect(question.locator("tbody tr").first).to_contain_text("30° left")
    question.get_by_role("button", name="It is 0 to 255").click()
    expect(page.locator("#own .row .name")).to_have_text(["bare"], timeout=CHECK_MS)
    page.locator("#own .row button").click()
    expect(page.locator(".inputs")).to_contain_text("0..255")


def test_any_name_is_shown_as_it_is(page: Page, store: PolicyStore) -> None:
    entry = add_one(store)
    page.locator("#own .row button").click()
    for name in (HOSTILE, RIGHT_TO_LEFT, "Weiße Möwe 2", "x" * 120):
        page.get_by_role("button", name="Rename").click()
        page.locator("#new-name").fill(name)
        page.keyboard.press("Enter")
        kept = name.replace("\u202e", "")
        expect(page.locator("#details h2")).to_have_text(kept)
        expect(page.locator("#own .row .name")).to_have_text(kept)
        assert store.get(entry.key).name == kept
        assert page.title() == "Models · Lapwing"
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_space_in_a_name_is_a_letter_beside_a_standing_car_and_stops_a_moving_one(
    page: Page, store: PolicyStore, car: SimulatedPageCar
) -> None:
    add_one(store)
    page.locator("#own .row button").click()
    page.get_by_role("button", name="Rename").click()
    page.locator("#new-name").fill("")
    page.keyboard.type("a b")
    expect(page.locator("#new-name")).to_have_value("a b")
    assert car.stops_ns == []
    car.state = DriveState.AUTONOMOUS
    page.wait_for_selector("body[data-stands-still=false]")
    page.keyboard.press("Space")
    assert car.await_that(lambda: bool(car.stops_ns))
    expect(page.locator("#new-name")).to_have_value("a b")


def test_what_was_removed_comes_back_at_once_or_after_a_reload(page: Page, store: PolicyStore) -> None:
    add_one(store)
    row = page.locator("#own .row button")
    row.click()
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(row).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#details h2")).to_have_text("swift")
    expect(row).to_have_count(1)

    page.get_by_role("button", name="Remove", exact=True).click()
    expect(page.locator("#removed .name")).to_have_text("swift")
    page.reload()
    page.get_by_role("button", name="Put swift back").click()
    expect(row).to_have_count(1)
    assert [entry.name for entry in store.list() if not entry.built_in] == ["swift"]


def test_changes_made_elsewhere_are_followed(
    server: PageServer, open_models: Opened, store: PolicyStore
) -> None:
    first, second = open_models(server), open_models(server)
    entry = add_one(PolicyStore(store.root), "from the command line")
    for page in (first, second):
        expect(page.locator("#own .row .name")).to_have_text("from the command line")
    PolicyStore(store.root).rename(entry.key, "renamed")
    expect(first.locator("#own .row .name")).to_have_text("renamed")
    choose_files(first, file("broken.tar.gz", BAD["GIF"][1]))
    expect(second.locator(".upload .words")).to_contain_text("GIF", timeout=CHECK_MS)
    second.get_by_role("button", name="Dismiss").click()
    expect(first.locator(".upload")).to_have_count(0)


@pytest.mark.realtime
def test_without_a_socket_the_page_asks_for_the_list_again_and_again(
    server: PageServer, store: PolicyStore, car: SimulatedPageCar, open_models: Opened, complaints: list[str]
) -> None:
    server.wire.refuses_sockets = True
    page = open_models(server)
    entry = add_one(PolicyStore(store.root), "from the command line")
    expect(page.locator("#own .name")).to_have_text("from the command line")
    page.locator("#own .row button").click()
    car.state = DriveState.AUTONOMOUS
    expect(page.locator("[data-act=activate]")).to_be_disabled()
    page.locator("[data-act=rename]").focus()
    page.keyboard.press("Space")  # on a button, and it stops a car that is known to move
    assert car.await_that(lambda: bool(car.stops_ns))
    store.remove(entry.key)
    expect(page.locator("#own .row")).to_have_count(0)
    expect(page.locator("#trouble")).to_be_hidden()
    complaints.clear()  # the refused sockets


def test_sixty_models_are_quick_found_and_sorted(
    server: PageServer, open_models: Opened, store: PolicyStore
) -> None:
    for index in range(60):
        add_one(store, f"model {index + 1}")
    page = open_models(server)
    expect(page.locator("#own .row")).to_have_count(60)
    took_ms = page.evaluate(
        """() => { const started = performance.now(); document.getElementById("order").value = "name";
        document.getElementById("order").dispatchEvent(new Event("change")); document.body.offsetHeight;
        return performance.now() - started; }"""
    )
    print(f"sorting and showing 60 models takes {took_ms:.0f} ms")
    assert took_ms < 300
    expect(page.locator("#own .row .name").nth(9)).to_have_text("model 10")
    page.locator("#filter").fill("Model 42")
    expect(page.locator("#own .row .name")).to_have_text(["model 42"])


def test_a_page_at_which_nothing_happens_asks_for_nothing(page: Page, store: PolicyStore) -> None:
    page.wait_for_timeout(1000)  # until its socket is open
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(1500)
    assert asked == []
    add_one(store, "swift")
    expect(page.locator("#own .row .name")).to_have_text("swift")


def test_dropped_files_are_taken(page: Page) -> None:
    page.evaluate(
        """() => {
            const data = new DataTransfer();
            data.items.add(new File(["GIF89a" + "x".repeat(200)], "swift.onnx"));
            for (const kind of ["dragenter", "dragover", "drop"]) {
                const told = { dataTransfer: data, bubbles: true, cancelable: true };
                document.body.dispatchEvent(new DragEvent(kind, told));
            }
        }"""
    )
    expect(page.locator(".upload .words")).to_contain_text("GIF", timeout=CHECK_MS)


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> tuple[PolicyStore, Entry]:
    """A store with a policy that the real check has passed."""
    store = PolicyStore(tmp_path_factory.mktemp("checked") / "models")
    return store, add_file(store, Path(__file__).parents[2] / "models" / "zoo" / "plover", name="My plover")[
        0
    ]


@pytest.mark.parametrize(
    "open_models", [{"viewport": PHONE}, {"viewport": LAPTOP}], indirect=True, ids=["phone", "laptop"]
)
def test_the_page_is_accessible_and_fits(
    open_models: Opened, car: SimulatedPageCar, checked: tuple[PolicyStore, Entry]
) -> None:
    def look(page: Page) -> None:
        assert findings(page) == []
        assert fits(page)

    store, _ = checked
    server = PageServer(create_app(car, car, store=store))
    page = open_models(server)
    try:
        choose_files(page, file("broken.tar.gz", BAD["GIF"][1]))
        expect(page.locator(".upload[data-state=refused]")).to_be_visible(timeout=CHECK_MS)
        look(page)
        page.locator("#own .row button").focus()
        page.keyboard.press("Enter")
        page.wait_for_selector(".dry-run")
        page.locator("summary").click()
        look(page)
        car.state = DriveState.AUTONOMOUS
        expect(page.locator("#sentence")).to_contain_text("The car is armed")
        page.get_by_role("button", name="Rename").click()
        look(page)
    finally:
        page.context.close()
        server.stop()


@pytest.mark.parametrize("open_models", [{"viewport": PHONE, "color_scheme": "dark"}], indirect=True)
def test_models_come_from_a_stick_that_is_plugged_in_while_the_page_is_open(
    open_models: Opened, server: PageServer, computer: FakeComputer, complaints: list[str]
) -> None:
    page = open_models(server)
    section = page.locator("#sticks-section")
    expect(section).to_be_hidden()
    part = computer.plug_stick()
    expect(section).to_contain_text("Flash: plugged in, and nothing has mounted it")
    stick = computer.mount(part, "/media/car/BLUE")
    (stick / "models").mkdir()
    (stick / "models" / "bad <b>one.zip").write_bytes(b"no archive")
    (stick / f"a-very-{'long-' * 20}name.tar.gz").write_bytes(b"no archive")

    expect(section.get_by_role("heading", name="BLUE")).to_be_visible()
    expect(section.locator("bdi")).to_have_count(2)
    assert fits(page)
    assert findings(page) == []
    section.get_by_role("button", name="Add models/bad <b>one.zip").click()
    expect(page.locator("#uploads .upload")).to_have_attribute("data-state", "refused", timeout=CHECK_MS)
    expect(page.locator("#uploads .upload bdi")).to_have_text("bad <b>one.zip")
    computer.pull("/media/car/BLUE")
    section.get_by_role("button", name="Add a-very").click()
    expect(section.locator(".archives .words", has_text="The stick is gone")).to_be_visible()
    expect(section).to_contain_text("nothing has mounted it")
    assert [each for each in complaints if "409" not in each] == []
    complaints.clear()
