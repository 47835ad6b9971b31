"""Where a page listens, and whether it can: asked by who serves it and by who starts the one that does."""

import errno
import ipaddress
import socket
import time
from pathlib import Path

from vehicle.errors import ConfigError

TAKEN_LIMIT_S = 2.0
"""A page that was just ended keeps its port for a second, until its last answers are out."""
TAKEN_LOOK_S = 0.1


def listening_address(host: str) -> str:
    """Return the address to listen at; raises ConfigError for what is none."""
    if host == "localhost":
        return "127.0.0.1"  # whatever the hosts file says
    if host == "all":
        return "::" if Path("/proc/net/if_inet6").exists() else "0.0.0.0"  # noqa: S104 - as its owner says
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        raise ConfigError(
            f"the page's address is {host}, allowed `all`, localhost or an address of this computer"
        ) from None


def listening_error(address: str, port: int) -> str:
    """Return why no page can listen there, or nothing; a port that is taken may get free for a while."""
    deadline_s = time.monotonic() + TAKEN_LIMIT_S
    while (error := _bind_error(address, port)) is not None:
        if error.errno != errno.EADDRINUSE or time.monotonic() > deadline_s:
            return error.strerror or str(error)
        time.sleep(TAKEN_LOOK_S)
    return ""


def _bind_error(address: str, port: int) -> OSError | None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gunicorn does
            probe.bind((address, port))
    except OSError as error:
        return error
    return None
