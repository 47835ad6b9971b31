"""The settings page in a real Chromium: a real file behind it, and a car that records what it is asked."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import LAPTOP, PHONE, WAIT_MS, PageServer
from playwright.sync_api import Browser, Page, expect
from simulated_page_car import SimulatedPageCar

from tests.unit.webui_visitors import browser_cookies
from tests.unit.wifi_radio import FIELD, FIELD_PASSWORD, HOME, HOME_PASSWORD, Radio
from vehicle.config import read_config
from vehicle.messages import DriveState, RequestKind
from webui import create_app
from webui.car_logs import CarLogs
from webui.hosts import Hosts
from webui.race_watch import RaceEvent, RaceEventKind
from webui.webhook import Webhook
from webui.wifi import Wifi

pytestmark = pytest.mark.browser
WRITTEN = '# The blue one\nname = "blue"\n\n[control]\nrate_hz = 20.0  # as tried\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "car.toml"
    path.write_text(WRITTEN)
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "vehicle.log").write_text("INFO vehicle: Lapwing board, firmware 3\n")
    return path


@pytest.fixture
def radio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Radio:
    radio = Radio(tmp_path, monkeypatch)
    radio.know(HOME, HOME_PASSWORD, joined=True)
    return radio


@pytest.fixture
def server(car: SimulatedPageCar, path: Path, radio: Radio) -> Iterator[PageServer]:
    webhook = Webhook("http://timing.example/hook", b"k" * 64, post=lambda *_: 404)
    webhook.start()
    webhook.put(RaceEvent("ab-1", RaceEventKind.START, "2026-01-02T10:00:00Z", 1, 1, None, "plover", "Ann"))
    app = create_app(
        car,
        car,
        config_file=path,
        logs=CarLogs(path.parent / "log"),
        hosts=Hosts(["blue.local"], lambda: frozenset({"192.168.4.7"})),
        webhook=webhook,
        wifi=Wifi(car),
    )
    server = PageServer(app)
    yield server
    car.stalled.set()
    server.stop()
    webhook.close()


@pytest.fixture
def settings_page(
    chromium: Browser, server: PageServer, complaints: list[str], request: pytest.FixtureRequest
) -> Iterator[Page]:
    context = chromium.new_context(**{"viewport": LAPTOP, **getattr(request, "param", {})})
    context.set_default_timeout(WAIT_MS)
    context.add_cookies(browser_cookies(server.app, server.url))  # type: ignore[arg-type]
    page = context.new_page()
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{server.url}settings")
    expect(page.locator("[name=name]")).to_have_value("blue", timeout=20_000)  # on a computer with other work
    yield page
    context.close()
    assert complaints == []


def test_a_change_is_saved_with_the_comments_and_a_weaker_failsafe_says_what_it_means(
    settings_page: Page, path: Path, car: SimulatedPageCar, server: PageServer, complaints: list[str]
) -> None:
    page = settings_page
    expect(page.locator("#savebar")).to_be_hidden()
    page.get_by_label("As trained").check()
    page.get_by_role("spinbutton", name="Page that started it").fill("2.5")
    page.get_by_role("spinbutton", name="No picture for").fill("500")
    expect(page.get_by_role("button", name="Save", exact=True)).to_be_disabled()
    expect(page.locator("#changes-words")).to_have_text("No picture for longer than: out of its range")
    page.get_by_role("spinbutton", name="No picture for").fill("75")
    expect(page.locator("#changes-words")).to_have_text("2 changes")

    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#weaker li")).to_contain_text(["2.5 s, not 1.5 s: 2.00 m farther"])
    assert path.read_text() == WRITTEN
    page.get_by_role("button", name="Save it all the same").click()
    expect(page.locator("#news")).to_have_text("Saved")
    config = read_config(path)
    assert (config.control.rate_hz, config.failsafe.lease_autonomous_s) == (None, 2.5)
    assert path.read_text().startswith("# The blue one")

    car.state = DriveState.AUTONOMOUS
    expect(page.get_by_role("button", name="Stop the car first")).to_be_disabled()
    page.get_by_label("Name", exact=True).fill("navy")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#trouble")).to_contain_text("stop it first")
    assert any("409" in each for each in complaints)
    complaints.clear()
    car.state = DriveState.DISARMED
    page.get_by_role("button", name="Discard").click()
    expect(page.get_by_label("Name", exact=True)).to_have_value("blue")
    page.get_by_role("button", name="Start it again now").click()
    assert car.await_that(lambda: RequestKind.RESTART in car.asked)

    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.locator("#log")).to_contain_text("firmware 3")

    page.get_by_label("Exposure: The camera chooses").uncheck()
    expect(page.get_by_role("spinbutton", name="Exposure")).to_have_value("8")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#savebar")).to_be_hidden()
    assert read_config(path).camera.exposure_ms == 8
    page.get_by_role("spinbutton", name="Room for all runs").fill("12")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#savebar")).to_be_hidden()
    assert read_config(path).runs.quota_gb == 12

    page.get_by_label("Another address").fill("https://hooks.example/T0/s3cret")
    page.get_by_role("button", name="Send them there").click()
    expect(page.locator("#webhook-words")).to_have_text("To hooks.example.")
    expect(page.get_by_label("Another address")).to_have_value("")
    assert read_config(path).page.webhook == "https://hooks.example/T0/s3cret"
    assert "s3cret" not in page.content()
    page.get_by_role("button", name="Send them nowhere").click()
    expect(page.locator("#webhook-words")).to_have_text("Sent nowhere.")
    assert read_config(path).page.webhook == ""

    page.get_by_role("button", name="Show the picture and its light").click()
    expect(page.locator("#light-words")).to_contain_text("% bright")
    bars = page.locator("#histogram").evaluate(
        """canvas => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data
            .reduce((sum, value, k) => sum + (k % 4 === 3 && value > 0), 0)"""
    )
    assert bars > 100
    server.drop_connections()
    expect(page.locator("#light-words")).to_have_text("The picture was lost; looking for it again")
    expect(page.locator("#light-words")).to_contain_text("% bright")
    page.get_by_role("button", name="Hide the picture").click()
    expect(page.locator("#histogram")).to_be_hidden()
    page.wait_for_timeout(500)
    # What was under way when the connections were ended.
    complaints[:] = [each for each in complaints if "net::ERR_" not in each]


@pytest.mark.parametrize(
    "settings_page",
    [{"viewport": PHONE, "color_scheme": "dark"}, {"viewport": LAPTOP, "color_scheme": "light"}],
    indirect=True,
)
def test_it_is_fit_for_everybody(settings_page: Page) -> None:
    page = settings_page
    page.get_by_role("spinbutton", name="Page that started it").fill("2.5")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#weighing")).to_be_visible()
    violations = Axe().run(page).response["violations"]
    assert [f"{v['id']}: {v['nodes'][0]['html'][:140]}" for v in violations] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("button", name="Discard").click()


@pytest.mark.parametrize("settings_page", [{"viewport": PHONE, "color_scheme": "dark"}], indirect=True)
def test_a_radio_that_could_not_be_asked_once_is_asked_again(settings_page: Page) -> None:
    words = settings_page.locator("#wifi-words")
    expect(words).to_have_text(f"The car is in {HOME}.")
    failed = {"problem": "It takes too long.", "sight": None, "change": {"state": "none"}, "addresses": []}
    settings_page.route("**/api/wifi?scan=true", lambda route: route.fulfill(json=failed), times=1)
    settings_page.get_by_role("button", name="Look for networks").click()
    expect(words).to_have_text("It takes too long.")
    expect(words).to_have_text(f"The car is in {HOME}.", timeout=20_000)


@pytest.mark.parametrize("settings_page", [{"viewport": PHONE, "color_scheme": "dark"}], indirect=True)
def test_a_phone_brings_the_car_into_another_network_and_knows_how_to_find_it_again(
    settings_page: Page, radio: Radio, car: SimulatedPageCar
) -> None:
    page, card = settings_page, settings_page.locator("#wifi")
    expect(card.locator("#wifi-words")).to_have_text(f"The car is in {HOME}.")
    expect(card.get_by_role("img", name="strength 78 %")).to_be_visible()
    expect(card.get_by_text("locked with WEP")).to_be_visible()
    expect(card.get_by_role("button", name="Join Attic")).to_have_count(0)

    card.get_by_role("button", name=f"Join {FIELD}").click()
    expect(card.locator("#wifi-ask-words")).to_contain_text(f"leaves {HOME}, its address changes")
    expect(card.locator("#wifi-ask-address")).to_contain_text("http://blue.local:")
    expect(card.get_by_role("img", name="QR code of the car's address")).to_be_visible()
    assert page.evaluate("document.querySelector('#wifi-page-code img').decode().then(() => true)")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert Axe().run(page, context="#wifi").response["violations"] == []
    card.get_by_label("Its password").fill("not this one")
    card.get_by_role("button", name="Join", exact=True).click()
    expect(card.locator("#wifi-change")).to_contain_text("The password is wrong", timeout=20_000)
    assert radio.joined == HOME

    card.get_by_role("button", name=f"Join {FIELD}").click()
    card.get_by_label("Its password").fill(FIELD_PASSWORD)
    page.keyboard.press("Enter")
    expect(card.locator("#wifi-change")).to_have_text(f"The car is in {FIELD}.", timeout=20_000)
    expect(card.locator("#wifi-ask")).to_be_hidden()
    assert radio.joined == FIELD
    card.get_by_role("button", name=f"Forget {HOME}").click()
    expect(card.get_by_role("button", name=f"Forget {HOME}")).to_have_count(0)

    card.get_by_role("button", name="The car's own network").click()
    expect(card.locator("#wifi-secret-name")).to_have_text("Lapwing blue")
    assert page.evaluate("document.querySelector('#wifi-join-code img').decode().then(() => true)")
    page.get_by_role("button", name="Emergency stop").click()  # what asks covers it nowhere
    assert car.await_that(lambda: car.state is DriveState.FAILSAFE)
    car.state = DriveState.DISARMED
    card.get_by_role("button", name="Switch on").click()
    expect(card.locator("#wifi-words")).to_have_text(
        "The car makes its own network, Lapwing blue.", timeout=20_000
    )

    expect(page.locator("#webhook-words")).to_have_text("timing.example does not take them.")
    expect(page.locator("#webhook-failed")).to_contain_text("it answers 404")
