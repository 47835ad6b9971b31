"""Policies on disk: by content, one active, never half of one, whatever ends the process."""

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.check_report import clean_name
from models.errors import PolicyError
from models.store import FREE_MARGIN_BYTES, TRASH_KEPT_S, PolicyStore, default_store_root
from models.store_files import StoreFullError
from tests.unit.store_files import add_one, fill, make_report

LEFT_OVER = ["incoming", "trash"]


@pytest.fixture
def store(tmp_path: Path) -> PolicyStore:
    return PolicyStore(tmp_path / "models")


def uploaded(store: PolicyStore) -> list[str]:
    return [entry.name for entry in store.list() if not entry.built_in]


def left_over(store: PolicyStore) -> list[str]:
    return [str(path) for name in LEFT_OVER for path in (store.root / name).glob("*")]


def test_a_store_that_does_not_exist_has_the_policies_that_ship(store: PolicyStore) -> None:
    assert uploaded(store) == []
    assert "plover" in [entry.name for entry in store.list()]
    assert not store.root.exists()


def test_the_place_of_the_store_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAPWING_HOME", str(tmp_path / "a"))
    assert default_store_root() == tmp_path / "a" / "models"
    monkeypatch.delenv("LAPWING_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "b"))
    assert default_store_root() == tmp_path / "b" / "lapwing" / "models"


def test_an_added_policy_is_there_with_its_original(store: PolicyStore) -> None:
    entry = add_one(store, network=b"abc")
    assert uploaded(store) == ["swift"]
    assert store.original(entry.key).read_bytes() == b"original abc"
    assert store.checked_folder(entry.key).name == entry.key
    assert left_over(store) == []


def test_the_same_policy_twice_is_one(store: PolicyStore) -> None:
    first = add_one(store, "swift", b"same")
    store.rename(first.key, "my swift")
    with store.begin() as incoming:
        folder = fill(incoming.bundle, b"same")
        second, is_new = store.add(make_report(folder, "again"), folder)
    assert not is_new
    assert second.name == "my swift"
    assert len(uploaded(store)) == 1
    assert left_over(store) == []


def test_a_damaged_policy_is_replaced_by_adding_it_again(store: PolicyStore) -> None:
    entry = add_one(store, network=b"same")
    (entry.folder / "model.onnx").write_bytes(b"sAme")
    with pytest.raises(PolicyError, match="damaged since it was checked"):
        store.checked_folder(entry.key)
    add_one(store, network=b"same")
    assert (store.checked_folder(entry.key) / "model.onnx").read_bytes() == b"same"


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda folder: (folder / "bundle.json").unlink(), "add the policy again"),
        (lambda folder: (folder / "bundle.json").write_bytes(b"{"), "damaged"),
        (lambda folder: (folder / "bundle.json").write_bytes(b"x" * (5 << 20)), "more than"),
        (lambda folder: (folder / "model.onnx").unlink(), "cannot be read"),
        (lambda folder: (folder / "model_metadata.json").write_bytes(b"{} "), "not the file"),
    ],
)
def test_what_the_check_has_not_passed_is_not_opened(store: PolicyStore, damage: Any, sentence: str) -> None:
    entry = add_one(store)
    damage(entry.folder)
    with pytest.raises(PolicyError, match=sentence):
        store.checked_folder(entry.key)
    with pytest.raises(PolicyError, match=sentence):
        store.activate(entry.key)
    assert store.active() is None
    assert len(store.list()) > 1  # and the others are listed as ever


def test_a_report_of_another_policy_opens_nothing(store: PolicyStore) -> None:
    entry, other = add_one(store, "a"), add_one(store, "b")
    (entry.folder / "bundle.json").write_bytes((other.folder / "bundle.json").read_bytes())
    with pytest.raises(PolicyError, match="not the one that the check has passed"):
        store.checked_folder(entry.key)


