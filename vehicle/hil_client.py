"""Orders to a HIL world, and the truth from it: for commands, pages and tests, never for what drives."""

from pathlib import Path
from typing import Any

import msgspec
import zmq

from vehicle.errors import HilError
from vehicle.truth import WorldTruth, control_endpoint, truth_endpoint


def ask_desk(
    context: zmq.Context[Any], endpoint: str, order: dict[str, object], timeout_s: float
) -> dict[str, Any] | None:
    """Send one order and return the answer, None when none comes in time; in any thread."""
    desk = context.socket(zmq.DEALER)  # a fresh one each time: no late answer to an older order
    desk.setsockopt(zmq.LINGER, 0)
    try:
        desk.connect(endpoint)
        desk.send(msgspec.json.encode(order))
        if not desk.poll(round(timeout_s * 1e3)):
            return None
        answer: dict[str, Any] = msgspec.json.decode(desk.recv())
        return answer
    finally:
        desk.close()


class HilClient:
    """Talks to the world of one HIL directory. One thread uses it; the world may come and go."""

    def __init__(self, hil_dir: Path) -> None:
        self._hil_dir = hil_dir
        self._context: zmq.Context[Any] = zmq.Context()
        self._truth = self._context.socket(zmq.SUB)
        self._truth.setsockopt(zmq.LINGER, 0)
        self._truth.setsockopt(zmq.SUBSCRIBE, b"")
        self._truth.connect(truth_endpoint(hil_dir))
        self._newest: WorldTruth | None = None

    def control(self, op: str, timeout_s: float = 5.0, **fields: object) -> dict[str, Any]:
        """Give one order and return the answer; raises HilError when it is refused or nobody answers.

        Orders: `ping`, `fault(part, fault, on=True, amount=None, at_s=None, for_s=None)`, `stop_input(on)`,
        `reset(s_m=None, offset_m=0, turned_rad=0)`, `track(track)`, `layout`, `pulses(since_ns=0)`,
        `truth`, `advance(s)`, `quit`.
        """
        order = {"op": op, **fields}
        answer = ask_desk(self._context, control_endpoint(self._hil_dir), order, timeout_s)
        if answer is None:
            raise HilError(
                f"the HIL world in {self._hil_dir} did not answer within {timeout_s:g} s; is it running?"
            )
        if not answer.get("ok"):
            raise HilError(f"the HIL world refused '{op}': {answer.get('reason', 'it gave no reason')}")
        return answer

    def truth(self) -> WorldTruth | None:
        """Return the newest truth that has come, None before the first."""
        self.truths()
        return self._newest

    def truths(self) -> list[WorldTruth]:
        """Return every truth that has come since the last look, oldest first."""
        arrived = []
        while self._truth.poll(0):
            arrived.append(msgspec.msgpack.decode(self._truth.recv(), type=WorldTruth))
        if arrived:
            self._newest = arrived[-1]
        return arrived

    def wait_truth(self, timeout_s: float = 1.0) -> WorldTruth | None:
        """Return the next truth, or None when none comes in time."""
        if not self._truth.poll(round(timeout_s * 1e3)):
            return None
        return self.truth()

    def truth_now(self) -> WorldTruth:
        """Ask for the truth of this very moment; raises HilError."""
        return msgspec.convert(self.control("truth")["truth"], type=WorldTruth)

    def close(self) -> None:
        """Close the sockets."""
        self._context.destroy(linger=0)
