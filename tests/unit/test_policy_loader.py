"""Policies are loaded beside the loop, one at a time; a load that fails says why and breaks nothing."""

import threading
import time

import pytest

from models.errors import PolicyError
from vehicle import policy_loader
from vehicle.policy_loader import PolicyLoader


class Shelf:
    """Loads what it is told when it is told; a policy is a string here."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.threads: list[str] = []
        self.may_finish = threading.Event()
        self.may_finish.set()
        self.problems: dict[str, Exception] = {}

    def load(self, source: str):
        self.asked.append(source)
        self.threads.append(threading.current_thread().name)
        assert self.may_finish.wait(10)
        if source in self.problems:
            raise self.problems[source]
        return f"policy from {source}"


@pytest.fixture(autouse=True)
def priority(monkeypatch):
    """Keep the test process's priority, and count who gave up a raised one."""
    lowered: list[str] = []
    monkeypatch.setattr(
        policy_loader, "use_normal_priority", lambda: lowered.append(threading.current_thread().name)
    )
    return lowered


def finish(loader: PolicyLoader):
    """Take what the loader gives, as the loop does in every tick, until it has nothing left to do."""
    taken, deadline_s = [], time.monotonic() + 10
    while loader.is_loading:
        assert time.monotonic() < deadline_s
        policy = loader.take()
        if policy is not None:
            taken.append(policy)
        time.sleep(0.001)
    return taken


def test_nothing_is_loaded_unasked():
    loader = PolicyLoader(Shelf().load)

    assert not loader.is_loading
    assert loader.note == ""
    assert loader.take() is None


def test_a_policy_is_loaded_in_a_thread_of_normal_priority_and_given_once(priority):
    shelf = Shelf()
    loader = PolicyLoader(shelf.load)

    loader.begin("/models/fast")

    assert finish(loader) == ["policy from /models/fast"]
    assert loader.take() is None
    assert loader.note == ""
    assert shelf.threads == priority == ["policy-load"]


def test_begin_and_take_do_not_wait_and_the_page_is_told_meanwhile():
    shelf = Shelf()
    shelf.may_finish.clear()
    loader = PolicyLoader(shelf.load)

    loader.begin("/models/slow")

    assert loader.take() is None
    assert loader.is_loading
    assert loader.note == "Loading slow."
    shelf.may_finish.set()
    assert finish(loader) == ["policy from /models/slow"]


def test_it_counts_as_loading_until_the_loop_has_taken_it():
    loader = PolicyLoader(Shelf().load)
    loader.begin("fast")
    loader._thread.join()

    assert loader.is_loading
    assert loader.take() == "policy from fast"
    assert not loader.is_loading


def test_the_newest_of_several_wishes_is_the_one_that_comes():
    shelf = Shelf()
    shelf.may_finish.clear()
    loader = PolicyLoader(shelf.load)
    for source in ("first", "second", "third"):
        loader.begin(source)
    shelf.may_finish.set()

    assert finish(loader) == ["policy from third"]
    assert shelf.asked == ["first", "third"]


def test_a_failure_is_told_in_its_own_words_until_the_next_attempt():
    shelf = Shelf()
    shelf.problems["broken"] = PolicyError("broken has 3 outputs, allowed 5; export it again")
    loader = PolicyLoader(shelf.load)

    loader.begin("broken")
    assert finish(loader) == []
    assert loader.note == "broken has 3 outputs, allowed 5; export it again"

    loader.begin("good")
    assert finish(loader) == ["policy from good"]
    assert loader.note == ""


def test_a_wish_that_waits_is_served_after_a_failure():
    shelf = Shelf()
    shelf.problems["broken"] = PolicyError("broken")
    shelf.may_finish.clear()
    loader = PolicyLoader(shelf.load)
    loader.begin("broken")
    loader.begin("good")
    shelf.may_finish.set()

    assert finish(loader) == ["policy from good"]
    assert loader.note == ""


def test_a_mistake_of_ours_is_not_silent(monkeypatch):
    told = []
    monkeypatch.setattr(threading, "excepthook", lambda problem: told.append(problem.exc_value))
    shelf = Shelf()
    shelf.problems["/models/odd"] = problem = KeyError("oops")
    loader = PolicyLoader(shelf.load)

    loader.begin("/models/odd")

    assert finish(loader) == []
    assert loader.note == "odd could not be loaded, by a mistake of ours; the vehicle's log has it"
    assert told == [problem]


def test_the_outcome_of_the_newest_wish_is_told():
    shelf = Shelf()
    shelf.problems["bad"] = PolicyError("no good")
    loader = PolicyLoader(shelf.load)
    assert loader.activation == ("", "")
    for source, outcome in (("good", "loaded"), ("bad", "failed"), ("good", "loaded")):
        shelf.may_finish.clear()
        loader.begin(source)
        assert loader.activation == ("loading", source)
        shelf.may_finish.set()
        deadline_s = time.monotonic() + 10
        while loader.is_loading and time.monotonic() < deadline_s:
            loader.take()
            time.sleep(0.001)
        assert loader.activation == (outcome, source)