def test_one_is_active_and_remembered(store: PolicyStore) -> None:
    first, second = add_one(store, "a"), add_one(store, "b")
    store.activate(first.key)
    store.activate(second.key)
    again = PolicyStore(store.root)
    active = again.active()
    assert active is not None
    assert active.key == second.key
    assert [entry.name for entry in again.list() if entry.active] == ["b"]


def test_a_policy_that_ships_can_be_active_but_not_changed(store: PolicyStore) -> None:
    store.activate("plover")
    active = store.active()
    assert active is not None
    assert active.name == "plover"
    for change in (lambda: store.remove("plover"), lambda: store.rename("plover", "mine")):
        with pytest.raises(PolicyError, match="ships with Lapwing"):
            change()


def test_the_active_policy_cannot_be_removed(store: PolicyStore) -> None:
    entry = add_one(store)
    store.activate(entry.key)
    with pytest.raises(PolicyError, match="is the active policy"):
        store.remove(entry.key)
    assert uploaded(store) == ["swift"]


def test_a_removal_can_be_undone_with_its_name(store: PolicyStore) -> None:
    entry = add_one(store)
    store.rename(entry.key, "my own")
    removed = store.remove(entry.key)
    assert uploaded(store) == []
    assert store.restore(removed).name == "my own"
    assert store.checked_folder(entry.key).is_dir()
    with pytest.raises(PolicyError, match="not in the trash"):
        store.restore(removed)


def test_what_was_removed_goes_after_a_day(tmp_path: Path) -> None:
    now_ns = [10**18]
    store = PolicyStore(tmp_path / "models", wall_ns=lambda: now_ns[0])
    kept, gone = add_one(store, "kept"), add_one(store, "gone")
    removed = store.remove(gone.key)
    now_ns[0] += int((TRASH_KEPT_S + 1) * 1e9)
    store.remove(kept.key)
    with pytest.raises(PolicyError, match="not in the trash"):
        store.restore(removed)
    assert store.restore(kept.key).name == "kept"


@pytest.mark.parametrize("wanted", ["swift", "KEY", "START"])
def test_a_policy_is_found_by_key_start_or_name(store: PolicyStore, wanted: str) -> None:
    key = add_one(store).key
    asked = {"KEY": key, "START": key[:6]}.get(wanted, wanted)
    assert store.find(asked).key == key


def test_a_name_of_two_is_asked_back(store: PolicyStore) -> None:
    add_one(store, "twin", b"1")
    add_one(store, "twin", b"2")
    with pytest.raises(PolicyError, match="means 2 policies"):
        store.find("twin")


@pytest.mark.parametrize("wanted", ["", ".", "..", "../..", "/etc", "a" * 5000, "\0", "bundles", "\x1b[2J"])
def test_nonsense_finds_nothing(store: PolicyStore, wanted: str) -> None:
    add_one(store)
    for ask in (store.find, store.get, store.remove, store.activate, store.original):
        with pytest.raises(PolicyError, match="there is no policy") as caught:
            ask(wanted)
        assert "\x1b" not in str(caught.value)


@given(name=st.text())
def test_any_name_is_one_line_without_power_over_the_terminal(name: str) -> None:
    shown = clean_name(name)
    assert 0 < len(shown) <= 120
    assert shown.isprintable()
    assert shown == clean_name(shown)


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "a/b\\c",
        "\x1b[31mred\x07",
        "\u202egnp.exe",
        "Grüße 🏎️",
        "x" * 500,
        "\udcff",
        "",
        "  ",
        "CON",
    ],
)
def test_names_with_any_characters_never_become_paths(store: PolicyStore, name: str) -> None:
    entry = add_one(store, "plain")
    renamed = store.rename(entry.key, name)
    assert renamed.name == clean_name(name)
    assert renamed.folder == store.root / "bundles" / entry.key
    with store.begin() as incoming:
        folder = fill(incoming.bundle, b"named")
        added, _ = store.add(make_report(folder, clean_name(name)), folder)
    assert added.folder.parent == store.root / "bundles"
    names = {path.name for path in store.root.rglob("*")}
    assert names <= {
        *("bundles", "incoming", "lock", "index.json", entry.key, added.key),
        *("model.onnx", "model_metadata.json", "original", "bundle.json"),
    }


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": "x"}', b"\xff"])
def test_a_broken_index_loses_names_but_no_policy(store: PolicyStore, content: bytes) -> None:
    entry = add_one(store)
    store.activate(entry.key)
    (store.root / "index.json").write_bytes(content)
    assert uploaded(store) == ["swift"]
    assert store.active() is None
    store.activate(entry.key)
    assert json.loads((store.root / "index.json").read_bytes())["active"] == entry.key


