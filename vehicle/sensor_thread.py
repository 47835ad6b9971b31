"""A sensor's thread: takes every reading from its source, keeps the newest, opens again what is lost."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from vehicle.clock import Bell
from vehicle.errors import SensorError

READ_TIMEOUT_S = 0.1  # how soon the thread notices that it should stop
REOPEN_FIRST_S = 0.1
REOPEN_MAX_S = 2.0
DRAIN_LIMIT = 64  # readings skipped in one go; a source that floods must not keep the newest from the loop
RATE_WINDOW_READINGS = 30
STOP_TIMEOUT_S = 5.0


class Numbered(Protocol):
    """What every reading has."""

    @property
    def number(self) -> int:
        """Counts from 0 at the source; a gap means that some were lost."""
        ...

    @property
    def stamp_ns(self) -> int:
        """When the driver handed it over."""
        ...


RawT = TypeVar("RawT", bound=Numbered)
ReadingT = TypeVar("ReadingT", bound=Numbered)
RawT_co = TypeVar("RawT_co", bound=Numbered, covariant=True)


class SensorSource(Protocol[RawT_co]):
    """Something that gives readings; used by one thread, closed and opened again after a failure."""

    @property
    def description(self) -> str:
        """For people: what it is and where."""

    @property
    def silence_limit_s(self) -> float | None:
        """How long without a reading until it is worth opening again; None: never."""

    def open(self) -> None:
        """Open and start; may block for a few seconds; raises SensorError."""

    def read(self, timeout_s: float) -> RawT_co | None:
        """Return the next reading, or None after the time-out; raises SensorError when it is gone.

        With a time-out of 0 only a reading that is already waiting is returned.
        """

    def close(self) -> None:
        """Close; open again works afterwards. Never raises, and a second call does nothing."""


class SensorThread(Generic[RawT, ReadingT]):
    """The newest reading of one source, kept by a thread of its own.

    `latest`, `lost`, `problem` and the waits may be used from any thread. A child says in `_interpret`
    what becomes of a raw reading.
    """

    sensor = "sensor"
    """For people and as the thread's name."""
    reading = "reading"
    """For people: what it gives."""

    def __init__(
        self,
        source: SensorSource[RawT],
        *,
        wanted: bool = True,
        on_start: Callable[[], object] | None = None,
    ) -> None:
        """Nothing is opened before `start`, nor while it is not wanted.

        `on_start` is called in the sensor's thread, first of all.
        """
        self._opened_source = source
        self._on_start = on_start
        self._arrived = threading.Condition()
        self.bell = Bell()
        """Rings for the loop whenever a reading has come."""
        self._latest: ReadingT | None = None
        self._received_number = -1  # of the newest reading that came, usable or not
        self._problem = ""
        self._lost = False
        self._number_offset = 0
        self._stamps_ns: deque[int] = deque(maxlen=RATE_WINDOW_READINGS)
        self.bad_readings = 0
        """Readings that could not be used, since the start."""
        self.skipped_readings = 0
        """Readings not looked at because a newer one was already there."""

        self._stopping = threading.Event()
        self._wanted = threading.Event()
        if wanted:
            self._wanted.set()
        self._thread = threading.Thread(target=self._run, name=self.sensor, daemon=True)

    def start(self) -> None:
        """Begin to open the source and keep it open, in the sensor's thread; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and close the source; waits for it a few seconds at most."""
        self._stopping.set()
        self._wanted.set()
        if self._thread.is_alive():
            self._thread.join(STOP_TIMEOUT_S)

    def want(self, wanted: bool) -> None:
        """Say whether anybody needs the readings; without that the source is closed and costs nothing."""
        if wanted:
            self._wanted.set()
        elif not self._stopping.is_set():
            self._wanted.clear()

    @property
    def is_wanted(self) -> bool:
        """Whether the source is read, or tried."""
        return self._wanted.is_set()

    def latest(self) -> ReadingT | None:
        """Return the newest reading, or None before the first."""
        return self._latest

    def wait_newer(self, number: int, timeout_s: float) -> bool:
        """Return True as soon as a reading with a higher number is there, False after the time-out."""
        return self._wait(lambda: self._latest is not None and self._latest.number > number, timeout_s)

    def wait_stamped(self, stamp_ns: int, timeout_s: float) -> bool:
        """Return True as soon as a reading of this moment or later is there, False after the time-out."""
        return self._wait(lambda: self._latest is not None and self._latest.stamp_ns >= stamp_ns, timeout_s)

    def await_number(self, number: int, timeout_s: float) -> bool:
        """Return True as soon as this reading or a later one has come, False after the time-out.

        Unusable ones count: in lockstep a broken reading must not be waited for forever.
        """
        return self._wait(lambda: self._received_number >= number, timeout_s)

    @property
    def lost(self) -> bool:
        """Whether the source could not be opened, is gone or has ended."""
        return self._lost

    @property
    def problem(self) -> str:
        """Why it is lost, in words; empty while it works."""
        return self._problem

    @property
    def measured_rate_hz(self) -> float | None:
        """Readings a second over the last ones that came; None until enough have."""
        stamps_ns = tuple(self._stamps_ns)
        if len(stamps_ns) < RATE_WINDOW_READINGS or stamps_ns[-1] <= stamps_ns[0]:
            return None
        return (len(stamps_ns) - 1) * 1e9 / (stamps_ns[-1] - stamps_ns[0])

    def _wait(self, is_there: Callable[[], bool], timeout_s: float) -> bool:
        if is_there():
            return True
        if timeout_s <= 0.0:
            return False
        with self._arrived:
            return self._arrived.wait_for(is_there, timeout_s)

    # --- the sensor's thread

    def _interpret(self, number: int, raw: RawT) -> ReadingT | None:
        """Return the reading under this number, or None when it cannot be used."""
        raise NotImplementedError

    def _between(self) -> None:
        """Do what is to be done with the open source before the next reading."""

    def _after(self, reading: ReadingT) -> None:
        """Do what is left once a reading is there for the loop."""

    def _run(self) -> None:
        if self._on_start is not None:
            self._on_start()
        try:
            while not self._stopping.is_set():
                self._wanted.wait()
                self._keep_open()
                self._forget()
        finally:
            self._lost = True
            self._problem = self._problem or f"the {self.sensor} was stopped"

    @property
    def _is_reading(self) -> bool:
        return self._wanted.is_set() and not self._stopping.is_set()

    def _forget(self) -> None:
        """Nobody wants it any more: what was read last must not look like news later."""
        if not self._stopping.is_set():
            self._latest, self._lost, self._problem = None, False, ""
            self._stamps_ns.clear()

    def _keep_open(self) -> None:
        pause_s = REOPEN_FIRST_S
        while self._is_reading:
            number_before = self._received_number
            try:
                self._opened_source.open()
                self._read_on()
            except SensorError as error:
                self._problem = str(error)
                self._lost = True
            finally:
                self._opened_source.close()
            has_worked = self._received_number > number_before
            pause_s = REOPEN_FIRST_S if has_worked else min(2 * pause_s, REOPEN_MAX_S)
            if self._is_reading:
                self._stopping.wait(pause_s)

    def _read_on(self) -> None:
        """Hand over readings; raises SensorError when the source is gone or was silent too long."""
        silent_since_s = time.monotonic()
        while self._is_reading:
            self._between()
            raw = self._opened_source.read(READ_TIMEOUT_S)
            if raw is not None:
                self._take(self._newest(raw))
                silent_since_s = time.monotonic()
                continue
            limit_s = self._opened_source.silence_limit_s
            if limit_s is not None and time.monotonic() - silent_since_s > limit_s:
                raise SensorError(
                    f"{self._opened_source.description} gave no {self.reading} for {limit_s:g} s; "
                    "it is opened again"
                )

    def _newest(self, raw: RawT) -> RawT:
        """Return the last of the readings that are already waiting."""
        for _ in range(DRAIN_LIMIT):
            newer = self._opened_source.read(0.0)
            if newer is None:
                break
            self.skipped_readings += 1
            raw = newer
        return raw

    def _take(self, raw: RawT) -> None:
        """Make a reading the latest, or count it as bad."""
        number = self._monotone(raw.number)
        reading = self._interpret(number, raw)
        if reading is None:
            self.bad_readings += 1
        else:
            self._stamps_ns.append(raw.stamp_ns)
            self._lost, self._problem = False, ""
        with self._arrived:
            self._latest = reading or self._latest
            self._received_number = number
            self._arrived.notify_all()
        self.bell.ring()
        if reading is not None:
            self._after(reading)

    def _monotone(self, number: int) -> int:
        """Return a number above all before, also when the source has begun to count anew."""
        if number + self._number_offset <= self._received_number:
            self._number_offset = self._received_number + 1 - number
        return number + self._number_offset
