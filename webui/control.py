"""`/ws/control`: the page's line to the car: status and answers one way, commands the other.

One thread reads and obeys, one writes; what a page is too slow to take is left out, never queued.
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
from webui.commands import SILENT_COMMANDS, AnyCommand, Commands, EmergencyStop
from webui.drive import PAGE_TOKEN, source_of
from webui.glance import Glance, StatusDocument
from webui.guard import sentence
from webui.sockets import Line, Places, guard_sockets

STATUS_PERIOD_S = 0.1
LOOK_S = 0.02  # how soon a change of state is told
VISITOR_PERIOD_S = 1.0
REPLIES_WAITING = 32

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

    def run(self) -> None:
        """Read and obey until the page is gone."""
        writer = threading.Thread(target=self._write, name="control-writer", daemon=True)
        writer.start()
        try:
            while self._line.is_open:
                self._hear(self._line.receive_all(VISITOR_PERIOD_S))
        finally:
            self._wake.set()
            writer.join()

    def _hear(self, messages: list[str | bytes]) -> None:
        commands = []
        for message in messages:
            try:
                commands.append(_decoder.decode(message))
            except UNREADABLE as error:
                self._reply("", f"The message cannot be read: {error}.")
        for command in in_order(commands):
            self._follow(command)

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
    """Return what to obey of the commands that wait: emergency stops first, of hand and renewal the newest.

    Each takes a tick of the vehicle, and a hand at 60 Hz would otherwise fall behind itself.
    """
    newest = {type(command): command for command in commands if isinstance(command, SILENT_COMMANDS)}
    kept = [
        command
        for command in commands
        if not isinstance(command, SILENT_COMMANDS) or newest[type(command)] is command
    ]
    return sorted(kept, key=lambda command: not isinstance(command, EmergencyStop))