def test_an_upload_on_its_way_is_not_swept_by_another_process_opening_the_store(store: PolicyStore) -> None:
    with store.begin() as incoming:
        fill(incoming.bundle)
        subprocess.run(
            [
                sys.executable,
                "-c",
                f"from models.store import *; PolicyStore(Path({str(store.root)!r})).list()",
            ],
            check=True,
        )
        assert incoming.bundle.is_dir()
    assert left_over(store) == []


def test_what_a_kill_left_is_swept(store: PolicyStore) -> None:
    script = (
        "import os, signal; from pathlib import Path; from models.store import PolicyStore\n"
        f"with PolicyStore(Path({str(store.root)!r})).begin() as incoming:\n"
        "    incoming.upload.write_bytes(b'half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    ended = subprocess.run([sys.executable, "-c", script], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert len(left_over(store)) == 1
    assert left_over(PolicyStore(store.root)) == []


def test_uploads_of_many_threads_and_removals_leave_a_sound_store(store: PolicyStore) -> None:
    problems: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(4):
                entry = add_one(store, f"p{number}", f"{number} {turn}".encode())
                add_one(store, "shared", b"shared")
                store.rename(entry.key, f"mine {number} {turn}")
                if turn % 2:
                    store.remove(entry.key)
        except BaseException as error:  # noqa: BLE001 - told below
            problems.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    expected = sorted([f"mine {n} {turn}" for n in range(4) for turn in (0, 2)] + ["shared"])
    assert uploaded(store) == expected
    assert list((store.root / "incoming").iterdir()) == []


KILLED_AT = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from models.store import PolicyStore
from tests.unit.store_files import fill, make_report

EVENTS = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree", "fcntl.flock")
store = PolicyStore(Path({store!r}))
with store.begin() as incoming:
    folder = fill(incoming.bundle, b"late")
    report = make_report(folder, "late")
    left = int(sys.argv[1])

    def count(event, arguments):
        global left
        if event in EVENTS:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    entry, _ = store.add(report, folder)
    store.rename(entry.key, "renamed")
    store.activate(entry.key)
    store.remove({old!r})
    store.restore({old!r})
    left = 0
sys.exit(7 if left > 0 else 0)
"""


def test_a_kill_at_any_step_leaves_the_old_or_the_new(store: PolicyStore) -> None:
    """The child kills itself at its n-th touch of a file, for every n until it gets through."""
    old = add_one(store, "old")
    store.activate("plover")
    script = KILLED_AT.format(root=os.getcwd(), store=str(store.root), old=old.key)
    seen: set[tuple[str, ...]] = set()
    for step in range(1, 400, 3):
        ended = subprocess.run([sys.executable, "-c", script, str(step)], capture_output=True, check=False)
        assert ended.returncode in {0, -signal.SIGKILL}, ended.stderr.decode()
        again = PolicyStore(store.root)
        entries = {entry.name: entry for entry in again.list() if not entry.built_in}
        seen.add(tuple(sorted(entries)))
        assert set(entries) <= {"old", "late", "renamed"}
        assert len(entries) <= 2
        for entry in entries.values():
            assert again.checked_folder(entry.key)
            assert again.original(entry.key).read_bytes().startswith(b"original")
        active = again.active()
        assert active is not None
        assert active.name in {"plover", "renamed"}
        assert list((again.root / "incoming").iterdir()) == []
        if "old" not in entries:
            again.restore(old.key)
        if ended.returncode == 0:
            break
        again.activate("plover")
        for name in {"late", "renamed"} & set(entries):
            again.remove(entries[name].key)
        again.empty_trash()
    assert ended.returncode == 0
    assert step > 60
    assert {("old",), ("late", "old"), ("old", "renamed"), ("renamed",)} <= seen


class FullAt:
    """A function of the system whose n-th call finds the disk full."""

    def __init__(self, step: int, real: Any) -> None:
        self.calls = 0
        self._step = step
        self._real = real

    def __get__(self, path: Any, _: type) -> Any:
        return self if path is None else partial(self, path)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        self.calls += 1
        if self.calls == self._step:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._real(*arguments, **named)


@pytest.mark.parametrize("failing", ["fsync", "rename", "write_bytes"])
def test_a_full_disk_at_any_step_is_a_sentence_and_leaves_the_old(
    store: PolicyStore, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_one(store, "old")
    store.activate("plover")
    place: Any = os if failing == "fsync" else Path
    for step in range(1, 12):
        full = FullAt(step, getattr(place, failing))
        with monkeypatch.context() as patched, store.begin() as incoming:
            folder = fill(incoming.bundle, b"late")
            report = make_report(folder, "late")
            patched.setattr(place, failing, full)
            with contextlib.suppress(StoreFullError):  # any other error fails the test
                late = store.add(report, folder)[0]
                store.activate(late.key)
        assert left_over(store) == []
        for entry in store.list():
            assert store.checked_folder(entry.key)
        assert store.active() is not None
        if full.calls < step:
            break
        store.activate("plover")
        for entry in store.list():
            if entry.name == "late":
                store.remove(entry.key)
        store.empty_trash()
    assert step > 1


def test_room_is_made_at_the_price_of_the_trash_or_refused(
    store: PolicyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed = store.remove(add_one(store).key)
    store.make_room(1000)
    assert store.restore(removed)
    store.remove(uploaded_key(store))
    monkeypatch.setattr(store, "_free_bytes", lambda: FREE_MARGIN_BYTES)
    with pytest.raises(StoreFullError, match="needs 5 MB and 67 MB are free"):
        store.make_room(5_000_000)
    assert left_over(store) == []


def uploaded_key(store: PolicyStore) -> str:
    return next(entry.key for entry in store.list() if not entry.built_in)


def test_a_store_without_permission_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file where the store should be")
    store = PolicyStore(tmp_path / "models")
    with pytest.raises(PolicyError, match="check the folder's permissions"):
        add_one(store)


def test_what_was_removed_is_listed_newest_first_while_it_can_come_back(tmp_path: Path) -> None:
    now_ns = [10**18]
    store = PolicyStore(tmp_path / "models", wall_ns=lambda: now_ns[0])
    first, second = add_one(store, "a"), add_one(store, "b")
    store.rename(first.key, "renamed")
    for entry in (first, second):
        now_ns[0] += 10**9
        store.remove(entry.key)
    assert [entry.name for entry in store.removed()] == ["b", "renamed"]
    store.restore(store.removed()[0].removed)
    assert [entry.name for entry in store.removed()] == ["renamed"]
    now_ns[0] += int((TRASH_KEPT_S + 2) * 1e9)
    assert store.removed() == ()


def test_room_counts_the_trash_and_leaves_it(store: PolicyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    removed = store.remove(add_one(store, network=bytes(5000)).key)
    monkeypatch.setattr(store, "_free_bytes", lambda: FREE_MARGIN_BYTES)
    store.check_room(4000)
    with pytest.raises(StoreFullError, match="free"):
        store.check_room(10**6)
    assert store.removed()[0].removed == removed


def test_every_change_changes_the_stamp(store: PolicyStore) -> None:
    seen = {store.stamp()}
    entry = add_one(store)
    seen.add(store.stamp())
    store.rename(entry.key, "other")
    seen.add(store.stamp())
    store.remove(entry.key)
    seen.add(store.stamp())
    assert len(seen) == 4
    assert store.stamp() == store.stamp()
