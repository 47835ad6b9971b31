"""The Wi-Fi through nmcli: what is in reach, what goes wrong in words, and the network before comes back."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.wifi_radio import CAFE, FIELD, FIELD_PASSWORD, HOME, HOME_PASSWORD, Radio
from webui import network_manager
from webui.network_manager import NetworkManager, why_no_password, wifi_code
from webui.nmcli import NetworkError, split_terse


@pytest.fixture
def radio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Radio:
    return Radio(tmp_path, monkeypatch)


@pytest.fixture
def nmcli() -> NetworkManager:
    return NetworkManager(sleep=lambda _: None)


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("a:b", ["a", "b"]),
        ("", [""]),
        ("::", ["", "", ""]),
        (r"la\:p\\w:x:", ["la:p\\w", "x", ""]),
        (r"ends\\:b", ["ends\\", "b"]),
        (r"*:My\:Net:70:WPA1 WPA2", ["*", "My:Net", "70", "WPA1 WPA2"]),
    ],
)
def test_a_terse_line_is_split_where_nothing_is_escaped(line: str, fields: list[str]) -> None:
    assert split_terse(line) == fields


def test_networks_are_told_once_each_with_strength_and_lock(radio: Radio, nmcli: NetworkManager) -> None:
    radio.know(HOME, HOME_PASSWORD, joined=True)
    radio.know("Far away", "never heard of")

    sight = nmcli.look()

    told = {
        one.ssid: (one.signal_percent, one.security, one.is_known, one.is_joined) for one in sight.networks
    }
    assert told == {
        HOME: (78, "WPA1 WPA2", True, True),
        FIELD: (55, "WPA2 WPA3", False, False),
        CAFE: (30, "", False, False),
        "University": (62, "WPA2 802.1X", False, False),
        "Attic": (20, "WEP", False, False),
        "Far away": (None, "", True, False),
    }
    assert [one.ssid for one in sight.networks][:3] == [HOME, "University", FIELD]
    assert {one.ssid for one in sight.networks if one.obstacle} == {"University", "Attic"}
    assert (sight.joined, sight.is_radio_on, sight.hotspot.is_on) == (HOME, True, False)
    assert not any("yes" in words for words in radio.commands)  # nobody asked for a scan
    nmcli.look(scan=True)
    assert any(words[-2:] == ["--rescan", "yes"] for words in radio.commands)


def test_a_new_network_is_joined_and_no_process_list_ever_held_its_password(
    radio: Radio, nmcli: NetworkManager
) -> None:
    radio.know(HOME, HOME_PASSWORD, joined=True)

    nmcli.join(FIELD, FIELD_PASSWORD)

    assert radio.joined == FIELD
    (profile,) = radio.profiles(FIELD)
    assert (profile["psk"], profile["keys"], profile["autoconnect"]) == (FIELD_PASSWORD, "wpa-psk", "yes")
    words = [word for command in radio.commands for word in command]
    assert words
    assert not [word for word in words if FIELD_PASSWORD in word]


def test_a_network_connects_by_itself_only_after_it_has_worked_once(
    radio: Radio, nmcli: NetworkManager
) -> None:
    nmcli.join(FIELD, FIELD_PASSWORD)

    at = {words[1]: k for k, words in enumerate(radio.commands) if words[0] == "connection"}
    given = next(words for words in radio.commands if words[:2] == ["connection", "add"])
    up = next(k for k, words in enumerate(radio.commands) if "up" in words)
    assert given[given.index("autoconnect") + 1] == "no"
    assert at["modify"] > up


def test_an_open_network_and_a_known_one_need_no_password(radio: Radio, nmcli: NetworkManager) -> None:
    nmcli.join(CAFE, "")
    assert radio.joined == CAFE
    radio.know(HOME, HOME_PASSWORD)
    nmcli.join(HOME, "")
    assert radio.joined == HOME
    assert len(radio.profiles(HOME)) == 1


def test_another_password_of_a_known_network_takes_the_place_of_the_old_one(
    radio: Radio, nmcli: NetworkManager
) -> None:
    radio.know(HOME, "the old password")

    nmcli.join(HOME, HOME_PASSWORD)

    assert [one["psk"] for one in radio.profiles(HOME)] == [HOME_PASSWORD]


def test_a_password_with_spaces_at_its_ends_is_typed_as_its_key(radio: Radio, nmcli: NetworkManager) -> None:
    """`set` of nmcli's editor drops them; the key is that of IEEE 802.11i, annex H.4."""
    radio.change(
        air=[["IEEE", 50, "WPA2", "f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e"]]
    )
    assert network_manager._typed("IEEE", "password", "wpa-psk") == "password"
    key = network_manager._typed("IEEE", " password", "wpa-psk")
    assert (len(key), key != "password") == (64, True)

    standard = hashlib.pbkdf2_hmac("sha1", b"password", b"IEEE", 4096, 32).hex()
    assert standard == radio.state["air"][0][3]
    with pytest.raises(NetworkError, match="drops the spaces"):
        network_manager._typed("IEEE", "password ", "sae")


