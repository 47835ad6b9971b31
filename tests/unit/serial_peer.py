"""The other end of a board driver's port in tests: a pseudo-terminal, and the count of what crossed it."""

import array
import contextlib
import fcntl
import os
import select
import termios
import time
import tty

LINE_ROOM_BYTES = 4095  # of what nobody has read


class SerialPeer:
    """A plug that can be put in and pulled out; what it answers is a child's business."""

    def __init__(self, path):
        self.path = path
        self.plug_in()

    def plug_in(self):
        self.master, self._slave = os.openpty()  # kept open, or the terminal ends with its first user
        tty.setraw(self._slave)
        os.set_blocking(self.master, False)
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        self.path.symlink_to(os.ttyname(self._slave))
        self.bytes_heard = self.bytes_said = 0

    def unplug(self):
        os.close(self._slave)
        os.close(self.master)
        self.path.unlink()
        self.master = None

    def say(self, data):
        """Say it, and wait until it can be read: the kernel carries bytes to the other end later."""
        total = min(self._unread() + len(data), LINE_ROOM_BYTES)
        assert os.write(self.master, data) == len(data)
        self.bytes_said += len(data)
        deadline = time.monotonic() + 5.0
        while self._unread() < total:
            assert time.monotonic() < deadline
            time.sleep(1e-4)

    def _unread(self):
        count = array.array("i", [0])
        fcntl.ioctl(self._slave, termios.FIONREAD, count)
        return count[0]

    def receive(self, total):
        """Read until `total` bytes have come since the plug went in; return the new ones."""
        deadline = time.monotonic() + 2.0
        data = b""
        while self.bytes_heard < total and time.monotonic() < deadline:
            select.select([self.master], [], [], 0.1)
            with contextlib.suppress(BlockingIOError):
                chunk = os.read(self.master, 4096)
                self.bytes_heard += len(chunk)
                data += chunk
        assert self.bytes_heard == total
        return data


class SerialBench:
    """A driver, its peer and their clock; time passes only when somebody waits."""

    def __init__(self, peer):
        self.now_ns = 1_000_000_000
        self.peer = peer
        self.plugged_at = 0  # bytes that the driver had written when the plug went in
        self.read_at = 0

    def poll(self):
        """Poll until everything that the peer said was read."""
        deadline = time.monotonic() + 2.0
        status = self.board.poll(self.now_ns)
        while self.peer.master is not None and self.board.bytes_read - self.read_at < self.peer.bytes_said:
            assert time.monotonic() < deadline
            status = self.board.poll(self.now_ns)
        return status

    def unplug(self):
        self.peer.unplug()

    def plug_in(self):
        self.peer.plug_in()
        self.plugged_at, self.read_at = self.board.bytes_written, self.board.bytes_read
