"""Wi-Fi over HTTP: the networks in reach, joining and forgetting one, the car's own network.

A change cuts off the page that asked for it; so it is answered at once, made by a thread, and what came of
it is told to whoever finds the car again. Meanwhile the page holds the lease: nobody starts the car.
"""

import contextlib
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Literal

import msgspec
from flask import Blueprint, Response, request
from werkzeug.exceptions import BadRequest, Conflict, Forbidden, NotFound

from vehicle.errors import VehicleSilentError
from vehicle.messages import DriveState, RequestKind
from webui.access import visitor
from webui.announcing import host_label
from webui.car import Vehicle
from webui.describing import Ok, described
from webui.drive import source_of
from webui.guard import answer, read_body, read_query, sentence
from webui.hosts import Hosts
from webui.network_manager import HOTSPOT_ADDRESS, NetworkManager, WifiSight, why_no_password, wifi_code
from webui.nmcli import NetworkError
from webui.page_address import page_addresses, page_port, qr_image

log = logging.getLogger("webui")

STANDING = frozenset({DriveState.DISARMED, DriveState.FAILSAFE})
REQUEST_TIMEOUT_S = 1.0
RENEW_S = 0.4
ANSWER_FIRST_S = 0.7  # for the answer to leave before the network does
LOCK_S = 0.2  # a change that has just been told is over in this time
HOLDER_NAME = "Wi-Fi change"

Ssid = Annotated[str, msgspec.Meta(min_length=1, max_length=32)]


class JoinBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which network to join."""

    ssid: Ssid
    password: Annotated[str, msgspec.Meta(max_length=64)] = ""
    """Empty for an open network, and for a known one as it is known."""


class ForgetBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which network to forget."""

    ssid: Ssid


class HotspotBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether the car makes its own network."""

    on: bool


class NothingBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing more to say."""


class WifiQuery(msgspec.Struct, frozen=True):
    """How hard to look."""

    scan: Annotated[bool, msgspec.Meta(description="Let the radio look around first, for some seconds.")] = (
        False
    )


class Change(msgspec.Struct, frozen=True):
    """The newest change of the network."""

    state: Literal["none", "going on", "done", "failed"] = "none"
    words: str = ""


class WifiDocument(msgspec.Struct, frozen=True):
    """The car's Wi-Fi."""

    problem: str
    """Why nothing can be done here, or empty."""
    sight: WifiSight | None
    change: Change
    addresses: list[str]
    """Where to find the car again by its name, whatever network it is in."""


class HotspotDocument(msgspec.Struct, frozen=True):
    """How to join the car's own network."""

    ssid: str
    password: str
    address: str
    """Of this page in that network."""


