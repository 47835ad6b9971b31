"""Opens a lost port again without making the loop wait for the kernel."""

import threading
from collections.abc import Callable

from vehicle.board.port import SerialPort
from vehicle.errors import BoardError

FIRST_DELAY_S = 0.2
LONGEST_DELAY_S = 2.0


class Reopener:
    """Tries again at growing intervals, each time in a thread that lives as long as one `open`."""

    def __init__(self, open_port: Callable[[], SerialPort]) -> None:
        self.allowed = False
        """Set by the driver's owner: only while the car is disarmed."""
        self.problem = ""
        """Why the last attempt failed."""
        self._open_port = open_port
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._opened: SerialPort | None = None
        self._closed = False
        self._delay_s = FIRST_DELAY_S
        self._next_ns: int | None = None

    def poll(self, now_ns: int) -> SerialPort | None:
        """Start an attempt when one is due; return the port that one has opened, once."""
        if self._thread is None:
            if self._next_ns is None:
                self.postpone(now_ns)
            elif self.allowed and now_ns >= self._next_ns:
                self._thread = threading.Thread(target=self._attempt, name="board-open", daemon=True)
                self._thread.start()
            return None
        if self._thread.is_alive():
            return None
        self._thread = None
        self.postpone(now_ns)
        with self._lock:
            opened, self._opened = self._opened, None
        return opened

    def postpone(self, now_ns: int) -> None:
        """Wait before the next attempt, longer each time."""
        self._next_ns = now_ns + int(self._delay_s * 1e9)
        self._delay_s = min(2.0 * self._delay_s, LONGEST_DELAY_S)

    def succeeded(self) -> None:
        """Begin with short waits again, the next time that the port is lost."""
        self.problem = ""
        self._delay_s = FIRST_DELAY_S
        self._next_ns = None

    def close(self) -> None:
        """Give up, and close what an attempt in progress opens."""
        with self._lock:
            self._closed = True
            opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def _attempt(self) -> None:
        try:
            port = self._open_port()
        except BoardError as error:
            self.problem = str(error)
            return
        with self._lock:
            if not self._closed:
                self._opened = port
                return
        port.close()
