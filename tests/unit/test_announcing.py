"""The car's name on the network and its address for another device; over loopback alone."""

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask import Flask
from test_webui import RecordingVehicle
from zeroconf import Zeroconf

from tests.unit.webui_visitors import signed_in
from webui import announcing, create_app
from webui.announcing import Announcer, host_label
from webui.hosts import Hosts
from webui.page_address import own_address, page_addresses, qr_svg

LOOPBACK = ["127.0.0.1"]


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("blue", "blue"),
        ("Blue No. 2", "blue-no-2"),
        ("--", "lapwing"),
        ("Über/Auto", "ber-auto"),
        ("x" * 80, "x" * 63),
        ("車", "lapwing"),
    ],
)
def test_a_name_becomes_one_that_may_stand_in_an_address(name: str, label: str) -> None:
    assert host_label(name) == label


def test_the_car_is_found_by_its_name_and_gone_when_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcing, "LOOK_S", 0.05)
    here: set[str] = set()
    announcer = Announcer(
        "Blue 7", 8080, is_secure=True, addresses=lambda: frozenset(here), interfaces=LOOPBACK
    )
    announcer.start()
    here.add("127.0.0.1")  # it joins a network later
    # A thread of its own: a browser test before this one leaves an event loop in the main one, and that
    # would become the visitor's.
    elsewhere = ThreadPoolExecutor(1)
    visitor = elsewhere.submit(Zeroconf, interfaces=LOOPBACK).result()
    named = "_https._tcp.local.", "Blue 7._https._tcp.local.", 3000
    try:
        found = None
        for _ in range(5):  # on a starved computer the first answers come late
            found = found or elsewhere.submit(visitor.get_service_info, *named).result()
        assert found is not None
        assert (found.server, found.port) == ("blue-7.local.", 8080)
        assert found.addresses == [socket.inet_aton("127.0.0.1")]
    finally:
        announcer.close()
        elsewhere.submit(visitor.close).result()
        elsewhere.shutdown()
    assert not announcer._thread.is_alive()


def test_no_network_is_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> Zeroconf:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(announcing, "LOOK_S", 0.01)
    monkeypatch.setattr(announcing, "Zeroconf", refuse)
    announcer = Announcer("blue", 8080, is_secure=True, addresses=lambda: frozenset({"127.0.0.1"}))

    announcer.start()
    announcer.close()

    assert not announcer._thread.is_alive()


@pytest.fixture
def hosts() -> Hosts:
    found = frozenset({"127.0.0.1", "::1", "fe80::1", "10.42.0.1", "192.168.7.20"})
    return Hosts(["blue.local"], lambda: found)


def test_addresses_for_others_are_those_that_others_can_use(hosts: Hosts) -> None:
    addresses = page_addresses("https", 8080, hosts)

    assert "https://blue.local:8080/" in addresses
    assert addresses[-2:] == ["https://10.42.0.1:8080/", "https://192.168.7.20:8080/"]
    assert page_addresses("http", 8080, Hosts(loopback_only=True)) == []
    assert own_address("https://10.42.0.1:8080/", hosts, addresses) == "https://10.42.0.1:8080/"
    assert own_address("https://127.0.0.1:8080/", hosts, addresses) == "https://192.168.7.20:8080/"
    assert own_address("http://127.0.0.1:8080/", Hosts(loopback_only=True), []) == ""


def test_the_page_shows_the_address_as_a_code(hosts: Hosts, tmp_path: Path) -> None:
    app: Flask = create_app(RecordingVehicle(), hosts=hosts)
    page = signed_in(app).get("/settings", headers={"Host": "10.42.0.1:8080"}).get_data(as_text=True)

    assert qr_svg("http://10.42.0.1:8080/") in page
    assert 'href="http://10.42.0.1:8080/"' in page
    at_home = signed_in(create_app(RecordingVehicle())).get("/settings").get_data(as_text=True)
    assert "<svg" in qr_svg("x")
    assert 'class="qr"' not in at_home
