"""Orders to break what belongs to the computer that drives, while it drives."""

import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from vehicle.hil.host_desk import HostDesk
from vehicle.hil.host_faults import BrokenLink, HostFaults
from vehicle.hil.settings import host_endpoint
from vehicle.hil_client import ask_desk
from vehicle.messages import OperatorRequest, Reply, RequestKind, Status, TickRecord


class QuietPublisher:
    """Has one request waiting."""

    def __init__(self) -> None:
        self.answers: list[Reply] = []

    def drain(self, answer: object) -> None:
        assert callable(answer)
        self.answers.append(answer(OperatorRequest("1", "test", RequestKind.DISARM, 0)))

    def publish_status(self, status: Status) -> None: ...

    def publish_record(self, record: TickRecord) -> None: ...


class Rig:
    """A link whose loop goes on in a thread, as the vehicle's does."""

    def __init__(self, hil_dir: Path) -> None:
        self.hil_dir = hil_dir
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.faults = HostFaults((), lambda: 5_000_000_000)
        self.inner = QuietPublisher()
        self.desk = HostDesk(hil_dir, self.context)
        self.link = BrokenLink(self.inner, self.faults, self.desk)
        self.closing = threading.Event()
        self.thread = threading.Thread(target=self.loop)
        self.thread.start()

    def loop(self) -> None:
        while not self.closing.wait(0.005):
            self.link.drain(lambda request: Reply(request.id, ok=True))

    def ask(self, **order: object) -> dict[str, object]:
        answer = ask_desk(self.context, host_endpoint(self.hil_dir), order, 5.0)
        assert answer is not None
        return answer

    def next_answer(self) -> Reply:
        """Return what the loop answers a request in a round that begins after now."""
        awaited = len(self.inner.answers) + 2
        deadline_s = time.monotonic() + 10.0
        while len(self.inner.answers) < awaited:
            assert time.monotonic() < deadline_s, "the loop stands still"
            time.sleep(0.002)
        return self.inner.answers[-1]

    def close(self) -> None:
        self.closing.set()
        self.thread.join()
        self.desk.close()
        self.context.term()


@pytest.fixture
def rig() -> Iterator[Rig]:
    hil_dir = Path(tempfile.mkdtemp(prefix="lw", dir="/tmp")) / "hil"  # made by whoever comes first
    rig = Rig(hil_dir)
    yield rig
    rig.close()
    shutil.rmtree(hil_dir.parent)


def test_a_fault_is_switched_on_and_off_while_the_loop_goes_on(rig: Rig) -> None:
    assert rig.ask(op="ping") == {"ok": True, "faults": {}}

    assert rig.ask(op="fault", part="policy", fault="slow", amount=0.3)["ok"]
    assert rig.ask(op="ping")["faults"] == {"policy=slow": 0.3}

    assert rig.ask(op="fault", part="policy", fault="slow", on=False)["ok"]
    assert rig.ask(op="ping")["faults"] == {}


def test_orders_arrive_also_while_the_operator_link_is_what_is_broken(rig: Rig) -> None:
    assert rig.ask(op="fault", part="operator_link", fault="off")["ok"]
    assert not rig.next_answer().ok

    assert rig.ask(op="fault", part="operator_link", fault="off", on=False)["ok"]
    assert rig.next_answer().ok


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ({"op": "fault", "part": "camera", "fault": "off"}, "broken in the world"),
        ({"op": "fault", "part": "policy", "fault": "sulks"}, "no fault 'sulks'"),
        ({"op": "fault", "part": "policy", "fault": "slow", "amount": 99.0}, "allowed 0.0 to 10.0"),
        ({"op": "reset"}, "Invalid value"),
        ({}, "missing required field"),
    ],
)
def test_what_cannot_be_broken_here_is_refused_in_words(
    rig: Rig, order: dict[str, object], words: str
) -> None:
    answer = rig.ask(**order)

    assert not answer["ok"]
    assert words in str(answer["reason"])
    assert rig.faults.schedule.is_idle
