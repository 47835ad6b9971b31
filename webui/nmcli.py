"""NetworkManager's own command, `nmcli`: one call of it, what it prints, and in words why it refused."""

import os
import re
import shutil
import subprocess

from vehicle.errors import LapwingError

LOOK_TIMEOUT_S = 6.0
ACTIVATE_S = 35  # NetworkManager's own limit for the password is 25 s

NOT_RUNNING = 8  # exit statuses of nmcli
TIMED_OUT = 3
UNKNOWN = 10


class NetworkError(LapwingError):
    """The network could not be changed or looked at; says why, and what to do."""


def table(fields: str, *words: str, timeout_s: float = LOOK_TIMEOUT_S) -> list[list[str]]:
    """Return the rows of what it lists, a field each; raises NetworkError."""
    count = fields.count(",") + 1
    rows = [split_terse(line) for line in run("-t", "-f", fields, *words, timeout_s=timeout_s).splitlines()]
    return [row for row in rows if len(row) == count]


def run(*words: str, typed: str = "", timeout_s: float = LOOK_TIMEOUT_S) -> str:
    """Return what it prints; raises NetworkError. What is typed stands in no message."""
    program = shutil.which("nmcli")
    if program is None:
        raise NetworkError(
            "NetworkManager is not installed on this computer (there is no nmcli); install it, or set "
            "the network up as the system does"
        )
    try:
        done = subprocess.run(  # no shell; every name is a word of its own, behind a keyword
            [program, *words],
            input=typed,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
            env={**os.environ, "LC_ALL": "C.UTF-8", "LANGUAGE": ""},
        )
    except subprocess.TimeoutExpired:
        raise NetworkError(f"NetworkManager did not answer within {timeout_s:g} s; look again") from None
    except OSError as error:
        raise NetworkError(f"nmcli cannot be run ({error.strerror})") from None
    if done.returncode:
        raise NetworkError(_in_words(done.returncode, "" if typed else done.stderr))
    return done.stdout


def split_terse(line: str) -> list[str]:
    """Return the fields of a line of `nmcli -t`: split at colons, but not at those behind a backslash."""
    fields, is_escaped = [""], False
    for sign in line:
        if is_escaped:
            fields[-1] += sign
            is_escaped = False
        elif sign == "\\":
            is_escaped = True
        elif sign == ":":
            fields.append("")
        else:
            fields[-1] += sign
    return fields


def _in_words(status: int, said: str) -> str:
    """Return what went wrong, from nmcli's exit status and its words."""
    lines = [line.removeprefix("Error: ") for line in said.splitlines() if line.startswith("Error: ")]
    word = lines[0].strip().rstrip(".") if lines else ""
    if status == NOT_RUNNING:
        return "NetworkManager is not running on this computer; start it, then look again"
    if status == TIMED_OUT:
        return f"the network did not let the car in within {ACTIVATE_S} s; move it nearer, then try again"
    if re.search(r"secrets were required|supplicant|no secrets", word, re.IGNORECASE):
        return "the password is wrong, or the network did not take it; type it again"
    if re.search(r"IP configuration|DHCP", word, re.IGNORECASE):
        return "the network let the car in and gave it no address; look at the router"
    if re.search(r"network could not be found|No network with SSID", word, re.IGNORECASE):
        return "the network is no longer in reach; move the car nearer, then try again"
    if re.search(r"not authori[sz]ed|insufficient privileges|permission", word, re.IGNORECASE):
        return (
            "this page may not change the network; let its user do so (docs/settings.md, Wi-Fi), "
            "then try again"
        )
    if status == UNKNOWN:
        return "NetworkManager no longer knows that network; look again"
    return f"NetworkManager refused ({word or f'status {status}'}); look at the system's log"
