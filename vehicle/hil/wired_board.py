"""A board with its cable: the bytes' time on the line, and the faults of board and line, in virtual time."""

import msgspec

from vehicle.hil import own_board
from vehicle.hil.boards import WIRINGS, AcceptedCommand, EmulatedBoard, PulseEvent
from vehicle.hil.faults import NEVER_NS, FaultChange, FaultSchedule, Part
from vehicle.hil.ill_board import IllOwnBoard
from vehicle.hil.maestro_board import (
    LINE_BAUD,
    MaestroBoard,
    MaestroSettings,
    factory_maestro,
    prepared_maestro,
)
from vehicle.hil.settings import HilSettings
from vehicle.hil.uart import FaultyLine, SerialLine, randomise_bytes

ADAPTER_BYTES = 4096
OTHER_PROGRAMS_LINE = b"AT\r\n"  # as ModemManager greets every new serial port
OTHER_DEVICES_REPLY = b"\r\nERROR\r\n"
NO_TIMEOUT_S = 1e6
SERIAL_PARTS = frozenset({Part.SERIAL_OUT, Part.SERIAL_IN, Part.BOARD})


class WiredBoard:
    """What stands between a port and the pulses. The caller moves bytes and time."""

    def __init__(self, settings: HilSettings, faults: FaultSchedule, now_ns: int) -> None:
        self._faults = faults
        is_own = settings.board == "own"
        baud = own_board.BAUD if is_own else LINE_BAUD
        self.expected_baud = own_board.BAUD if is_own else None
        """What the host must have set; None where any will do."""
        self._from_host = SerialLine(
            baud, delimiter=0 if is_own else None, damage=FaultyLine(Part.SERIAL_OUT, faults)
        )
        self._to_host = to_host = SerialLine(baud, damage=FaultyLine(Part.SERIAL_IN, faults))
        self.board: EmulatedBoard
        if is_own:
            self.board = IllOwnBoard(now_ns, stored=WIRINGS[settings.wiring], line=to_host)
        else:
            self.board = MaestroBoard(now_ns, settings=_maestro_settings(settings), line=to_host)
        self._wiring = self.board.wiring
        self._battery_v = 0.0
        self._wheel_ticks = 0
        self._next_brown_out_ns = NEVER_NS
        self.is_plugged = True
        """Whether the port is there for the host."""
        self.is_another_device = False
        """Whether the port is somebody else's, under the board's name."""
        self._others_reply = b""

    def write(self, data: bytes, now_ns: int) -> None:
        """Take bytes that the host wrote now."""
        if not self.is_plugged:
            return
        if self.is_another_device:
            self._others_reply += OTHER_DEVICES_REPLY
            return
        if self._strikes("second_opener"):
            data += OTHER_PROGRAMS_LINE
        self._from_host.push(data, now_ns)

    def read(self, now_ns: int) -> bytes:
        """Return the bytes that have reached the host by now."""
        data = self.board.transmit(now_ns)
        if self.is_another_device:
            data, self._others_reply = self._others_reply, b""
        return data if self.is_plugged else b""

    @property
    def is_backed_up(self) -> bool:
        """Whether the host has written more than an adapter holds, and must wait."""
        return self._from_host.pending > ADAPTER_BYTES

    def converse(self, data: bytes, now_ns: int) -> bytes:
        """Take bytes from the host and return the replies while time stands still: a handshake."""
        self.write(data, now_ns)
        self.board.receive(self._from_host.pop(NEVER_NS), now_ns)
        self._from_host.clear()
        replies = self.board.flush()
        return self.read(now_ns) if self.is_another_device else replies if self.is_plugged else b""

    def measure(self, battery_v: float, wheel_ticks: int, now_ns: int) -> None:
        """Let the board measure this from now on."""
        self._battery_v, self._wheel_ticks = battery_v, wheel_ticks
        self.board.set_inputs(battery_v, wheel_ticks, self._stop_is_held(), now_ns)

    def _stop_is_held(self) -> bool:
        return any(self._faults.is_on(Part.BOARD, fault) for fault in ("stop_input", "rc_takeover"))

    def advance(self, now_ns: int) -> list[PulseEvent]:
        """Let everything due up to now happen, in order; return the pulses that started."""
        while (arrival_ns := min(self._from_host.next_arrival_ns(), self._next_brown_out_ns)) <= now_ns:
            if arrival_ns == self._next_brown_out_ns:
                self._brown_out(arrival_ns)
            else:
                self.board.receive(self._from_host.pop(arrival_ns), arrival_ns)
        return self.board.advance(now_ns)

    def take_accepted(self) -> list[AcceptedCommand]:
        """Return the commands accepted since the last call."""
        return self.board.take_accepted()

    def next_event_ns(self) -> int:
        """Return when something is next due, replies apart."""
        return min(self._from_host.next_arrival_ns(), self.board.next_event_ns(), self._next_brown_out_ns)

    def next_read_ns(self) -> int:
        """Return when there is next something to read."""
        return self.board.next_transmit_ns()

    def garble_for_wrong_baud(self, data: bytes) -> bytes:
        """Return what a receiver at another rate makes of these bytes."""
        return randomise_bytes(data, 1.0, self._faults.random(Part.SERIAL_OUT, "garbage"))

    def apply(self, change: FaultChange, now_ns: int) -> None:
        """Carry out a fault of the board or its lines, which the schedule has just switched."""
        if change.part not in SERIAL_PARTS:
            return
        line = self._from_host if change.part is Part.SERIAL_OUT else self._to_host
        if change.fault == "flood":
            line.push(self._noise(change), now_ns)
            return
        if change.fault == "stall":
            line.stall(now_ns + round(change.amount * 1e9))
            return
        if change.part is Part.SERIAL_OUT:
            self._from_host.push(b"", now_ns)  # what a stuck line held back
            return
        if change.part is not Part.BOARD:
            return
        match change.fault:
            case "off":
                self.board.set_power(not change.on, now_ns)
            case "stuck":
                self.board.set_stuck(change.on, now_ns)
            case "wrong":
                self._store_another_cars_values(change, now_ns)
            case "not_stored":
                self.board.set_wiring(None if change.on else self._wiring, now_ns)
            case "slow":
                self.board.set_slow(change.amount if change.on else None, now_ns)
            case "intermittent":
                self._next_brown_out_ns = now_ns + self._brown_out_interval_ns() if change.on else NEVER_NS
            case "reset":
                self.board.reset(now_ns, change.amount)
            case "hang":
                self.board.hang(now_ns)
            case "stop_input" | "rc_takeover":
                self.board.set_inputs(self._battery_v, self._wheel_ticks, self._stop_is_held(), now_ns)
            case "watchdog_slow":
                self.board.set_watchdog(change.amount if change.on else None)
            case "watchdog_off":
                self.board.set_watchdog(NO_TIMEOUT_S if change.on else None, is_told=False)
            case "latched":
                self.board.latch_error(round(change.amount), now_ns)
            case "script":
                self.board.set_script(change.on, now_ns)
            case "another_device":
                self.is_another_device = change.on
                self._others_reply = b""
                self._from_host.clear()
                self.board.flush()
            case "version":
                self.board.set_version(int(change.amount) if change.on else None)
            case "unplugged":
                self.is_plugged = not change.on
                self._from_host.clear()
            case _:
                pass  # garbage and delayed live on the line

    def _strikes(self, fault: str) -> bool:
        share = self._faults.amount(Part.BOARD, fault)
        return share is not None and self._faults.random(Part.BOARD, fault).random() < share

    def _noise(self, change: FaultChange) -> bytes:
        """Return bytes none of which ends a frame, the first two as a frame of another protocol begins."""
        rng = self._faults.random(change.part, change.fault)
        return b"\x02\xff" + bytes(rng.randrange(1, 256) for _ in range(round(change.amount)))

    def _store_another_cars_values(self, change: FaultChange, now_ns: int) -> None:
        wiring = self._wiring
        if change.on and wiring is not None:
            shifted = {name: us + round(change.amount) for name, us in msgspec.structs.asdict(wiring).items()}
            wiring = msgspec.structs.replace(wiring, **shifted)
        self.board.set_wiring(wiring, now_ns)

    def _brown_out(self, now_ns: int) -> None:
        self.board.reset(now_ns)
        self._next_brown_out_ns = now_ns + self._brown_out_interval_ns()

    def _brown_out_interval_ns(self) -> int:
        interval_s = self._faults.amount(Part.BOARD, "intermittent") or 1.0
        return round(interval_s * self._faults.random(Part.BOARD, "intermittent").uniform(0.5, 1.5) * 1e9)


def _maestro_settings(settings: HilSettings) -> MaestroSettings:
    """Return what the maker's own program would have set on this Maestro."""
    defects = settings.maestro
    maestro = factory_maestro() if defects.factory_settings else prepared_maestro(WIRINGS[settings.wiring])
    return msgspec.structs.replace(
        maestro,
        timeout_s=maestro.timeout_s if defects.timeout_s is None else defects.timeout_s,
        crc=maestro.crc if defects.crc is None else defects.crc,
        usb_dual_port=defects.usb_dual_port,
        script_is_running=defects.script_is_running,
        script_throttle_us=WIRINGS[settings.wiring].throttle_min_us,
        channels=6 if defects.micro else 12,
    )
