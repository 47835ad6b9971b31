"""This computer's Wi-Fi through NetworkManager's `nmcli`: looks, joins, forgets, makes a network of its own.

No password goes into a process list: it is typed into `nmcli connection edit`. A network that was joined
for the first time connects by itself only after it has worked once.
"""

import hashlib
import re
import secrets
import time
from collections.abc import Callable

import msgspec

from webui import nmcli
from webui.nmcli import NetworkError

SCAN_TIMEOUT_S = 20.0
ACTIVATE_TIMEOUT_S = nmcli.ACTIVATE_S + 10.0
COME_BACK_S = 30.0  # for one of the known networks to be found again
LOOK_AGAIN_S = 0.5
HOTSPOT_PROFILE = "lapwing-hotspot"
HOTSPOT_ADDRESS = "10.42.0.1"
HOTSPOT_PRIORITY = "-50"  # after every network that the car knows
SIGNS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that is read for another
PASSWORD_LENGTH = 12
SSID_BYTES = 32
KEY_FIELD = "802-11-wireless-security.psk"


class Network(msgspec.Struct, frozen=True):
    """A Wi-Fi network in reach or known."""

    ssid: str
    signal_percent: int | None
    """None: known, and not in reach."""
    security: str
    """As NetworkManager calls it, such as `WPA2`; empty for an open one."""
    is_known: bool
    is_joined: bool
    obstacle: str
    """Why the car cannot join it from here, or empty."""


class Hotspot(msgspec.Struct, frozen=True):
    """The car's own network."""

    ssid: str
    """Empty: it was never made."""
    is_on: bool


class WifiSight(msgspec.Struct, frozen=True):
    """The Wi-Fi as it is now."""

    device: str
    """Empty: there is no radio."""
    is_radio_on: bool
    joined: str
    """The network that the car is in; empty: in none."""
    networks: tuple[Network, ...]
    hotspot: Hotspot


class Profile(msgspec.Struct, frozen=True):
    """A Wi-Fi connection that NetworkManager keeps."""

    uuid: str
    name: str
    ssid: str
    is_access_point: bool
    key_management: str
    is_active: bool


