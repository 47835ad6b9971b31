"""A Pololu Maestro on its USB command port, emulated from its manual: commands, error word, homes.

What is left out: acceleration is taken and not applied (no driver here sets one), and both channels'
pulses start together, where the real one starts them in turn.
"""

from enum import IntFlag, StrEnum

import msgspec

from vehicle.hil.boards import PULSE_PERIOD_NS, AcceptedCommand, CarWiring, EmulatedBoard
from vehicle.hil.faults import NEVER_NS
from vehicle.hil.uart import SerialLine

LINE_BAUD = 640_000  # USB full speed hands over at most one packet of 64 bytes in a millisecond
QUARTERS_PER_US = 4
TIMEOUT_UNIT_NS = 10_000_000
LONGEST_TIMEOUT_S = 655.35
SCRIPT_PERIOD_NS = 100_000_000  # the stored script of this emulator moves its servo so often
MINI_SSC_CENTER_US = 1500.0
MINI_SSC_RANGE_US = 476.25  # the factory's 8-bit range; 127 is the centre

_SET_TARGET, _SET_SPEED, _SET_ACCELERATION = 0x84, 0x87, 0x89
_GET_POSITION, _GET_MOVING, _SET_MULTIPLE = 0x90, 0x93, 0x9F
_GET_ERRORS, _GO_HOME = 0xA1, 0xA2
_STOP_SCRIPT, _RESTART_SCRIPT, _RESTART_SCRIPT_WITH, _SCRIPT_STATUS = 0xA4, 0xA7, 0xA8, 0xAE
_POLOLU, _MINI_SSC = 0xAA, 0xFF
_DATA_LENGTHS = {
    _SET_TARGET: 3,
    _SET_SPEED: 3,
    _SET_ACCELERATION: 3,
    _GET_POSITION: 1,
    _GET_MOVING: 0,
    _GET_ERRORS: 0,
    _GO_HOME: 0,
    _STOP_SCRIPT: 0,
    _RESTART_SCRIPT: 1,
    _RESTART_SCRIPT_WITH: 3,
    _SCRIPT_STATUS: 0,
}


class MaestroError(IntFlag):
    """The error word: any of them sends every channel to its home."""

    BUFFER_FULL = 1 << 2
    CRC = 1 << 3
    PROTOCOL = 1 << 4
    TIMEOUT = 1 << 5


class Home(StrEnum):
    """What a channel does after power-on, after an error and on Go Home."""

    OFF = "off"
    IGNORE = "ignore"
    GO_TO = "go to"


class ChannelSettings(msgspec.Struct, frozen=True):
    """What the maker's own program sets for one channel; its factory values."""

    home: Home = Home.OFF
    home_us: float = 1500.0
    min_us: float = 992.0
    max_us: float = 2000.0


class MaestroSettings(msgspec.Struct, frozen=True):
    """What the maker's own program sets. The defaults here are a Maestro prepared for the car."""

    steering: ChannelSettings
    throttle: ChannelSettings
    steering_channel: int = 0
    throttle_channel: int = 1
    channels: int = 12
    """6 is a Micro, which has no Set Multiple Targets."""
    device_number: int = 12
    crc: bool = True
    timeout_s: float = 0.1
    """In steps of 10 ms; 0 is never, as it comes from the factory."""
    usb_dual_port: bool = True
    """False: a mode for its UART, in which the USB port does nothing at all."""
    script_is_running: bool = False
    script_throttle_us: float = 0.0
    """Where a running script moves the throttle; 0 leaves it."""


def prepared_maestro(wiring: CarWiring) -> MaestroSettings:
    """Return the settings of a Maestro prepared for this car."""
    return MaestroSettings(
        steering=ChannelSettings(
            home=Home.GO_TO,
            home_us=wiring.steering_center_us,
            min_us=wiring.steering_min_us,
            max_us=wiring.steering_max_us,
        ),
        throttle=ChannelSettings(
            home=Home.GO_TO,
            home_us=wiring.throttle_neutral_us,
            min_us=wiring.throttle_min_us,
            max_us=wiring.throttle_max_us,
        ),
    )


def factory_maestro() -> MaestroSettings:
    """Return the settings a Maestro comes with, but for the serial mode, without which it says nothing."""
    return MaestroSettings(steering=ChannelSettings(), throttle=ChannelSettings(), crc=False, timeout_s=0.0)


