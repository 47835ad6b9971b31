"""The car's name on the network and its address for another device; over loopback alone."""

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask import Flask
from test_webui import RecordingVehicle
from zeroconf import ServiceInfo, Zeroconf

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


class Neighbourhood:
    """A network on loopback: announcers, and somebody who looks for them or is another device."""

    def __init__(self) -> None:
        # A thread of its own: a browser test before this one leaves an event loop in the main one, and that
        # would become the visitor's.
        self._elsewhere = ThreadPoolExecutor(1)
        self._visitors: list[Zeroconf] = []
        self._announcers: list[Announcer] = []

    def car(self, addresses: Callable[[], frozenset[str]], hosts: Hosts) -> Announcer:
        car = Announcer(
            "Blue 7",
            8080,
            is_secure=True,
            addresses=addresses,
            tell_taken=hosts.note_taken,
            interfaces=LOOPBACK,
        )
        self._announcers.append(car)
        car.start()
        return car

    def visitor(self) -> Zeroconf:
        visitor = self._elsewhere.submit(Zeroconf, interfaces=LOOPBACK).result()
        self._visitors.append(visitor)
        return visitor

    def find(self, visitor: Zeroconf) -> ServiceInfo | None:
        named = "_https._tcp.local.", "Blue 7._https._tcp.local.", 1000
        return self._elsewhere.submit(visitor.get_service_info, *named).result()

    def claim(self, visitor: Zeroconf, address: str) -> None:
        """Take the name as a device does that asks nobody."""
        kind = "_ssh._tcp.local."
        packed = [socket.inet_aton(address)]
        info = ServiceInfo(kind, f"Other.{kind}", port=22, server="blue-7.local.", addresses=packed)
        self._elsewhere.submit(visitor.register_service, info).result()

    def leave(self, visitor: Zeroconf) -> None:
        self._visitors.remove(visitor)
        self._elsewhere.submit(visitor.close).result()

    def close(self) -> None:
        for car in self._announcers:
            car.close()
        for visitor in [*self._visitors]:
            self.leave(visitor)
        self._elsewhere.shutdown()


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Iterator[Neighbourhood]:
    monkeypatch.setattr(announcing, "LOOK_S", 0.05)
    network = Neighbourhood()
    yield network
    network.close()


def until(is_so: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 20.0
    while not is_so():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def test_the_car_is_found_by_its_name_and_gone_when_it_ends(network: Neighbourhood) -> None:
    here: set[str] = {"127.0.0.1"}
    car = network.car(lambda: frozenset(here), Hosts())
    here.add("192.168.7.20")  # it joins a network later
    visitor = network.visitor()
    found = None
    for _ in range(5):  # on a starved computer the first answers come late
        found = found or network.find(visitor)
    assert found is not None
    assert (found.server, found.port) == ("blue-7.local.", 8080)
    assert found.parsed_addresses() == ["192.168.7.20"]  # a phone that is told 127.0.0.1 calls itself

    car.close()
    assert not car._thread.is_alive()


def test_a_name_that_another_device_has_is_left_to_it_and_taken_when_it_has_gone(
    network: Neighbourhood,
) -> None:
    other, hosts = network.visitor(), Hosts(["blue-7.local"], lambda: frozenset({"192.168.7.20"}))
    network.claim(other, "192.168.7.30")
    network.car(hosts.addresses, hosts)

    until(lambda: hosts.taken == {"blue-7.local": "192.168.7.30"})
    assert network.find(network.visitor()) is None
    assert "https://blue-7.local:8080/" not in page_addresses("https", 8080, hosts)
    page = signed_in(create_app(RecordingVehicle(), hosts=hosts)).get("/settings").get_data(as_text=True)
    assert "Another device here, at 192.168.7.30, answers to blue-7.local too" in page

    network.leave(other)
    until(lambda: not hosts.taken)
    until(lambda: network.find(network.visitor()) is not None)


@pytest.mark.parametrize(("others", "is_kept"), [("192.168.7.9", False), ("192.168.7.30", True)])
def test_of_two_that_take_a_name_at_once_the_greater_address_gives_it_back(
    network: Neighbourhood, others: str, is_kept: bool
) -> None:
    hosts = Hosts(addresses=lambda: frozenset({"192.168.7.20"}))
    network.car(hosts.addresses, hosts)
    until(lambda: network.find(network.visitor()) is not None)

    other = network.visitor()
    network.claim(other, others)

    until(lambda: hosts.taken == {"blue-7.local": others})
    until(lambda: (network.find(network.visitor()) is not None) is is_kept)


def test_no_network_is_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> Zeroconf:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(announcing, "LOOK_S", 0.01)
    monkeypatch.setattr(announcing, "Zeroconf", refuse)
    here = frozenset({"192.168.7.20"})
    announcer = Announcer("blue", 8080, is_secure=True, addresses=lambda: here, tell_taken=Hosts().note_taken)

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