def no_privileges(radio: Radio) -> None:
    radio.change(may_change=False)


def out_of_reach(radio: Radio) -> None:
    radio.change(air=[each for each in radio.state["air"] if each[0] != FIELD])


def no_address(radio: Radio) -> None:
    radio.change(air=[[FIELD, 50, "WPA2", "no address"], [HOME, 50, "WPA2", HOME_PASSWORD]])


def no_time(radio: Radio) -> None:
    radio.change(refuses=[FIELD])


@pytest.mark.parametrize(
    ("spoil", "password", "words"),
    [
        (lambda _: None, "wrong password", "password is wrong"),
        (lambda _: None, "", "needs a password"),
        (no_privileges, FIELD_PASSWORD, "may not change the network"),
        (out_of_reach, FIELD_PASSWORD, "not in reach"),
        (no_address, "no address", "no address"),
        (no_time, FIELD_PASSWORD, "did not let the car in within"),
    ],
)
def test_what_cannot_be_joined_is_said_and_the_network_before_comes_back(
    radio: Radio, nmcli: NetworkManager, spoil: Callable[[Radio], None], password: str, words: str
) -> None:
    radio.know(HOME, HOME_PASSWORD, joined=True)
    spoil(radio)

    with pytest.raises(NetworkError, match=words) as refused:
        nmcli.join(FIELD, password)

    assert radio.joined == HOME
    assert radio.profiles(FIELD) == []
    assert not password or password not in str(refused.value) or password == "no address"


def test_a_known_network_that_fails_is_kept_and_the_one_before_comes_back(
    radio: Radio, nmcli: NetworkManager
) -> None:
    radio.know(HOME, HOME_PASSWORD, joined=True)
    radio.know(FIELD, "changed meanwhile")

    with pytest.raises(NetworkError, match="password is wrong"):
        nmcli.join(FIELD, "")

    assert radio.joined == HOME
    assert len(radio.profiles(FIELD)) == 1


@pytest.mark.parametrize(
    ("ssid", "words"), [("University", "certificates"), ("Attic", "WEP"), (CAFE, "no password")]
)
def test_what_cannot_be_joined_from_the_page_is_not_tried(
    radio: Radio, nmcli: NetworkManager, ssid: str, words: str
) -> None:
    radio.know(HOME, HOME_PASSWORD, joined=True)

    with pytest.raises(NetworkError, match=words):
        nmcli.join(ssid, "a password")

    assert radio.joined == HOME
    assert not [command for command in radio.commands if "up" in command]


def test_a_network_is_forgotten_but_not_the_one_that_the_car_is_in(
    radio: Radio, nmcli: NetworkManager
) -> None:
    radio.know(HOME, HOME_PASSWORD, joined=True)
    radio.know(FIELD, FIELD_PASSWORD)
    radio.know(FIELD, "and again")

    nmcli.forget(FIELD)
    assert radio.profiles(FIELD) == []
    for ssid, words in ((HOME, f"is in {HOME} now"), ("Nowhere", "knows no network")):
        with pytest.raises(NetworkError, match=words):
            nmcli.forget(ssid)
    assert radio.joined == HOME


def test_the_cars_own_network_has_one_password_that_is_made_once(radio: Radio, nmcli: NetworkManager) -> None:
    ssid, password = nmcli.prepare_hotspot("Lapwing blue")

    assert (ssid, why_no_password(password), len(password)) == ("Lapwing blue", "", 12)
    assert nmcli.prepare_hotspot("Lapwing blue") == (ssid, password)
    assert nmcli.prepare_hotspot("Lapwing navy") == ("Lapwing navy", password)  # renamed
    assert nmcli.hotspot_secret() == ("Lapwing navy", password)
    assert not [word for command in radio.commands for word in command if password in word]
    assert radio.joined == ""