class NetworkManager:
    """Looks and changes; may be used by several threads, which see to it that one alone changes something."""

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        self._sleep = sleep

    # --- looking

    def look(self, *, scan: bool = False) -> WifiSight:
        """Return the networks; `scan` asks the radio to look around first, for some seconds.

        Raises:
            NetworkError: there is no NetworkManager, or it does not say.

        """
        device = self._device()
        if not device:
            return WifiSight("", False, "", (), Hotspot("", False))
        profiles = self._profiles(device)
        hotspot = _ours(profiles)
        sight = WifiSight(
            device=device,
            is_radio_on=self._is_radio_on(),
            joined=next((one.ssid for one in profiles if one.is_active and not one.is_access_point), ""),
            networks=(),
            hotspot=Hotspot(hotspot.ssid if hotspot else "", hotspot is not None and hotspot.is_active),
        )
        seen = self._seen(device, scan=scan) if sight.is_radio_on else {}
        return msgspec.structs.replace(sight, networks=_networks(seen, profiles, sight.joined))

    def _device(self) -> str:
        """Return the radio's name, an empty string without one; raises NetworkError for one left alone."""
        unmanaged = ""
        for device, kind, state in nmcli.table("DEVICE,TYPE,STATE", "device", "status"):
            if kind == "wifi" and state == "unmanaged":
                unmanaged = device
            elif kind == "wifi":
                return device
        if unmanaged:
            raise NetworkError(
                f"NetworkManager leaves the Wi-Fi radio {unmanaged} to something else; see to it that "
                "it manages it, then look again"
            )
        return ""

    def _is_radio_on(self) -> bool:
        ((hardware, software),) = nmcli.table("WIFI-HW,WIFI", "general", "status")
        return hardware == software == "enabled"

    def _seen(self, device: str, *, scan: bool = False) -> dict[str, tuple[int, str]]:
        """Return strength and security of what is in reach, of each name the strongest."""
        rows = nmcli.table(
            "SSID,SIGNAL,SECURITY",
            *("device", "wifi", "list", "ifname", device, "--rescan", "yes" if scan else "no"),
            timeout_s=SCAN_TIMEOUT_S if scan else nmcli.LOOK_TIMEOUT_S,
        )
        seen: dict[str, tuple[int, str]] = {}
        for ssid, signal, security in rows:
            strength = int(signal) if signal.isdecimal() else 0
            if ssid and strength >= seen.get(ssid, (0, ""))[0]:
                seen[ssid] = strength, "" if security == "--" else security
        return seen

    def _profiles(self, device: str) -> list[Profile]:
        rows = nmcli.table("NAME,UUID,TYPE,ACTIVE,DEVICE", "connection", "show")
        wireless = {
            uuid: (name, active == "yes" and at == device)
            for name, uuid, kind, active, at in rows
            if kind == "802-11-wireless"
        }
        if not wireless:
            return []
        fields = "connection.uuid,802-11-wireless.ssid,802-11-wireless.mode,802-11-wireless-security.key-mgmt"
        named = [word for uuid in wireless for word in ("uuid", uuid)]
        said = nmcli.run("-t", "-f", fields, "connection", "show", *named)
        found: list[dict[str, str]] = []
        for line in said.splitlines():  # of the lines for one connection nothing is escaped
            name, _, value = line.partition(":")
            if name == "connection.uuid":
                found.append({})
            if found:
                found[-1][name] = value
        return [
            Profile(
                uuid=one["connection.uuid"],
                name=wireless[one["connection.uuid"]][0],
                ssid=one.get("802-11-wireless.ssid", ""),
                is_access_point=one.get("802-11-wireless.mode", "") == "ap",
                key_management=one.get("802-11-wireless-security.key-mgmt", ""),
                is_active=wireless[one["connection.uuid"]][1],
            )
            for one in found
            if one["connection.uuid"] in wireless
        ]

    # --- changing

    def switch_radio_on(self) -> None:
        """Switch the radio on; raises NetworkError, also where a switch of the computer keeps it off."""
        nmcli.run("radio", "wifi", "on")
        ((hardware, _),) = nmcli.table("WIFI-HW,WIFI", "general", "status")
        if hardware != "enabled":
            raise NetworkError("a switch or key of the computer keeps its radio off; use that one")

    def join(self, ssid: str, password: str) -> None:
        """Join a network, or come back to the one before; may take a minute.

        Args:
            ssid: of a network that `look` showed without an obstacle.
            password: empty for an open network, and for a known one to be joined as it is known.

        Raises:
            NetworkError: it did not go well; the network before is joined again, where that is possible.

        """
        device, profiles, before = self._now()
        seen = self._seen(device)
        if ssid not in seen:
            raise NetworkError(f"{ssid} is not in reach; move the car nearer, then look again")
        _, security = seen[ssid]
        if obstacle := _obstacle(ssid, security):
            raise NetworkError(obstacle)
        of_this = [one for one in profiles if one.ssid == ssid and not one.is_access_point]
        if of_this and not password:
            self._activate_or_return(of_this[0].uuid, device, before)
            return
        uuid = self._add(device, ssid, password, security)
        try:
            self._activate_or_return(uuid, device, before)
        except NetworkError:
            self._delete(uuid)
            raise
        self._modify(uuid, "connection.autoconnect", "yes")
        for old in of_this:  # with the password of before
            self._delete(old.uuid)

    def forget(self, ssid: str) -> None:
        """Forget a known network; raises NetworkError, also for the one that the car is in."""
        _, profiles, _ = self._now()
        of_this = [one for one in profiles if one.ssid == ssid and not one.is_access_point]
        if not of_this:
            raise NetworkError(f"the car knows no network {ssid}; look again")
        if any(one.is_active for one in of_this):
            raise NetworkError(
                f"the car is in {ssid} now; join another network or switch the car's own on, then forget it"
            )
        for one in of_this:
            nmcli.run("connection", "delete", "uuid", one.uuid)

    def prepare_hotspot(self, ssid: str) -> tuple[str, str]:
        """Return name and password of the car's own network, made at the first time; nothing is switched."""
        device, profiles, _ = self._now()
        ours = _ours(profiles)
        if ours is None:
            password = "".join(secrets.choice(SIGNS) for _ in range(PASSWORD_LENGTH))
            ciphers = ("proto", "rsn", "pairwise", "ccmp", "group", "ccmp")
            uuid = self._made(
                *("ifname", device, "con-name", HOTSPOT_PROFILE, "autoconnect", "no", "ssid", ssid),
                *("mode", "ap", "ipv4.method", "shared", "ipv4.addresses", f"{HOTSPOT_ADDRESS}/24"),
                *("ipv6.method", "ignore", "wifi-sec.key-mgmt", "wpa-psk"),
                *(f"wifi-sec.{word}" if k % 2 == 0 else word for k, word in enumerate(ciphers)),
            )
            try:
                self._keep_password(uuid, password)
            except NetworkError:
                self._delete(uuid)
                raise
        elif ours.ssid != ssid and not ours.is_active:  # the car was renamed
            self._modify(ours.uuid, "802-11-wireless.ssid", ssid)
        return self.hotspot_secret()

    def hotspot_secret(self) -> tuple[str, str]:
        """Return name and password of the car's own network; raises NetworkError where it was never made."""
        _, profiles, _ = self._now()
        ours = _ours(profiles)
        if ours is None:
            raise NetworkError("the car's own network has no password yet; prepare it first")
        said = nmcli.run("--show-secrets", "-t", "-f", KEY_FIELD, "connection", "show", "uuid", ours.uuid)
        return ours.ssid, said.rstrip("\n").removeprefix(f"{KEY_FIELD}:")

    def switch_hotspot_on(self) -> None:
        """Leave the network and make the car's own, also after a start where no known one is in reach.

        Raises:
            NetworkError: it was never made, or the radio cannot; the network before is joined again.

        """
        device, profiles, before = self._now()
        ours = _ours(profiles)
        if ours is None:
            raise NetworkError("the car's own network has no password yet; prepare it first")
        self._activate_or_return(ours.uuid, device, before)
        self._modify(ours.uuid, "connection.autoconnect-priority", HOTSPOT_PRIORITY)
        self._modify(ours.uuid, "connection.autoconnect", "yes")

    def switch_hotspot_off(self) -> None:
        """End the car's own network and go back to one that it knows.

        Raises:
            NetworkError: the car knows none, or none came in time; its own network is on again then.

        """
        device, profiles, _ = self._now()
        ours = next((one for one in profiles if _is_ours(one) and one.is_active), None)
        if ours is None:
            raise NetworkError("the car's own network is off already; look again")
        if all(one.is_access_point for one in profiles):
            raise NetworkError(
                "the car knows no other network, so nobody would reach it by Wi-Fi; join a network instead"
            )
        self._modify(ours.uuid, "connection.autoconnect", "no")
        nmcli.run("connection", "down", "uuid", ours.uuid)
        deadline_s = time.monotonic() + COME_BACK_S
        while time.monotonic() < deadline_s:
            if any(one.is_active and not one.is_access_point for one in self._profiles(device)):
                return
            self._sleep(LOOK_AGAIN_S)
        self._modify(ours.uuid, "connection.autoconnect", "yes")
        self._return(ours.uuid, device)
        raise NetworkError("no network that the car knows came in reach; its own is on again")

    # --- the parts of a change

    def _now(self) -> tuple[str, list[Profile], str]:
        """Return the radio, what it keeps, and the uuid of what it is in; raises NetworkError without one."""
        device = self._device()
        if not device:
            raise NetworkError("this computer has no Wi-Fi radio; plug one in, then look again")
        profiles = self._profiles(device)
        return device, profiles, next((one.uuid for one in profiles if one.is_active), "")

    def _add(self, device: str, ssid: str, password: str, security: str) -> str:
        """Keep a new network, which does not connect by itself; return its uuid."""
        keys = _key_management(security)
        if bool(password) != (keys in {"wpa-psk", "sae"}):
            words = f"{ssid} needs a password; type it in" if not password else f"{ssid} takes no password"
            raise NetworkError(words)
        secured = ("wifi-sec.key-mgmt", keys) if keys else ()
        uuid = self._made("ifname", device, "con-name", ssid, "autoconnect", "no", "ssid", ssid, *secured)
        if password:
            try:
                self._keep_password(uuid, _typed(ssid, password, keys))
            except NetworkError:
                self._delete(uuid)
                raise
        return uuid

    def _made(self, *words: str) -> str:
        said = nmcli.run("connection", "add", "type", "wifi", *words)
        match = re.search(r"\(([0-9a-f-]{36})\) successfully added", said)
        if match is None:
            raise NetworkError("NetworkManager did not say what it keeps the network as; look again")
        return match[1]

    def _keep_password(self, uuid: str, password: str) -> None:
        typed = f"set {KEY_FIELD} {password}\nsave persistent\nquit\n"
        nmcli.run("connection", "edit", "uuid", uuid, typed=typed)

    def _activate_or_return(self, uuid: str, device: str, before: str) -> None:
        try:
            self._activate(uuid, device)
        except NetworkError:
            if before and before != uuid:
                self._return(before, device)
            raise

    def _activate(self, uuid: str, device: str) -> None:
        nmcli.run(
            *("--wait", str(nmcli.ACTIVATE_S), "connection", "up", "uuid", uuid, "ifname", device),
            timeout_s=ACTIVATE_TIMEOUT_S,
        )

    def _return(self, uuid: str, device: str) -> None:
        """Go back to what was; whatever comes of it, the reason for going back is what is told."""
        try:
            self._activate(uuid, device)
        except NetworkError:
            return

    def _modify(self, uuid: str, name: str, value: str) -> None:
        nmcli.run("connection", "modify", "uuid", uuid, name, value)

    def _delete(self, uuid: str) -> None:
        """Take away what was kept for nothing; another has done it where it is gone."""
        try:
            nmcli.run("connection", "delete", "uuid", uuid)
        except NetworkError:
            return