class _Channel:
    """One output, in quarter-microseconds; 0 is no pulse."""

    def __init__(self, settings: ChannelSettings) -> None:
        self.settings = settings
        self.target = 0
        self.position = 0
        self.speed = 0
        self.go_home()

    def go_home(self) -> None:
        if self.settings.home is Home.OFF:
            self.target = self.position = 0
        elif self.settings.home is Home.GO_TO:
            self.set_target(round(self.settings.home_us * QUARTERS_PER_US))

    def set_target(self, quarters: int) -> None:
        if quarters:
            lowest = round(self.settings.min_us * QUARTERS_PER_US)
            highest = round(self.settings.max_us * QUARTERS_PER_US)
            quarters = min(max(quarters, lowest), highest)
        self.target = quarters
        if not self.speed or not self.target or not self.position:
            self.position = self.target

    def start_pulse(self) -> float:
        """Return the width of the pulse that starts now, in us."""
        if self.position != self.target:
            # The speed's unit is a quarter-microsecond per 10 ms.
            largest = self.speed * (PULSE_PERIOD_NS // 10_000_000) if self.speed else 0xFFFF
            self.position += min(max(self.target - self.position, -largest), largest)
        return self.position / QUARTERS_PER_US


class MaestroBoard(EmulatedBoard):
    """A Maestro as its host sees it. No watchdog of its own is documented: a hang lasts until a reset."""

    def __init__(self, now_ns: int, *, settings: MaestroSettings, line: SerialLine | None = None) -> None:
        super().__init__(now_ns, line or SerialLine(LINE_BAUD))
        self.settings = settings
        self._timeout_s: float | None = None
        self._boot(now_ns)

    @property
    def wiring(self) -> CarWiring | None:
        """The channels' limits and homes; None where a channel has no home."""
        steering, throttle = self.settings.steering, self.settings.throttle
        if steering.home is not Home.GO_TO or throttle.home is not Home.GO_TO:
            return None
        return CarWiring(
            *(round(us) for us in (steering.min_us, steering.home_us, steering.max_us)),
            *(round(us) for us in (throttle.min_us, throttle.home_us, throttle.max_us)),
        )

    def set_wiring(self, wiring: CarWiring | None, now_ns: int) -> None:
        """Change limits and homes, and start again; None gives the channels their factory settings."""
        self._run(now_ns - 1)
        prepared = factory_maestro() if wiring is None else prepared_maestro(wiring)
        self.settings = msgspec.structs.replace(
            self.settings, steering=prepared.steering, throttle=prepared.throttle
        )
        self._boot(now_ns)

    def set_version(self, version: int | None) -> None:
        """Do nothing: this protocol carries no version."""

    def set_watchdog(self, seconds: float | None, *, is_told: bool = True) -> None:  # noqa: ARG002 # it never says
        """Have another time-out from the next command on; what is longer than it can count is none."""
        self._timeout_s = seconds if seconds is None or seconds <= LONGEST_TIMEOUT_S else 0.0

    def latch_error(self, bit: int, now_ns: int) -> None:
        """Set this bit of the error word, and go home."""
        self._run(now_ns - 1)
        self._fail(MaestroError(1 << bit))

    def set_script(self, on: bool, now_ns: int) -> None:
        """Begin or end the stored script, which moves the throttle to the end of its range."""
        self._run(now_ns - 1)
        self._script_is_running = on
        self._next_script_ns = now_ns + SCRIPT_PERIOD_NS

    def _boot(self, now_ns: int) -> None:
        settings = self.settings
        self._channels = [_Channel(ChannelSettings()) for _ in range(settings.channels)]
        self._channels[settings.steering_channel] = _Channel(settings.steering)
        self._channels[settings.throttle_channel] = _Channel(settings.throttle)
        self._errors = MaestroError(0)
        self._packet = bytearray()
        self._script_is_running = settings.script_is_running
        self._next_script_ns = now_ns + SCRIPT_PERIOD_NS
        self._feed_timeout(now_ns)

    def _feed_timeout(self, now_ns: int) -> None:
        timeout_s = self.settings.timeout_s if self._timeout_s is None else self._timeout_s
        units = round(timeout_s * 100)
        self._timeout_ns = now_ns + units * TIMEOUT_UNIT_NS if units else NEVER_NS

    def _outputs_us(self, now_ns: int) -> tuple[float, float]:  # noqa: ARG002 # widths change by events alone
        widths = [channel.start_pulse() for channel in self._channels]
        return widths[self.settings.steering_channel], widths[self.settings.throttle_channel]

    def _buffer_overflowed(self) -> None:
        self._fail(MaestroError.BUFFER_FULL)

    def _stop_pressed(self, now_ns: int) -> None:
        """Do nothing: it has no such input."""

    def _next_timer_ns(self) -> int:
        return min(self._timeout_ns, self._next_script_ns if self._script_is_running else NEVER_NS)

    def _timer_due(self, now_ns: int) -> None:
        if self._timeout_ns <= now_ns:
            self._timeout_ns = NEVER_NS
            self._fail(MaestroError.TIMEOUT)
        if self._script_is_running and self._next_script_ns <= now_ns:
            self._next_script_ns = now_ns + SCRIPT_PERIOD_NS
            if self.settings.script_throttle_us:
                target = round(self.settings.script_throttle_us * QUARTERS_PER_US)
                self._channels[self.settings.throttle_channel].set_target(target)

    # Packets.

    def _take(self, data: bytes, now_ns: int) -> None:
        if not self.settings.usb_dual_port:
            return
        for byte in data:
            self._take_byte(byte, now_ns)

    def _take_byte(self, byte: int, now_ns: int) -> None:
        is_mini_ssc = self._packet[:1] == b"\xff"
        if byte & 0x80 and not (is_mini_ssc and len(self._packet) == 2):
            if self._packet:
                self._fail(MaestroError.PROTOCOL)  # a packet cut short by the next one's first byte
            self._packet = bytearray((byte,))
        elif self._packet:
            self._packet.append(byte)
        else:
            return  # a data byte that belongs to nothing

        if self._packet[0] == _MINI_SSC:
            if len(self._packet) == 3:
                self._mini_ssc(self._packet[1], self._packet[2])
                self._packet.clear()
                self._feed_timeout(now_ns)
            return
        command, data = self._command_so_far()
        if command is None:
            return
        length = self._data_length(command, data)
        if length is None:
            self._packet.clear()
            self._fail(MaestroError.PROTOCOL)
            return
        if len(data) < length + (1 if self.settings.crc else 0):
            return
        packet, self._packet = bytes(self._packet), bytearray()
        if self._packet_is_for_another(packet):
            return
        if self.settings.crc and crc7(packet[:-1]) != packet[-1]:
            self._fail(MaestroError.CRC)
            return
        self._feed_timeout(now_ns)
        self._carry_out(command, data[:length], now_ns)

    def _command_so_far(self) -> tuple[int | None, bytes]:
        """Return the command, in its compact form, and the bytes that follow it."""
        packet = bytes(self._packet)
        if packet[0] != _POLOLU:
            return packet[0], packet[1:]
        if len(packet) < 3:
            return None, b""
        return packet[2] | 0x80, packet[3:]

    def _packet_is_for_another(self, packet: bytes) -> bool:
        return packet[0] == _POLOLU and packet[1] != self.settings.device_number

    def _data_length(self, command: int, data: bytes) -> int | None:
        """Return how many data bytes belong to the command, None when it is unknown."""
        if command == _SET_MULTIPLE and self.settings.channels > 6:
            return 2 + 2 * data[0] if data else 2
        return _DATA_LENGTHS.get(command)

    def _fail(self, error: MaestroError) -> None:
        self._errors |= error
        for channel in self._channels:
            channel.go_home()

    # Commands.

    def _carry_out(self, command: int, data: bytes, now_ns: int) -> None:
        match command:
            case 0x84 | 0x87 | 0x89:
                self._set(command, data[0], data[1] | data[2] << 7, now_ns)
            case 0x9F:
                for index in range(data[0]):
                    low, high = data[2 + 2 * index : 4 + 2 * index]
                    self._set(_SET_TARGET, data[1] + index, low | high << 7, now_ns)
            case 0x90:
                channel = self._channel(data[0])
                if channel is not None:
                    self._reply(channel.position.to_bytes(2, "little"), now_ns)
            case 0x93:
                moving = any(channel.position != channel.target for channel in self._channels)
                self._reply(bytes((moving,)), now_ns)
            case 0xA1:
                self._reply(int(self._errors).to_bytes(2, "little"), now_ns)
                self._errors = MaestroError(0)
            case 0xA2:
                for channel in self._channels:
                    channel.go_home()
            case 0xA4:
                self._script_is_running = False
            case 0xA7 | 0xA8:
                self._script_is_running = True
                self._next_script_ns = now_ns + SCRIPT_PERIOD_NS
            case _:
                self._reply(bytes((not self._script_is_running,)), now_ns)

    def _set(self, command: int, number: int, value: int, now_ns: int) -> None:
        channel = self._channel(number)
        if channel is None:
            return
        if command == _SET_SPEED:
            channel.speed = value
        elif command == _SET_TARGET:
            channel.set_target(value)
            if number == self.settings.throttle_channel:
                steering_us = self._channels[self.settings.steering_channel].target / QUARTERS_PER_US
                self._accepted.append(AcceptedCommand(now_ns, True, steering_us, value / QUARTERS_PER_US))

    def _mini_ssc(self, number: int, value: int) -> None:
        channel = self._channel(number)
        if channel is not None:
            width_us = MINI_SSC_CENTER_US + (value - 127) * MINI_SSC_RANGE_US / 127
            channel.set_target(round(width_us * QUARTERS_PER_US))

    def _channel(self, number: int) -> _Channel | None:
        if number < len(self._channels):
            return self._channels[number]
        self._fail(MaestroError.PROTOCOL)
        return None


def crc7(data: bytes) -> int:
    """Return the Maestro's own checksum."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            if crc & 1:
                crc ^= 0x91
            crc >>= 1
    return crc
