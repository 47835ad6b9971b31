"""The car's newest picture, one request a picture: a slow page gets fewer pictures, never old ones."""

import threading

from flask import Blueprint, Response, request
from flask_sock import Sock
from simple_websocket import Server
from werkzeug.exceptions import BadRequest, ServiceUnavailable

from webui.access import socket_visitor
from webui.car import Vehicle
from webui.film import Film
from webui.sockets import Line, Places, guard_sockets

HOLD_S = 0.2  # a browser has six connections to a server: held ones must end soon, or a stop waits for them
VIEWER_LIMIT = 40  # of 64 threads, so that a stop always finds a free one


def make_blueprint(vehicle: Vehicle, sockets: Places) -> Blueprint:
    """Return the picture of this car."""
    blueprint = Blueprint("video", __name__)
    places = threading.BoundedSemaphore(VIEWER_LIMIT)
    guard_sockets(blueprint, sockets)

    def film(socket: Server) -> None:
        visitor = socket_visitor(socket)
        Film(Line(socket), vehicle, visitor).run()

    Sock().route("/ws/video", bp=blueprint)(film)

    @blueprint.get("/preview.jpg")
    def preview() -> Response:
        """Wait a moment for another picture than number `after`; 204 when there is none."""
        after = request.args.get("after", "-1")
        try:
            newer_than = int(after)
        except ValueError as error:
            raise BadRequest(f"`after` is {after!r}; send the number of a picture.") from error
        if not places.acquire(blocking=False):
            raise ServiceUnavailable(
                f"{VIEWER_LIMIT} pages watch already; close one, or try again in a moment."
            )
        try:
            picture = vehicle.preview(newer_than, timeout_s=HOLD_S)
        finally:
            places.release()
        status = vehicle.status()
        if picture is None or status is None:
            return Response(status=204)

        car_now_ns = status.now_ns + int(vehicle.status_age_s() * 1e9)  # the stamp's own clock
        response = Response(picture.jpeg, mimetype="image/jpeg")
        response.headers["X-Frame-Number"] = str(picture.frame_number)
        response.headers["X-Frame-Age-Ms"] = f"{(car_now_ns - picture.stamp_ns) / 1e6:.0f}"
        return response

    return blueprint
