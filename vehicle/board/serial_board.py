"""The life of a board at a serial port, whatever it speaks: opened, greeted, lost, opened again, closed."""

import abc
import math
from collections.abc import Callable

from vehicle.board.base import BoardCapabilities, NeutralSpan
from vehicle.board.port import PortLostError, SerialPort
from vehicle.board.reopener import Reopener
from vehicle.errors import BoardError, BoardNotFoundError, BoardSilentError
from vehicle.messages import BoardStatus, DriveCommand

HANDSHAKE_S = 2.5  # a bootloader holds an ATmega328P back for up to 2 s
GREET_AGAIN_S = 1.0  # 256 sequences last 2.1 s at the fastest tick of 120 Hz
WAIT_S = 0.010  # between two looks at the line, outside the loop
GOODBYE_COMMANDS = 3


class SerialBoard(abc.ABC):
    """A driver without its protocol, which a child adds. See `vehicle.board.base.Board` for the contract.

    While it is *greeting*, the port is open and the board has still to say what it is: nothing else is
    sent. `now_ns` and `wait` (called with seconds, may return early) serve the calls that wait. In
    lockstep they are the world's clock, which advances while somebody waits.
    """

    KIND: str
    """What it is, in a description."""
    NOUN: str
    """What it is called in the middle of a sentence."""

    def __init__(self, path: str, now_ns: Callable[[], int], wait: Callable[[float], None] | None) -> None:
        self.bytes_written = 0
        self.bytes_read = 0
        self.description = f"{self.KIND}, {path}, not open"
        self.capabilities = BoardCapabilities()
        self._path = path
        self._now_ns = now_ns
        self._wait = wait
        self._port: SerialPort | None = None
        self._reopener = Reopener(lambda: SerialPort(path))
        self._may_open = False
        self._unread = b""
        """Received, and not yet a whole answer."""

        self._greeting = False
        self._greet_until_ns = 0
        self._greeting_bytes = 0
        """Received since the greeting began."""
        self._refusal: BoardError | None = None
        """Why the last greeting failed."""
        self._identified = False
        self._identified_once = False
        self._boots = 0

        self._acked_sent_ns = 0
        self._received_ns = 0
        self._neutral = NeutralSpan()

        self._lost_problem = ""
        self._write_problem = ""

    # --- what every driver does alike ---

    @property
    def bytes_arrived(self) -> int:
        """Bytes received since the driver was made, those included that `poll` has still to read."""
        return self.bytes_read + (self._port.collect() if self._port is not None else 0)

    @property
    def is_open(self) -> bool:
        """Whether there is a port to read from."""
        return self._port is not None

    def open(self) -> None:
        """Open the port and shake hands; raises BoardError children, after which `poll` may still open it."""
        self._may_open = True
        try:
            port = SerialPort(self._path)
        except BoardError as error:
            self._lost_problem = str(error)
            raise
        self._attach(port, self._now_ns())
        while self._greeting:
            self._pause()
            self.poll(self._now_ns())
        if self._refusal is not None:
            raise self._refusal

    def write(self, command: DriveCommand, now_ns: int) -> None:
        """Send one command without waiting."""
        if self._port is None or self._greeting:
            return
        finite = math.isfinite(command.steering_us) and math.isfinite(command.throttle_us)
        self._write_problem = ""
        self._write_command(command, now_ns, arm=command.armed and finite)
        if not finite:
            self._write_problem = (
                f"a command was {command.steering_us} / {command.throttle_us} us, allowed are finite pulses; "
                "neutral was sent instead, report this as a bug"
            )

    def poll(self, now_ns: int) -> BoardStatus:
        """Read what has arrived and return the newest status."""
        if self._port is None and self._may_open:
            port = self._reopener.poll(now_ns)
            if port is not None:
                self._attach(port, now_ns)
        if self._port is not None:
            data = self._read(now_ns)
            if self._port is not None:  # it may have been lost right there
                self._take(data, now_ns)
        if self._port is not None and not self._greeting and self._is_silent(now_ns):
            self._greet(now_ns)
        if self._greeting:
            self._go_on_greeting(now_ns)
        return self._board_status()

    def allow_reopen(self, allowed: bool) -> None:
        """Say whether a lost port may be opened again."""
        self._reopener.allowed = allowed

    def close(self) -> None:
        """Send three disarmed commands if possible, and close the port."""
        self._may_open = False
        self._reopener.close()
        goodbye = DriveCommand(armed=False, steering_us=0.0, throttle_us=0.0)  # sent as this car's neutral
        for _ in range(GOODBYE_COMMANDS):
            self.write(goodbye, self._now_ns())
        self._detach()

    # --- what a driver adds ---

    @abc.abstractmethod
    def _begin_handshake(self, now_ns: int) -> None:
        """Send the first question; what was sent before it can no longer be acknowledged."""

    @abc.abstractmethod
    def _shake_hands(self, now_ns: int) -> None:
        """Ask what is to be asked next; call `_identify` when the board has said everything."""

    @abc.abstractmethod
    def _silence(self) -> str:
        """Return why the greeting came to nothing, as a sentence."""

    @abc.abstractmethod
    def _take(self, data: bytes, now_ns: int) -> None:
        """Understand what was received."""

    @abc.abstractmethod
    def _write_command(self, command: DriveCommand, now_ns: int, *, arm: bool) -> None:
        """Send one command, disarmed and neutral if not `arm`; its pulses are finite if `arm`."""

    @abc.abstractmethod
    def _unanswered_since_ns(self) -> int:
        """Return when the oldest command was sent that waits for its answer; 0: none waits."""

    @abc.abstractmethod
    def _forget(self) -> None:
        """Forget what the board last said, and what was sent: the port is closed."""

    @abc.abstractmethod
    def _board_status(self) -> BoardStatus:
        """Return what is known now."""

    @abc.abstractmethod
    def _protocol_problem(self) -> str:
        """Return what is wrong with a board that answers, as a sentence, or nothing."""

    # --- the line ---

    @property
    def _connected(self) -> bool:
        return self._port is not None and self._identified

    def _attach(self, port: SerialPort, now_ns: int) -> None:
        """Begin with a port that was just opened."""
        self._port = port
        self._unread = b""
        self._greet(now_ns)

    def _detach(self) -> None:
        if self._port is None:
            return
        self._port.close()
        self._port = None
        self._greeting = False
        self._neutral.restart()
        self._forget()

    def _lose(self, error: BoardError, now_ns: int) -> None:
        """Give the port up; the reopener tries again when it may."""
        self._refusal = error
        self._lost_problem = str(error)
        self._detach()
        self._identified = False
        self._reopener.postpone(now_ns)

    def _send(self, frame: bytes, now_ns: int) -> bool:
        """Return whether the whole frame was taken by the line."""
        assert self._port is not None
        try:
            taken = self._port.write(frame)
        except PortLostError as error:
            self._lose(BoardNotFoundError(str(error)), now_ns)
            return False
        self.bytes_written += taken
        if taken < len(frame):
            self._write_problem = (
                f"{self._path} took {taken} of {len(frame)} bytes: {self.NOUN} has stopped reading; "
                "check its cable, then unplug it and plug it in"
            )
            return False
        return True

    def _read(self, now_ns: int) -> bytes:
        """Return what has arrived, at once; nothing when the port was lost."""
        assert self._port is not None
        try:
            data = self._port.read()
        except PortLostError as error:
            self._lose(BoardNotFoundError(str(error)), now_ns)
            return b""
        self.bytes_read += len(data)
        self._greeting_bytes += len(data)
        return data

    def _pause(self) -> None:
        """Let a little time pass, outside the loop."""
        if self._wait is not None:
            self._wait(WAIT_S)
        elif self._port is not None:
            self._port.wait_readable(WAIT_S)

    # --- the greeting ---

    def _is_silent(self, now_ns: int) -> bool:
        """True when commands have gone unanswered for so long that answers could soon be mistaken."""
        since_ns = self._unanswered_since_ns()
        return since_ns != 0 and now_ns - since_ns > GREET_AGAIN_S * 1e9

    def _greet(self, now_ns: int) -> None:
        self._greeting = True
        self._greet_until_ns = now_ns + int(HANDSHAKE_S * 1e9)
        self._greeting_bytes = 0
        self._refusal = None
        self._write_problem = ""
        self._neutral.restart()
        self._begin_handshake(now_ns)

    def _go_on_greeting(self, now_ns: int) -> None:
        """Give up when it takes too long."""
        if now_ns >= self._greet_until_ns:
            self._lose(BoardSilentError(self._silence()), now_ns)
        else:
            self._shake_hands(now_ns)

    def _identify(self, description: str) -> None:
        """End the greeting: the board has said what it is."""
        if self._identified_once and not self._identified:  # it was away, and nobody knows what it did
            self._boots += 1
        self._identified = self._identified_once = True
        self._greeting = False
        self._lost_problem = ""
        self.description = description
        self._reopener.succeeded()

    # --- what is said of it ---

    def _note_acknowledged(self, sent_ns: int, now_ns: int, *, neutral: bool) -> None:
        """Note an answer that was read now, to the command that was sent then."""
        self._acked_sent_ns = sent_ns
        self._received_ns = now_ns
        self._neutral.acknowledged(neutral=neutral, now_ns=now_ns)

    def _problem(self) -> str:
        """Return the sentence that matters most."""
        if not self._connected:  # while it is greeted again, what was wrong before still is
            return self._lost_problem or self._reopener.problem
        if self._greeting:
            return f"{self.NOUN} has stopped answering; check its cable and power"
        return self._protocol_problem()
