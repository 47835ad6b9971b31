"""The port a host opens: a pseudo-terminal behind a stable name, as a USB serial adapter is one behind by-id.

Whenever the last user has closed it, a fresh pseudo-terminal takes its place, since locks, settings
and unread bytes would stay in the old one, and do not in a real adapter.
"""

import contextlib
import fcntl
import os
import struct
import termios
import tty
from pathlib import Path

READ_BYTES = 4096
TIOCSPTLCK = 0x40045431  # <asm-generic/ioctls.h>
TIOCGPTN = 0x80045430
BAUD_CODES = {115200: termios.B115200}


class BoardPort:
    """One pseudo-terminal's master side. Nothing here waits."""

    def __init__(self, link: Path) -> None:
        self._link = link
        self._master: int | None = None

    def plug(self) -> None:
        """Make the port appear under its name."""
        if self._master is not None:
            return
        master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(master, TIOCSPTLCK, struct.pack("i", 0))
        (number,) = struct.unpack("i", fcntl.ioctl(master, TIOCGPTN, bytes(4)))
        tty.setraw(master)  # a fresh one would echo and wait for whole lines
        attributes = termios.tcgetattr(master)
        attributes[4] = attributes[5] = termios.B9600  # what a real adapter has before anybody sets it
        termios.tcsetattr(master, termios.TCSANOW, attributes)
        fresh = self._link.with_name(f".{self._link.name}.new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(f"/dev/pts/{number}")
        fresh.replace(self._link)
        self._master = master

    def unplug(self) -> None:
        """Make it vanish: whoever has it open gets errors."""
        if self._master is not None:
            self._link.unlink(missing_ok=True)
            os.close(self._master)
            self._master = None

    def set_plugged(self, plugged: bool) -> None:
        """Plug or unplug it."""
        if plugged:
            self.plug()
        else:
            self.unplug()

    def change_hands(self) -> None:
        """Unplug what is there, if anything is, and plug something else in under the same name."""
        if self._master is not None:
            self.replace()

    def replace(self) -> None:
        """Put a fresh pseudo-terminal under the name."""
        if self._master is not None:
            os.close(self._master)
            self._master = None
        self.plug()

    def filenos(self) -> list[int]:
        """Return what to wait on for bytes, or for the last user to leave."""
        return [] if self._master is None else [self._master]

    def read(self) -> bytes | None:
        """Return what the host has written; None: the last user has closed the port."""
        if self._master is None:
            return b""
        try:
            return os.read(self._master, READ_BYTES)
        except BlockingIOError:
            return b""
        except OSError:
            return None

    def write(self, data: bytes) -> int:
        """Hand bytes to the host; return how many it had room for."""
        if self._master is None or not data:
            return 0
        with contextlib.suppress(OSError):
            return os.write(self._master, data)
        return 0

    def baud_is(self, baud: int | None) -> bool:
        """Whether the host has set this rate; None: any will do."""
        if baud is None or self._master is None:
            return True
        try:
            return bool(termios.tcgetattr(self._master)[4] == BAUD_CODES[baud])
        except termios.error:
            return True
