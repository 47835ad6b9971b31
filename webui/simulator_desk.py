"""Orders from the page to a HIL car: to its world, and to the process that drives it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import zmq

from vehicle.errors import HilError
from vehicle.hil.settings import host_endpoint
from vehicle.hil_client import ask_desk
from vehicle.truth import control_endpoint

ANSWER_S = 2.0  # a world answers between two pictures; one that was starved of processor time, later
HOST_ANSWER_S = 1.0  # once a tick


class SimulatorDesk:
    """Asks the processes of one HIL car; safe in any thread. They may come and go."""

    def __init__(self, hil_dir: Path) -> None:
        self._hil_dir = hil_dir
        self._context: zmq.Context[Any] = zmq.Context()

    def ask_world(self, op: str, **fields: object) -> Mapping[str, Any]:
        """Give the world an order and return its answer; raises HilError when it is silent or refuses."""
        answer = ask_desk(self._context, control_endpoint(self._hil_dir), {"op": op, **fields}, ANSWER_S)
        return _checked(answer, "the simulated world")

    def ask_host(self, op: str, **fields: object) -> Mapping[str, Any]:
        """Give the process that drives an order, and return its answer; raises HilError as above."""
        answer = ask_desk(self._context, host_endpoint(self._hil_dir), {"op": op, **fields}, HOST_ANSWER_S)
        return _checked(answer, "the vehicle process")


def _checked(answer: Mapping[str, Any] | None, who: str) -> Mapping[str, Any]:
    if answer is None:
        raise HilError(f"{who} did not answer; if it has died, `lapwing run --hil` starts it again")
    if not answer.get("ok"):
        raise HilError(str(answer.get("reason", f"{who} gave no reason")))
    return answer
