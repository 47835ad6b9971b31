"""One direction of a serial line: bytes arrive when their last bit has, and the line can be broken."""

from collections import deque
from random import Random
from typing import Protocol

from vehicle.hil.faults import NEVER_NS, FaultSchedule, Part

BITS_PER_BYTE = 10  # 8N1: start bit, eight data bits, stop bit
ADAPTER_BAUD = 120_000_000  # USB's full speed: what an adapter has collected is there at once
CAPACITY_BYTES = 65536  # a slow line cannot hold more than a host's own buffers do; what is beyond is lost


class _Chunk:
    """Bytes that follow each other without a gap."""

    __slots__ = ("baud", "data", "start_ns", "taken")

    def __init__(self, start_ns: int, data: bytes, baud: int) -> None:
        self.start_ns = start_ns
        self.data = data
        self.baud = baud
        self.taken = 0

    def arrival_ns(self, index: int) -> int:
        """Return when the byte at `index` has fully arrived."""
        return self.start_ns + (index + 1) * BITS_PER_BYTE * 1_000_000_000 // self.baud

    def arrived(self, now_ns: int) -> int:
        """Return how many bytes have fully arrived: the largest n with arrival_ns(n - 1) <= now."""
        if now_ns < self.start_ns:
            return 0
        count = ((now_ns - self.start_ns + 1) * self.baud - 1) // (BITS_PER_BYTE * 1_000_000_000)
        return min(count, len(self.data))


