"""One serial port, opened for us alone and never waited for."""

import array
import contextlib
import errno
import fcntl
import os
import select
import stat
import termios
import time

import serial

from vehicle.errors import BoardBusyError, BoardError, BoardNotFoundError

READ_BYTES = 4096
READS_A_POLL = 16  # bounds the time in `read` however much a broken board talks
DRAIN_S = 0.050  # 36 bytes of farewell need 3 ms at 115200 baud
_PSEUDO_TERMINAL_MAJORS = range(136, 144)


class PortLostError(BoardError):
    """The open port failed: its device is gone."""


class SerialPort:
    """An open port. pyserial sets the line up; bytes go through the descriptor.

    pyserial's own `write` is not used: with `write_timeout=0` and a full buffer it tries for ever.
    """

    def __init__(self, path: str, baudrate: int = 115200) -> None:
        """Open exclusively, without resetting the board; BoardNotFoundError or BoardBusyError."""
        self.path = path
        try:
            self._serial = serial.Serial(path, baudrate, timeout=0, write_timeout=0, exclusive=True)
        except (OSError, termios.error, ValueError) as error:
            raise _open_error(path, error) from error
        self._descriptor: int = self._serial.fileno()
        self._collected = b""
        self._keep_others_out()
        self._keep_line_up_on_close()

    def write(self, data: bytes) -> int:
        """Hand bytes over and return how many were taken, at once; PortLostError if the device is gone."""
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            return 0
        except (OSError, termios.error) as error:
            raise self._lost(error) from error

    def read(self) -> bytes:
        """Return what has arrived, perhaps nothing, at once; PortLostError if the device is gone."""
        collected, self._collected = self._collected, b""
        return collected or self._receive()

    def collect(self) -> int:
        """Take in what has arrived before it can be lost with the device; return how much `read` finds."""
        with contextlib.suppress(PortLostError):
            self._collected += self._receive()
        return len(self._collected)

    def wait_readable(self, timeout_s: float) -> None:
        """Return when bytes have arrived or the time is over; not for the loop."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        poll.poll(timeout_s * 1e3)

    def close(self) -> None:
        """Let the last bytes leave, for a bounded time, and close."""
        with contextlib.suppress(OSError, termios.error):
            deadline_s = time.monotonic() + DRAIN_S
            while self._waiting_to_leave() and time.monotonic() < deadline_s:
                time.sleep(0.001)
            if self._waiting_to_leave():  # or the kernel's close waits up to 30 s for a stalled device
                termios.tcflush(self._descriptor, termios.TCOFLUSH)
        with contextlib.suppress(OSError, termios.error):
            fcntl.ioctl(self._descriptor, termios.TIOCNXCL)
        with contextlib.suppress(OSError, termios.error):
            self._serial.close()

    def _receive(self) -> bytes:
        """Return what has arrived; an empty line is not read.

        Reading one waits, O_NONBLOCK or not, for bytes that the kernel has not yet carried to this end, and
        who carries them has no priority: 0.1 s under load.
        """
        received = b""
        for _ in range(READS_A_POLL):
            try:
                if not self._count(termios.FIONREAD):
                    break
                chunk = os.read(self._descriptor, READ_BYTES)
            except BlockingIOError:
                break
            except (OSError, termios.error) as error:
                raise self._lost(error) from error
            received += chunk
            if len(chunk) < READ_BYTES:
                break
        return received

    def _waiting_to_leave(self) -> int:
        return self._count(termios.TIOCOUTQ)

    def _count(self, request: int) -> int:
        """Return how many bytes wait in the kernel, on the way in or out."""
        count = array.array("i", [0])
        fcntl.ioctl(self._descriptor, request, count)
        return count[0]

    def _keep_others_out(self) -> None:
        """Refuse other openers in the kernel too: pyserial's lock stops only those who ask for it.

        Not on a pseudo-terminal: that keeps the mark after its owner was killed, and nobody could ever
        open it again.
        """
        if os.major(os.fstat(self._descriptor).st_rdev) not in _PSEUDO_TERMINAL_MAJORS:
            with contextlib.suppress(OSError, termios.error):
                fcntl.ioctl(self._descriptor, termios.TIOCEXCL)

    def _keep_line_up_on_close(self) -> None:
        """Switch hang-up-on-close off: the falling line resets many boards."""
        with contextlib.suppress(OSError, termios.error):
            attributes = termios.tcgetattr(self._descriptor)
            attributes[2] &= ~termios.HUPCL
            termios.tcsetattr(self._descriptor, termios.TCSANOW, attributes)

    def _lost(self, error: Exception) -> PortLostError:
        return PortLostError(
            f"{self.path} is gone ({_reason(error)}); check the board's plug and power, "
            "it is opened again by itself while the car is disarmed"
        )


def _open_error(path: str, error: Exception) -> BoardError:
    """Return the sentence for a port that cannot be opened."""
    number = getattr(error, "errno", None)
    if number in (errno.EAGAIN, errno.EWOULDBLOCK, errno.EBUSY):
        return BoardBusyError(
            f"{path} is held by another process, allowed is one; stop the other vehicle or terminal first"
        )
    if number in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
        return BoardNotFoundError(
            f"{path} does not exist; plug the board in, or correct the board's port in the configuration "
            "(lapwing doctor lists the ports that are there)"
        )
    if number in (errno.EACCES, errno.EPERM):
        return BoardNotFoundError(
            f"{path} may not be opened by this user; add the user to the group dialout and log in again"
        )
    if not _is_character_device(path):
        return BoardNotFoundError(
            f"{path} is not a serial port; correct the board's port in the configuration "
            "(lapwing doctor lists the ports that are there)"
        )
    return BoardNotFoundError(f"{path} cannot be opened ({_reason(error)}); unplug the board and plug it in")


def _is_character_device(path: str) -> bool:
    try:
        return stat.S_ISCHR(os.stat(path).st_mode)
    except OSError:
        return False


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