class Wifi:
    """One computer's Wi-Fi, changed by one thread at a time and only while the car stands."""

    def __init__(
        self, vehicle: Vehicle, network: NetworkManager | None = None, answer_first_s: float = ANSWER_FIRST_S
    ) -> None:
        self._vehicle = vehicle
        self._network = network or NetworkManager()
        self._answer_first_s = answer_first_s
        self._lock = threading.Lock()
        self._change = Change()

    @property
    def change(self) -> Change:
        """What became of the newest change."""
        return self._change

    def look(self, *, scan: bool = False) -> WifiSight:
        """Return what is there; raises NetworkError. While it is being changed nothing is scanned."""
        return self._network.look(scan=scan and self._change.state != "going on")

    def now(self, work: Callable[[NetworkManager], object]) -> None:
        """Change something that cuts nobody off; raises Conflict."""
        with self._alone():
            work(self._network)

    def prepared_hotspot(self, ssid: str) -> tuple[str, str]:
        """Return name and password of the car's own network, made at the first time; raises Conflict."""
        with self._alone():
            return self._network.prepare_hotspot(ssid)

    def hotspot_secret(self) -> tuple[str, str]:
        """Return name and password of the car's own network; raises NetworkError where it was never made."""
        return self._network.hotspot_secret()

    def begin(self, doing: str, done: str, work: Callable[[NetworkManager], None]) -> None:
        """Change the network in a thread, soon; raises Conflict where that may not be now."""
        if not self._lock.acquire(timeout=LOCK_S):
            raise Conflict(_BUSY)
        try:
            source = self._hold()
        except Exception:
            self._lock.release()
            raise
        self._change = Change("going on", doing)
        threading.Thread(
            target=self._work, args=(source, done, work), name="wifi-change", daemon=True
        ).start()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        self._must_stand()
        if not self._lock.acquire(timeout=LOCK_S):
            raise Conflict(_BUSY)
        try:
            yield
        except NetworkError as error:
            raise Conflict(sentence(str(error))) from error
        finally:
            self._lock.release()

    def _must_stand(self) -> None:
        car = self._vehicle.status()
        if car is not None and car.state not in STANDING:
            raise Conflict("The car drives; stop it first. Its network is changed while it stands disarmed.")

    def _hold(self) -> str:
        """Become the driver, so that nobody starts the car meanwhile; return as whom.

        Empty: the vehicle process is silent, and its board has gone neutral by itself.
        """
        self._must_stand()
        source = source_of(secrets.token_hex(16))
        try:
            reply = self._vehicle.request(
                RequestKind.TAKE_LEASE, timeout_s=REQUEST_TIMEOUT_S, source=source, driver_name=HOLDER_NAME
            )
        except VehicleSilentError:
            return ""
        if not reply.ok:
            raise Conflict(sentence(reply.reason))
        try:
            self._must_stand()  # it may have been started just before
        except Conflict:
            self._let_go(source)
            raise
        return source

    def _work(self, source: str, done: str, work: Callable[[NetworkManager], None]) -> None:
        ended = threading.Event()
        holder = threading.Thread(target=self._keep_holding, args=(source, ended), name="wifi-lease")
        holder.start()
        change = Change("failed", "The change failed by a mistake of ours; the server's log has it.")
        try:
            time.sleep(self._answer_first_s)
            work(self._network)
            change = Change("done", done)
            log.info("the Wi-Fi was changed")
        except NetworkError as error:
            change = Change("failed", sentence(str(error)))
            log.warning("the Wi-Fi was not changed")  # names of networks and passwords are nobody's business
        finally:
            ended.set()
            holder.join()
            if source:
                self._let_go(source)
            self._change = change
            self._lock.release()

    def _keep_holding(self, source: str, ended: threading.Event) -> None:
        while source and not ended.wait(RENEW_S):
            try:
                self._vehicle.request(RequestKind.RENEW_LEASE, timeout_s=REQUEST_TIMEOUT_S, source=source)
            except VehicleSilentError:
                continue

    def _let_go(self, source: str) -> None:
        try:
            self._vehicle.request(RequestKind.RELEASE_LEASE, timeout_s=REQUEST_TIMEOUT_S, source=source)
        except VehicleSilentError:
            return  # a lease that nobody renews runs out


_BUSY = "The network is being changed already; wait until that is done."


