"""Stands in for NetworkManager's `nmcli` in tests: the page's commands, answered as version 1.42 does.

Exit statuses, words, escaping and the editor's echo are those of the real program, tried with a
NetworkManager of its own in an empty network. State lies in the JSON file that FAKE_NMCLI names; every
command is written beside it.
"""

import json
import os
import sys
import time

STATE = os.environ["FAKE_NMCLI"]
WIRELESS = "802-11-wireless"
FIELDS = {
    "connection.uuid": "uuid",
    f"{WIRELESS}.ssid": "ssid",
    f"{WIRELESS}.mode": "mode",
    f"{WIRELESS}-security.key-mgmt": "keys",
    f"{WIRELESS}-security.psk": "psk",
}


def escaped(text: str) -> str:
    """Return a field as `nmcli -t` writes it in a table."""
    return text.replace("\\", "\\\\").replace(":", "\\:")


def fail(status: int, words: str) -> None:
    """End as nmcli does."""
    sys.stderr.write(f"Error: {words}\n")
    sys.exit(status)


class FakeNmcli:
    """One command against the kept state."""

    def __init__(self, state: dict) -> None:
        self.state = state
        self.profiles: dict[str, dict[str, str]] = state["profiles"]

    def run(self, words: list[str]) -> None:
        state = self.state
        if state["hangs"] and state["hangs"] in words:
            time.sleep(60)
        if not state["runs"]:
            fail(8, "NetworkManager is not running.")
        options = {"-t": False, "--show-secrets": False}
        values = {"-f": "", "--wait": ""}
        while words and words[0].startswith("-"):
            word = words.pop(0)
            if word in values:
                values[word] = words.pop(0)
            else:
                options[word] = True
        fields = values["-f"].split(",")
        match words:
            case ["general", "status"]:
                said = {"WIFI-HW": state["hardware"], "WIFI": state["radio"]}
                print(":".join(escaped(said[field]) for field in fields))
            case ["device", "status"]:
                self.devices(fields)
            case ["device", "wifi", "list", "ifname", device, "--rescan", ("yes" | "no")]:
                self.air(device, fields)
            case ["radio", "wifi", "on"]:
                state["radio"] = "enabled"
            case ["connection", "show"]:
                self.connections(fields)
            case ["connection", "show", *named]:
                self.show(fields, named[1::2], secrets=options["--show-secrets"])
            case ["connection", "add", "type", "wifi", *rest]:
                self.add(dict(zip(rest[::2], rest[1::2], strict=True)))
            case ["connection", "edit", "uuid", one]:
                self.edit(one)
            case ["connection", "modify", "uuid", one, name, value]:
                self.known(one)[{f"{WIRELESS}.ssid": "ssid"}.get(name, name.removeprefix("connection."))] = (
                    value
                )
            case ["connection", "up", "uuid", one, "ifname", device]:
                self.up(one, device)
            case ["connection", "down", "uuid", one]:
                self.down(one)
            case ["connection", "delete", "uuid", one]:
                self.delete(one)
            case _:
                fail(2, f"argument '{' '.join(words)}' not understood. Try passing --help instead.")

    def known(self, one: str) -> dict[str, str]:
        if not self.state["may_change"]:
            fail(1, "Failed to modify connection: Insufficient privileges")
        if one not in self.profiles:
            fail(10, f"unknown connection '{one}'.")
        return self.profiles[one]

    def devices(self, fields: list[str]) -> None:
        name = self.profiles.get(self.state["active"], {}).get("name", "")
        rows = [{"DEVICE": "lo", "TYPE": "loopback", "STATE": "unmanaged", "CONNECTION": ""}]
        if self.state["device"]:
            state = self.state["device_state"] if self.state["active"] else "disconnected"
            if self.state["device_state"] == "unmanaged":
                state = "unmanaged"
            rows.append({"DEVICE": self.state["device"], "TYPE": "wifi", "STATE": state, "CONNECTION": name})
            rows.append(
                {"DEVICE": "p2p-dev-wlan0", "TYPE": "wifi-p2p", "STATE": "disconnected", "CONNECTION": ""}
            )
        for row in rows:
            print(":".join(escaped(row[field]) for field in fields))

    def air(self, device: str, fields: list[str]) -> None:
        if device != self.state["device"]:
            fail(10, f"Device '{device}' not found.")
        for ssid, signal, security, _ in self.state["air"]:
            said = {"SSID": ssid, "SIGNAL": str(signal), "SECURITY": security}
            print(":".join(escaped(said[field]) for field in fields))

    def connections(self, fields: list[str]) -> None:
        rows = [("Wired: one", "00000000-0000-0000-0000-000000000001", "802-3-ethernet", "yes", "eth0")]
        for one, profile in self.profiles.items():
            active = one == self.state["active"]
            rows.append(
                (
                    profile["name"],
                    one,
                    WIRELESS,
                    "yes" if active else "no",
                    self.state["device"] if active else "",
                )
            )
        assert fields == ["NAME", "UUID", "TYPE", "ACTIVE", "DEVICE"]
        for row in rows:
            print(":".join(escaped(field) for field in row))

    def show(self, fields: list[str], named: list[str], *, secrets: bool) -> None:
        for number, one in enumerate(named):
            if one not in self.profiles:
                fail(10, f"{one} - no such connection profile.")
            if number:
                print()
            for field in fields:
                value = self.profiles[one].get(FIELDS[field], "") if field != "connection.uuid" else one
                if FIELDS[field] == "psk" and not secrets:
                    value = "<hidden>" if value else ""
                if FIELDS[field] != "keys" or value:  # a setting that is not there has no line
                    print(f"{field}:{value}")

    def add(self, given: dict[str, str]) -> None:
        if not self.state["may_change"]:
            fail(1, "Failed to add 'x' connection: Insufficient privileges")
        drawn = os.urandom(16).hex()
        one = "-".join((drawn[:8], drawn[8:12], drawn[12:16], drawn[16:20], drawn[20:]))
        self.profiles[one] = {
            "name": given["con-name"],
            "ssid": given["ssid"],
            "mode": given.get("mode", "infrastructure"),
            "keys": given.get("wifi-sec.key-mgmt", ""),
            "psk": "",
            "autoconnect": given["autoconnect"],
            "given": json.dumps(given),
        }
        print(f"Connection '{given['con-name']}' ({one}) successfully added.")

    def edit(self, one: str) -> None:
        profile = self.known(one)
        print("===| nmcli interactive connection editor |===")
        for line in sys.stdin.read().splitlines():
            print(f"nmcli> {line}")  # the password too
            if line.startswith(f"set {WIRELESS}-security.psk "):
                profile["psk"] = line.split(" ", 2)[2].strip()
        print(f"Connection '{profile['name']}' ({one}) successfully updated.")

    def up(self, one: str, device: str) -> None:
        profile = self.known(one)
        if device != self.state["device"]:
            fail(10, f"Device '{device}' not found.")
        time.sleep(self.state["slow_s"])
        self.state["active"] = ""  # what was is over, whatever comes
        if self.state["refuses"] and profile["name"] in self.state["refuses"]:
            fail(3, "Timeout expired (35 seconds)")
        if profile["mode"] != "ap":
            heard = {ssid: password for ssid, _, _, password in self.state["air"]}
            if profile["ssid"] not in heard:
                fail(4, "Connection activation failed: (53) The Wi-Fi network could not be found.")
            if heard[profile["ssid"]] == "no address":
                fail(
                    4,
                    "Connection activation failed: IP configuration could not be reserved",
                )
            if profile["psk"] != heard[profile["ssid"]]:
                fail(4, "Connection activation failed: Secrets were required, but not provided.")
        self.state["active"] = one
        print("Connection successfully activated (D-Bus active path: /org/freedesktop/NetworkManager/1)")

    def down(self, one: str) -> None:
        self.known(one)
        if one != self.state["active"]:
            fail(10, f"'{one}' is not an active connection.")
        heard = {ssid: password for ssid, _, _, password in self.state["air"]}
        self.state["active"] = next(
            (
                other
                for other, profile in self.profiles.items()
                if other != one
                and profile["autoconnect"] == "yes"
                and heard.get(profile["ssid"]) == profile["psk"]
            ),
            "",
        )

    def delete(self, one: str) -> None:
        self.known(one)
        del self.profiles[one]
        if self.state["active"] == one:
            self.state["active"] = ""


def keep(state: dict) -> None:
    """Replace the state whole: another command may read it."""
    beside = f"{STATE}.{os.getpid()}"
    with open(beside, "w") as file:
        json.dump(state, file)
    os.replace(beside, STATE)


if __name__ == "__main__":
    with open(f"{STATE}.log", "a") as log:
        log.write(json.dumps(sys.argv[1:]) + "\n")
    with open(STATE) as file:
        before = file.read()
    kept = json.loads(before)
    try:
        FakeNmcli(kept).run(sys.argv[1:])
    finally:
        if json.dumps(kept) != before:
            keep(kept)
