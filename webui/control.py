"""`/ws/control`: the page's line to the car: status and answers one way, commands the other.

One thread reads, and passes emergency stops on at once; one obeys everything else, each command after the
one before it; one writes. What a page is too slow to take is left out, never queued.
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable

import msgspec
from flask import Blueprint, current_app, request
from flask_sock import Sock
from simple_websocket import ConnectionClosed, Server
from werkzeug.exceptions import BadRequest, HTTPException

from vehicle.errors import UNREADABLE, VehicleSilentError
from webui.access import CLOSED_SIGNED_OUT, Visitor, socket_visitor
from webui.car import Vehicle
from webui.commands import SILENT_COMMANDS, STOPPING_COMMANDS, AnyCommand, Commands, EmergencyStop
from webui.drive import PAGE_TOKEN, source_of
from webui.glance import Glance, StatusDocument
from webui.guard import sentence
from webui.sockets import CLOSED_FLOOD, WAITING_LIMIT, Line, Places, guard_sockets

STATUS_PERIOD_S = 0.1
LOOK_S = 0.02  # how soon a change of state is told
VISITOR_PERIOD_S = 1.0
REPLIES_WAITING = 32
CLOSED_BY_MISTAKE = 1011

_decoder = msgspec.json.Decoder(AnyCommand)


def make_blueprint(
    vehicle: Vehicle,
    commands: Commands,
    glance: Glance,
    places: Places,
) -> Blueprint:
    """Return the control socket of this car."""
    blueprint = Blueprint("control", __name__)
    guard_sockets(blueprint, places)

    @blueprint.before_request
    def know_the_page() -> None:
        if not PAGE_TOKEN.fullmatch(request.args.get("page", "")):
            raise BadRequest("`page` is not the token of a page; reload the page.")

    def control(socket: Server) -> None:
        source, address = source_of(request.args["page"]), request.remote_addr
        visitor = socket_visitor(socket)
        log = current_app.logger

        def obey(command: AnyCommand) -> None:
            try:
                commands.obey(command, source)
            finally:
                if isinstance(command, EmergencyStop):  # afterwards: a log that blocks holds up no stop
                    log.info("emergency stop from %s", address)

        line = Line(socket)
        _Conversation(line, vehicle=vehicle, glance=glance, obey=obey, source=source, visitor=visitor).run()

    Sock().route("/ws/control", bp=blueprint)(control)
    return blueprint


class _Conversation:
    """One page's socket, from its opening to its end."""

    def __init__(
        self,
        line: Line,
        *,
        vehicle: Vehicle,
        glance: Glance,
        obey: Callable[[AnyCommand], None],
        source: str,
        visitor: Visitor,
    ) -> None:
        self._line = line
        self._vehicle = vehicle
        self._glance = glance
        self._obey = obey
        self._source = source
        self._visitor = visitor
        self._replies: deque[dict[str, object]] = deque(maxlen=REPLIES_WAITING)
        self._wake = threading.Event()
        self._heard = threading.Condition()
        self._waiting: list[AnyCommand] = []
        self._is_over = False

    def run(self) -> None:
        """Read until the page is gone."""
        threads = [
            threading.Thread(target=self._write, name="control-writer", daemon=True),
            threading.Thread(target=self._obey_in_turn, name="control-obeyer", daemon=True),
        ]
        for thread in threads:
            thread.start()
        try:
            while self._line.is_open:
                self._hear(self._line.receive_all(VISITOR_PERIOD_S))
        finally:
            with self._heard:
                self._is_over = True
                self._heard.notify()
            self._wake.set()
            for thread in threads:
                thread.join()

    def _hear(self, messages: list[str | bytes]) -> None:
        commands = []
        for message in messages:
            try:
                commands.append(_decoder.decode(message))
            except UNREADABLE as error:
                self._reply("", f"The message cannot be read: {error}.")
        stops = [command for command in commands if isinstance(command, EmergencyStop)]
        for stop in stops:
            self._follow(stop)
        with self._heard:
            others = [command for command in commands if not isinstance(command, EmergencyStop)]
            self._waiting = in_order([*self._waiting, *others])
            is_flood = len(self._waiting) > WAITING_LIMIT
            self._heard.notify()
        if is_flood:
            self._line.close(CLOSED_FLOOD, "Too many messages at once.")

    def _obey_in_turn(self) -> None:
        """Follow what was heard; once the page is gone, only what lets the car go or stops it."""
        try:
            while (command := self._next()) is not None:
                self._follow(command)
        finally:
            if not self._is_over:  # by a mistake of ours: with a new line the page is obeyed again
                with contextlib.suppress(ConnectionClosed, OSError):
                    self._line.close(CLOSED_BY_MISTAKE, "The server's log has it.")

    def _next(self) -> AnyCommand | None:
        with self._heard:
            self._heard.wait_for(lambda: self._waiting or self._is_over)
            if self._is_over:
                self._waiting = [one for one in self._waiting if isinstance(one, STOPPING_COMMANDS)]
            return self._waiting.pop(0) if self._waiting else None

    def _follow(self, command: AnyCommand) -> None:
        if not self._visitor.may_drive and not isinstance(command, EmergencyStop):
            self._reply(command.id, "This link is for watching only; sign in to drive.")
            return
        try:
            self._obey(command)
        except HTTPException as error:
            self._reply(command.id, error.description or "")
        except VehicleSilentError as error:
            self._reply(command.id, sentence(str(error)))
        else:
            if not isinstance(command, SILENT_COMMANDS):
                self._reply(command.id, "")

    def _reply(self, command_id: str, error: str) -> None:
        self._replies.append({"kind": "reply", "id": command_id, "ok": not error, "error": error})
        self._wake.set()

    def _write(self) -> None:
        with contextlib.suppress(ConnectionClosed, OSError):
            self._write_until_closed()

    def _write_until_closed(self) -> None:
        due_s = asked_s = time.monotonic()
        state, trail_from = None, 0
        while self._line.is_open:
            self._wake.wait(LOOK_S)
            self._wake.clear()
            now_s = time.monotonic()
            if now_s - asked_s >= VISITOR_PERIOD_S:
                asked_s = now_s
                if not self._visitor.is_allowed_now():
                    self._line.close(CLOSED_SIGNED_OUT, "Signed out.")
                    return
            if self._line.is_clogged():
                continue  # what it has not taken yet is old already
            while self._replies:
                self._line.send(msgspec.json.encode(self._replies.popleft()).decode())
            car = self._vehicle.status()
            was, state = state, car.state if car else None
            if now_s < due_s and state is was:
                continue
            due_s = now_s + STATUS_PERIOD_S
            document = self._glance.document(self._source, trail_from)
            trail_from = _trail_end(document, trail_from)
            self._line.send(msgspec.json.encode(document).decode())


def _trail_end(document: StatusDocument, trail_from: int) -> int:
    """Return from which point on the page needs the driven line next."""
    world = document["world"]
    return trail_from if world is None else int(world["trail"]["end"])


def in_order(commands: list[AnyCommand]) -> list[AnyCommand]:
    """Return what to obey of the commands that wait: of hand and renewal the newest.

    Each takes a tick of the vehicle, and a hand at 60 Hz would otherwise fall behind itself.
    """
    newest = {type(command): command for command in commands if isinstance(command, SILENT_COMMANDS)}
    return [
        command
        for command in commands
        if not isinstance(command, SILENT_COMMANDS) or newest[type(command)] is command
    ]