class SerialLine:
    """Bytes on their way, at line rate, in virtual time.

    `delimiter` is a byte at which the receiver may act at once: an event of its own. Otherwise events
    are the ends of what was pushed together.
    """

    def __init__(self, baud: int, delimiter: int | None = None, damage: "LineDamage | None" = None) -> None:
        self._baud = baud
        self.byte_ns = BITS_PER_BYTE * 1_000_000_000 // baud
        self._delimiter = delimiter
        self._damage = damage
        self._chunks: deque[_Chunk] = deque()
        self._free_ns = 0
        self._stalled_until_ns = 0
        self._after_delimiter = False
        self.pending = 0
        """Bytes on their way."""

    def stall(self, until_ns: int) -> None:
        """Let nothing that is handed over from now on begin its way before this time."""
        self._stalled_until_ns = until_ns

    def push(self, data: bytes, now_ns: int) -> None:
        """Hand bytes to the line."""
        baud = self._baud
        start_ns = max(now_ns, self._stalled_until_ns)
        split_ns = batch_ns = 0
        if self._damage is not None and self._damage.is_present():
            data, delay_ns, rate_frac = self._damage.apply(data)
            split_ns, batch_ns = self._damage.split_ns, self._damage.batch_ns
            start_ns += delay_ns
            baud = max(1, round(baud * rate_frac))
        if not data or self.pending + len(data) > CAPACITY_BYTES:
            return
        if split_ns:
            for place, byte in enumerate(data):
                self._append(_Chunk(max(start_ns + place * split_ns, self._free_ns), bytes((byte,)), baud))
            self._free_ns += split_ns
        elif batch_ns:
            collected_ns = _Chunk(start_ns, data, baud).arrival_ns(len(data) - 1)
            handed_over_ns = -(-collected_ns // batch_ns) * batch_ns
            self._append(_Chunk(max(handed_over_ns, self._free_ns), data, ADAPTER_BAUD))
        else:
            self._append(_Chunk(max(start_ns, self._free_ns), data, baud))

    def _append(self, chunk: _Chunk) -> None:
        self._chunks.append(chunk)
        self._free_ns = chunk.arrival_ns(len(chunk.data) - 1)
        self.pending += len(chunk.data)

    def pop(self, now_ns: int) -> bytes:
        """Return the bytes that have arrived by now and were not returned before."""
        arrived = b""
        while self._chunks:
            chunk = self._chunks[0]
            count = chunk.arrived(now_ns)
            if count > chunk.taken:
                arrived += chunk.data[chunk.taken : count]
                chunk.taken = count
            if count < len(chunk.data):
                break
            self._chunks.popleft()
        if arrived:
            self.pending -= len(arrived)
            self._after_delimiter = arrived[-1] == self._delimiter
        return arrived

    def next_arrival_ns(self) -> int:
        """Return when there is next something to act on."""
        if not self._chunks:
            return NEVER_NS
        chunk = self._chunks[0]
        if self._delimiter is None:
            return chunk.arrival_ns(len(chunk.data) - 1)
        # The first of two delimiters in a row ends a frame; the second ends nothing.
        skipped = chunk.taken
        if self._after_delimiter and chunk.data[skipped] == self._delimiter:
            skipped += 1
        found = chunk.data.find(self._delimiter, skipped)
        return chunk.arrival_ns(found if found >= 0 else len(chunk.data) - 1)

    def clear(self) -> None:
        """Lose everything that is on its way."""
        self._chunks.clear()
        self._free_ns = self._stalled_until_ns = 0
        self.pending = 0
        self._after_delimiter = False


class LineDamage(Protocol):
    """What a broken line does to what passes."""

    def is_present(self) -> bool:
        """Whether anything is wrong now."""
        ...

    def apply(self, data: bytes) -> tuple[bytes, int, float]:
        """Return what is left of the bytes, their delay in ns and the share of the line's rate."""
        ...

    @property
    def split_ns(self) -> int:
        """How long after the byte before each one comes, alone; 0: they follow each other."""
        ...

    @property
    def batch_ns(self) -> int:
        """How often an adapter hands over what has come; 0: at once."""
        ...


class FaultyLine:
    """The faults of one direction, as `vehicle.hil.faults` names them.

    What a board garbles or delays shows on the line from it, and its wrong rate on both, so that a line
    has the board's faults too.
    """

    def __init__(self, part: Part, faults: FaultSchedule) -> None:
        self._part = part
        self._parts = (part, Part.BOARD)
        self._faults = faults
        self._held = bytearray()
        self._group: list[bytes] = []
        """Replies that wait until they can come in reverse order."""
        self._last_good = b""

    def is_present(self) -> bool:
        """Whether `apply` has anything to do."""
        # A reply is remembered while all is well, to be repeated when the line gets stuck.
        is_broken = self._faults.any_on(self._part) or self._faults.is_on(Part.BOARD, "baud")
        return self._part is Part.SERIAL_IN or bool(self._held) or is_broken

    @property
    def split_ns(self) -> int:
        """How long after the byte before each one comes, alone; 0: they follow each other."""
        return round((self._faults.amount(self._part, "split") or 0.0) * 1e9)

    @property
    def batch_ns(self) -> int:
        """How often an adapter hands over what has come; 0: at once."""
        return round((self._faults.amount(self._part, "batched") or 0.0) * 1e9)

    def apply(self, data: bytes) -> tuple[bytes, int, float]:
        """Return what is left of the bytes, their delay in ns and the share of the line's rate."""
        if not any(self._faults.any_on(part) for part in self._parts):
            self._last_good = data
            return self._release() + data, 0, 1.0
        if self._faults.is_on(self._part, "off"):
            return b"", 0, 1.0
        if self._part is Part.SERIAL_IN and self._strikes(Part.BOARD, "second_opener"):
            return b"", 0, 1.0
        if self._faults.is_on(self._part, "stuck"):
            if self._part is Part.SERIAL_OUT:
                self._held += data
                return b"", 0, 1.0
            data = self._last_good
        if self._strikes(self._part, "intermittent"):
            return b"", 0, 1.0
        if self._faults.is_on(Part.BOARD, "baud"):
            data = randomise_bytes(data, 1.0, self._faults.random(self._part, "baud"))
        delay_s = 0.0
        if (most_s := self._faults.amount(self._part, "jitter")) is not None:
            delay_s = self._faults.random(self._part, "jitter").uniform(0.0, most_s)
        for part in self._parts if self._part is Part.SERIAL_IN else (self._part,):
            if (share := self._faults.amount(part, "garbage")) is not None:
                data = randomise_bytes(data, share, self._faults.random(part, "garbage"))
            delay_s += self._faults.amount(part, "delayed") or 0.0
        if (share := self._faults.amount(self._part, "wrong")) is not None:
            data = damage_bytes(data, share, self._faults.random(self._part, "wrong"))
        if (count := self._faults.amount(self._part, "reordered")) is not None:
            self._group.append(data)
            if len(self._group) < round(count):
                return b"", 0, 1.0
            data = b""
        rate_frac = self._faults.amount(self._part, "slow") or 1.0
        return self._release() + data, round(delay_s * 1e9), rate_frac

    def _strikes(self, part: Part, fault: str) -> bool:
        share = self._faults.amount(part, fault)
        return share is not None and self._faults.random(part, fault).random() < share

    def _release(self) -> bytes:
        held = bytes(self._held) + b"".join(reversed(self._group))
        self._held.clear()
        self._group.clear()
        return held


def randomise_bytes(data: bytes, share: float, rng: Random) -> bytes:
    """Return the data with this share of its bytes replaced by random ones."""
    return bytes(rng.randrange(256) if rng.random() < share else byte for byte in data)


def damage_bytes(data: bytes, share: float, rng: Random) -> bytes:
    """Return the data with this share of its bytes flipped, lost, doubled, or after a strange one."""
    damaged = bytearray()
    for byte in data:
        if rng.random() >= share:
            damaged.append(byte)
            continue
        match rng.randrange(4):
            case 0:
                damaged.append(byte ^ (1 << rng.randrange(8)))
            case 1:
                pass
            case 2:
                damaged += bytes((byte, byte))
            case _:
                damaged += bytes((rng.randrange(256), byte))
    return bytes(damaged)