def why_no_password(password: str) -> str:
    """Return why this can be no network's password, or an empty string; none at all is one too."""
    is_key = re.fullmatch(r"[0-9a-fA-F]{64}", password) is not None
    is_phrase = 8 <= len(password) <= 63 and all(" " <= sign <= "~" for sign in password)
    if not password or is_key or is_phrase:
        return ""
    return f"a Wi-Fi password has 8 to 63 letters, digits and signs; this one has {len(password)}"


def wifi_code(ssid: str, password: str) -> str:
    """Return what a phone's camera reads from a QR code to join a network."""
    name, secret = (re.sub(r'([\\;,:"])', r"\\\1", text) for text in (ssid, password))
    return f"WIFI:T:WPA;S:{name};P:{secret};;"


def _ours(profiles: list[Profile]) -> Profile | None:
    return next((one for one in profiles if _is_ours(one)), None)


def _is_ours(profile: Profile) -> bool:
    return profile.is_access_point and profile.name == HOTSPOT_PROFILE


def _networks(seen: dict[str, tuple[int, str]], profiles: list[Profile], joined: str) -> tuple[Network, ...]:
    known = {one.ssid for one in profiles if not one.is_access_point and one.ssid}
    own = {one.ssid for one in profiles if _is_ours(one)}
    found = [
        Network(
            ssid=ssid,
            signal_percent=seen[ssid][0] if ssid in seen else None,
            security=seen[ssid][1] if ssid in seen else "",
            is_known=ssid in known,
            is_joined=ssid == joined,
            obstacle=_obstacle(ssid, seen[ssid][1]) if ssid in seen else "",
        )
        for ssid in known | set(seen) - own
    ]
    return tuple(sorted(found, key=lambda one: (not one.is_joined, -(one.signal_percent or -1), one.ssid)))


def _obstacle(ssid: str, security: str) -> str:
    words = set(security.split())
    if "802.1X" in words:
        return f"{ssid} asks for a user's name and certificates; set it up with nmcli on the car itself"
    if "WEP" in words:
        return f"{ssid} is locked with WEP, which anybody opens within minutes; give it WPA2 or WPA3"
    if len(ssid.encode()) > SSID_BYTES or not ssid.isprintable():
        return "its name cannot be written here; set it up with nmcli on the car itself"
    return ""


def _key_management(security: str) -> str:
    words = set(security.split())
    if words & {"WPA1", "WPA2"}:
        return "wpa-psk"
    if "WPA3" in words:
        return "sae"
    return "owe" if "OWE" in words else ""


def _typed(ssid: str, password: str, keys: str) -> str:
    """Return the password as it survives being typed: nmcli drops spaces at both ends."""
    if password == password.strip():
        return password
    if keys == "sae":
        raise NetworkError("nmcli drops the spaces at the ends of this password; give the network another")
    return hashlib.pbkdf2_hmac("sha1", password.encode(), ssid.encode(), 4096, 32).hex()
