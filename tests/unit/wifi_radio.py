"""A computer whose `nmcli` is the fake one: its networks, what it keeps, and what was asked of it."""

import json
import os
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

FAKE = Path(__file__).with_name("fake_nmcli.py")
HOME, FIELD, CAFE = "Home: sweet", "Racing Field", "Café \\ open"
HOME_PASSWORD, FIELD_PASSWORD = "old horse: staple", "race day 2026"
NEW_STATE: dict[str, Any] = {
    "runs": True,
    "hardware": "enabled",
    "radio": "enabled",
    "device": "wlan0",
    "device_state": "connected",
    "may_change": True,
    "hangs": "",  # a word: commands with it never end
    "refuses": [],  # profiles that are never activated in time
    "slow_s": 0.0,
    "air": [
        [HOME, 78, "WPA1 WPA2", HOME_PASSWORD],
        [HOME, 41, "WPA2", HOME_PASSWORD],
        [FIELD, 55, "WPA2 WPA3", FIELD_PASSWORD],
        [CAFE, 30, "", ""],
        ["", 90, "WPA2", "hidden one"],
        ["University", 62, "WPA2 802.1X", ""],
        ["Attic", 20, "WEP", "12345"],
    ],
    "profiles": {},
    "active": "",
}


class Radio:
    """The state behind the fake `nmcli`."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._file = folder / "nmcli.json"
        self._file.write_text(json.dumps(NEW_STATE))
        program = folder / "bin" / "nmcli"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E -B {FAKE} "$@"\n')
        program.chmod(0o755)
        monkeypatch.setenv("FAKE_NMCLI", str(self._file))
        monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)

    @property
    def state(self) -> dict[str, Any]:
        """Everything as it is now."""
        state: dict[str, Any] = json.loads(self._file.read_text())
        return state

    def change(self, **fields: Any) -> None:
        """Change something behind the page's back."""
        self._file.write_text(json.dumps({**self.state, **fields}))

    def know(self, ssid: str, psk: str, *, joined: bool = False) -> str:
        """Let it know a network; return the uuid."""
        one = str(uuid.uuid4())
        profile = {"name": f"My {ssid}", "ssid": ssid, "mode": "infrastructure", "keys": "wpa-psk"}
        profiles = {**self.state["profiles"], one: {**profile, "psk": psk, "autoconnect": "yes"}}
        self.change(profiles=profiles, **({"active": one} if joined else {}))
        return one

    @property
    def joined(self) -> str:
        """What it is in now; empty: nothing."""
        state = self.state
        return str(state["profiles"].get(state["active"], {}).get("ssid", ""))

    def profiles(self, ssid: str) -> list[dict[str, str]]:
        """What it keeps of a network."""
        return [one for one in self.state["profiles"].values() if one["ssid"] == ssid]

    @property
    def commands(self) -> list[list[str]]:
        """What was asked of nmcli, as a process list would show it."""
        log = self._file.with_name("nmcli.json.log")
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