def make_blueprint(wifi: Wifi | None, car_name: Callable[[], str], hosts: Hosts) -> Blueprint:
    """Return the routes of the Wi-Fi; `wifi` None: in front of a simulated car, which has none."""
    blueprint = Blueprint("wifi", __name__)

    def own() -> Wifi:
        _only_drivers()
        if wifi is None:
            raise Conflict("A simulated car has no Wi-Fi; this computer's is left alone.")
        return wifi

    def names() -> list[str]:
        there = page_addresses(request.scheme, page_port(request.host_url), hosts)
        own_name = f"//{host_label(car_name())}.local:"
        return sorted((each for each in there if ".local:" in each), key=lambda each: own_name not in each)

    @blueprint.get("/api/wifi")
    @described(answers=WifiDocument, query=WifiQuery)
    def show() -> Response:
        """Tell which networks are in reach or known, and what became of the newest change."""
        _only_drivers()
        query = read_query(WifiQuery)
        if wifi is None:
            problem = "A simulated car has no Wi-Fi; this computer's is left alone."
            return answer(WifiDocument(problem, None, Change(), []))
        try:
            sight = wifi.look(scan=query.scan)
        except NetworkError as error:
            return answer(WifiDocument(sentence(str(error)), None, wifi.change, names()))
        problem = "" if sight.device else "This computer has no Wi-Fi radio."
        return answer(WifiDocument(problem, sight, wifi.change, names()))

    @blueprint.post("/api/wifi/join")
    @described(body=JoinBody, answers={202: Ok}, refuses=(409,))
    def join() -> tuple[Response, int]:
        """Join a network, while the car stands; where that fails the one before is joined again."""
        body = read_body(JoinBody)
        there = own()
        if reason := why_no_password(body.password):
            raise BadRequest(sentence(reason))
        there.begin(
            f"Joining {body.ssid} …",
            f"The car is in {body.ssid}.",
            lambda network: network.join(body.ssid, body.password),
        )
        return answer(Ok(True)), 202

    @blueprint.post("/api/wifi/forget")
    @described(body=ForgetBody, answers=Ok, refuses=(409,))
    def forget() -> Response:
        """Forget a known network that the car is not in."""
        body = read_body(ForgetBody)
        own().now(lambda network: network.forget(body.ssid))
        return answer(Ok(True))

    @blueprint.post("/api/wifi/radio")
    @described(body=NothingBody, answers=Ok, refuses=(409,))
    def radio() -> Response:
        """Switch the radio on."""
        read_body(NothingBody)
        own().now(lambda network: network.switch_radio_on())
        return answer(Ok(True))

    @blueprint.post("/api/wifi/hotspot/prepare")
    @described(body=NothingBody, answers=HotspotDocument, refuses=(409,))
    def prepare() -> Response:
        """Tell name and password of the car's own network, made at the first time; nothing is switched."""
        read_body(NothingBody)
        ssid, password = own().prepared_hotspot(f"Lapwing {host_label(car_name())}"[:32])
        address = f"{request.scheme}://{HOTSPOT_ADDRESS}:{page_port(request.host_url)}/"
        return answer(HotspotDocument(ssid, password, address))

    @blueprint.get("/api/wifi/hotspot.svg")
    @described(answers={200: "image/svg+xml"}, refuses=(409,))
    def hotspot_code() -> Response:
        """Send the QR code by which a phone joins the car's own network, once that is prepared."""
        there = own()
        try:
            code = wifi_code(*there.hotspot_secret())
        except NetworkError as error:
            raise Conflict(sentence(str(error))) from error
        return Response(qr_image(code), mimetype="image/svg+xml")

    @blueprint.get("/api/wifi/address.svg")
    @described(answers={200: "image/svg+xml"}, refuses=(404,))
    def address_code() -> Response:
        """Send the QR code of the address by which the car is found in whatever network it is."""
        _only_drivers()
        there = names()
        if not there:
            raise NotFound("This page is for this computer alone; it has no address for others.")
        return Response(qr_image(there[0]), mimetype="image/svg+xml")

    @blueprint.post("/api/wifi/hotspot")
    @described(body=HotspotBody, answers={202: Ok}, refuses=(409,))
    def switch() -> tuple[Response, int]:
        """Switch the car's own network on or off, while the car stands."""
        body = read_body(HotspotBody)
        there = own()
        if body.on:
            there.begin(
                "Switching the car's own network on …",
                "The car makes its own network.",
                lambda network: network.switch_hotspot_on(),
            )
        else:
            there.begin(
                "Going back to a network that the car knows …",
                "The car is back in a network that it knows.",
                lambda network: network.switch_hotspot_off(),
            )
        return answer(Ok(True)), 202

    return blueprint


def _only_drivers() -> None:
    if not visitor().may_drive:
        raise Forbidden("You came by a view-only link: the network is for those who may drive.")
