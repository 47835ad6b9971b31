"""The socket of the car's pictures: a slow page gets fewer pictures, never old ones."""

from flask import Blueprint
from flask_sock import Sock
from simple_websocket import Server

from webui.access import socket_visitor
from webui.car import Vehicle
from webui.film import Film
from webui.sockets import Line, Places, guard_sockets


def make_blueprint(vehicle: Vehicle, places: Places) -> Blueprint:
    """Return the pictures of this car."""
    blueprint = Blueprint("video", __name__)
    guard_sockets(blueprint, places)

    def film(socket: Server) -> None:
        visitor = socket_visitor(socket)
        Film(Line(socket), vehicle, visitor).run()

    Sock().route("/ws/video", bp=blueprint)(film)
    return blueprint
