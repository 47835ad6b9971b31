"""Where the page of a HIL car orders what belongs to the computer that drives to be broken or mended.

A socket of its own, in the HIL car's directory: the operator link may be what is broken. A vehicle
without a HIL car never opens it.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import zmq

from vehicle.errors import UNREADABLE, HilError
from vehicle.hil.orders import Answer, HostOrder
from vehicle.hil.settings import host_endpoint, prepare_hil_dir

ORDERS_AT_ONCE = 4  # in one tick


class HostDesk:
    """Takes orders between two ticks; never waits."""

    def __init__(self, hil_dir: Path, context: zmq.Context[Any]) -> None:
        prepare_hil_dir(hil_dir)  # the world may start later
        endpoint = host_endpoint(hil_dir)
        Path(endpoint.removeprefix("ipc://")).unlink(missing_ok=True)
        self._socket = context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(endpoint)

    def serve(self, carry_out: Callable[[HostOrder], Answer]) -> None:
        """Carry out the orders that have come."""
        for _ in range(ORDERS_AT_ONCE):
            try:
                *envelope, order = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            with contextlib.suppress(zmq.Again):  # whoever asked is gone
                answer = msgspec.json.encode(_answer(order, carry_out))
                self._socket.send_multipart([*envelope, answer], zmq.NOBLOCK)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close(linger=0)


def _answer(order: bytes, carry_out: Callable[[HostOrder], Answer]) -> Answer:
    try:
        return {"ok": True, **carry_out(msgspec.json.decode(order, type=HostOrder))}
    except (*UNREADABLE, HilError) as error:
        return {"ok": False, "reason": str(error)}