def test_the_cars_own_network_comes_after_a_start_where_no_known_one_is_in_reach(
    radio: Radio, nmcli: NetworkManager
) -> None:
    radio.know(HOME, HOME_PASSWORD, joined=True)
    nmcli.prepare_hotspot("Lapwing blue")

    nmcli.switch_hotspot_on()

    (own,) = radio.profiles("Lapwing blue")
    assert (radio.joined, own["mode"], own["autoconnect"]) == ("Lapwing blue", "ap", "yes")
    assert int(own["autoconnect-priority"]) < 0
    sight = nmcli.look()
    assert (sight.hotspot.is_on, sight.hotspot.ssid, sight.joined) == (True, "Lapwing blue", "")
    assert "Lapwing blue" not in {one.ssid for one in sight.networks}

    nmcli.switch_hotspot_off()
    assert radio.joined == HOME
    assert radio.profiles("Lapwing blue")[0]["autoconnect"] == "no"


def test_a_radio_that_makes_no_network_goes_back_to_the_one_before(
    radio: Radio, nmcli: NetworkManager
) -> None:
    radio.know(HOME, HOME_PASSWORD, joined=True)
    with pytest.raises(NetworkError, match="prepare it first"):
        nmcli.switch_hotspot_on()
    nmcli.prepare_hotspot("Lapwing blue")
    radio.change(refuses=[network_manager.HOTSPOT_PROFILE])

    with pytest.raises(NetworkError, match="did not let the car in"):
        nmcli.switch_hotspot_on()

    assert radio.joined == HOME
    assert radio.profiles("Lapwing blue")[0]["autoconnect"] == "no"


def test_the_cars_own_network_is_never_switched_off_into_nothing(
    radio: Radio, nmcli: NetworkManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    nmcli.prepare_hotspot("Lapwing blue")
    nmcli.switch_hotspot_on()
    with pytest.raises(NetworkError, match="knows no other network"):
        nmcli.switch_hotspot_off()
    assert radio.joined == "Lapwing blue"

    radio.know("Far away", "out of reach")
    monkeypatch.setattr(network_manager, "COME_BACK_S", 0.1)
    with pytest.raises(NetworkError, match="its own is on again"):
        nmcli.switch_hotspot_off()
    assert radio.joined == "Lapwing blue"
    assert radio.profiles("Lapwing blue")[0]["autoconnect"] == "yes"


def not_running(radio: Radio, monkeypatch: pytest.MonkeyPatch) -> None:
    radio.change(runs=False)


def absent(radio: Radio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")


def hanging(radio: Radio, monkeypatch: pytest.MonkeyPatch) -> None:
    radio.change(hangs="device")
    monkeypatch.setattr(network_manager.nmcli.run, "__kwdefaults__", {"typed": "", "timeout_s": 0.3})
    monkeypatch.setattr(network_manager.nmcli.table, "__kwdefaults__", {"timeout_s": 0.3})


def unmanaged(radio: Radio, monkeypatch: pytest.MonkeyPatch) -> None:
    radio.change(device_state="unmanaged")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (not_running, "is not running"),
        (absent, "not installed"),
        (hanging, "did not answer within 0.3 s"),
        (unmanaged, "leaves the Wi-Fi radio wlan0"),
    ],
)
def test_a_computer_without_a_network_manager_says_which_way(
    radio: Radio,
    nmcli: NetworkManager,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Radio, pytest.MonkeyPatch], None],
    words: str,
) -> None:
    spoil(radio, monkeypatch)

    for ask in (nmcli.look, lambda: nmcli.join(FIELD, FIELD_PASSWORD)):
        with pytest.raises(NetworkError, match=words):
            ask()


def test_a_computer_without_a_radio_and_one_whose_radio_is_off(radio: Radio, nmcli: NetworkManager) -> None:
    radio.change(radio="disabled")
    assert (nmcli.look().is_radio_on, nmcli.look().networks) == (False, ())
    nmcli.switch_radio_on()
    assert nmcli.look().is_radio_on
    radio.change(hardware="disabled")
    with pytest.raises(NetworkError, match="switch or key"):
        nmcli.switch_radio_on()

    radio.change(device="")
    assert nmcli.look().device == ""
    with pytest.raises(NetworkError, match="no Wi-Fi radio"):
        nmcli.join(FIELD, FIELD_PASSWORD)


@pytest.mark.parametrize(
    "password", ["short", "x" * 64, "tab\tinside", "line\nquit\nsave", "pässword", "x" * 65]
)
def test_what_can_be_no_password_is_told_before_anything_is_typed(password: str) -> None:
    assert why_no_password(password)
    assert why_no_password("12345678") == why_no_password("a" * 64) == why_no_password("") == ""


def test_a_phone_reads_a_code_whose_signs_are_escaped() -> None:
    assert wifi_code('a;b"c', "d,e:f\\g") == r"WIFI:T:WPA;S:a\;b\"c;P:d\,e\:f\\g;;"
