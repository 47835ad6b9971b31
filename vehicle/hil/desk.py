"""Where people, pages and tests give orders to a HIL world and hear the truth; nothing that drives does.

An order is one JSON object whose `op` names it; the answer has `ok` and, if not, a `reason`.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import zmq

from vehicle.errors import UNREADABLE, HilError
from vehicle.hil.orders import Answer, Order
from vehicle.truth import WorldTruth, control_endpoint, truth_endpoint

ORDERS_AT_ONCE = 16
QUEUE_LENGTH = 1000


class Desk:
    """Both sockets of a world; never waits."""

    def __init__(self, hil_dir: Path) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        self._orders = self._bound(zmq.ROUTER, control_endpoint(hil_dir))
        self._truth = self._bound(zmq.PUB, truth_endpoint(hil_dir))

    def fileno(self) -> int:
        """Return what becomes readable, sometimes, when orders come; call `serve` after each wait anyway."""
        return int(self._orders.getsockopt(zmq.FD))

    def serve(self, carry_out: Callable[[Order], Answer]) -> None:
        """Carry out the orders that have come."""
        for _ in range(ORDERS_AT_ONCE):
            if not self._orders.getsockopt(zmq.EVENTS) & zmq.POLLIN:
                return
            *envelope, order = self._orders.recv_multipart()
            with contextlib.suppress(zmq.Again):  # whoever asked is gone
                self._orders.send_multipart([*envelope, msgspec.json.encode(_answer(order, carry_out))])

    def publish(self, truth: WorldTruth) -> None:
        """Tell the truth to whoever listens."""
        with contextlib.suppress(zmq.Again):
            self._truth.send(msgspec.msgpack.encode(truth), zmq.NOBLOCK)

    def close(self) -> None:
        """Close both sockets."""
        self._context.destroy(linger=0)

    def _bound(self, kind: int, endpoint: str) -> Any:  # zmq has no types here
        Path(endpoint.removeprefix("ipc://")).unlink(missing_ok=True)
        bound = self._context.socket(kind)
        bound.setsockopt(zmq.SNDHWM, QUEUE_LENGTH)
        bound.setsockopt(zmq.LINGER, 0)
        bound.bind(endpoint)
        return bound


def _answer(order: bytes, carry_out: Callable[[Order], Answer]) -> Answer:
    try:
        return {"ok": True, **carry_out(msgspec.json.decode(order, type=Order))}
    except (*UNREADABLE, HilError) as error:
        return {"ok": False, "reason": str(error)}
