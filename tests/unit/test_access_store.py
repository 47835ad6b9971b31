"""The access file: one password, sessions on a clock that no step moves, keys and links as hashes."""

import os
import stat
import threading
from pathlib import Path

import pytest

from tests.unit.webui_visitors import PASSWORD_HASH
from webui import access_store
from webui.access_state import SESSION_LIFE_NS, SESSIONS_KEPT, SIGN_IN_LINK_LIFE_NS, hashed
from webui.access_store import (
    SAVE_USE_EVERY_NS,
    AccessError,
    AccessStore,
    AlreadySetUpError,
    NotFoundError,
    WrongSetupCodeError,
    write_secretly,
)


class Clock:
    """CLOCK_BOOTTIME of a computer that the test starts anew."""

    def __init__(self) -> None:
        self.now_ns = 1_000_000_000_000

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> AccessStore:
    return AccessStore(tmp_path / "access", clock, boot="first")


def another(store: AccessStore, clock: Clock, boot: str = "first") -> AccessStore:
    """Return the same store as another process, or another boot, sees it."""
    return AccessStore(store.root, clock, boot=boot)


def files(store: AccessStore) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.root.iterdir()}


def test_every_file_is_readable_by_its_owner_alone(store: AccessStore) -> None:
    before = os.umask(0)
    try:
        store.open_session("owner", "")
        store.setup_code()
    finally:
        os.umask(before)
    assert set(files(store)) == {"access.json", "lock", "secret.key", "setup-code"}
    assert stat.S_IMODE(store.root.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in store.root.iterdir()} == {0o600}


def test_the_set_up_code_stays_the_same_until_it_is_used(store: AccessStore, clock: Clock) -> None:
    code = store.setup_code()
    assert another(store, clock).setup_code() == code
    assert len(code) == 9

    store.set_first_password(code.lower().replace("-", " "), PASSWORD_HASH)

    assert not (store.root / "setup-code").exists()
    with pytest.raises(AlreadySetUpError):
        store.setup_code()


def test_a_wrong_code_sets_nothing(store: AccessStore) -> None:
    store.setup_code()
    with pytest.raises(WrongSetupCodeError, match="lapwing setup-code"):
        store.set_first_password("AAAA-AAAA", PASSWORD_HASH)
    assert not store.has_password


def test_of_many_first_visits_at_once_one_wins(store: AccessStore, clock: Clock) -> None:
    code = store.setup_code()
    ready = threading.Barrier(6, timeout=10)
    outcomes: list[str] = []

    def visit(number: int) -> None:
        mine = another(store, clock)
        ready.wait()
        try:
            mine.set_first_password(code, f"{PASSWORD_HASH}{number}")
            outcomes.append("set")
        except AlreadySetUpError:
            outcomes.append("refused")

    visitors = [threading.Thread(target=visit, args=(number,)) for number in range(6)]
    for each in visitors:
        each.start()
    for each in visitors:
        each.join()
    assert sorted(outcomes) == ["refused"] * 5 + ["set"]


def test_a_session_is_known_to_every_process_and_kept_as_a_hash(store: AccessStore, clock: Clock) -> None:
    token = store.open_session("owner", "  Chrome\non Android ")
    session = another(store, clock).session(token)
    assert session is not None
    assert session.name == "Chrome on Android"
    assert all(token.encode() not in content for content in files(store).values())
    assert store.session("another") is None
    assert store.session("\udcff") is None


def test_a_session_lasts_while_it_is_used_and_ends_when_it_is_not(store: AccessStore, clock: Clock) -> None:
    token = store.open_session("owner", "")
    for _ in range(5):
        clock.now_ns += SESSION_LIFE_NS - 1
        assert store.session(token) is not None
        assert store.has_session(hashed(token))
    clock.now_ns += SESSION_LIFE_NS
    assert not store.has_session(hashed(token))
    assert store.session(token) is None
    assert store.sessions() == []


def test_the_last_use_survives_a_restart_of_the_process(store: AccessStore, clock: Clock) -> None:
    token = store.open_session("owner", "")
    clock.now_ns += SESSION_LIFE_NS - 1
    store.session(token)
    store.wait_saved()
    clock.now_ns += SESSION_LIFE_NS - 1
    assert another(store, clock).session(token) is not None


def test_a_step_of_the_wall_clock_logs_nobody_out(
    store: AccessStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = store.open_session("owner", "")
    for step_s in (-40 * 365 * 86400.0, 40 * 365 * 86400.0):
        monkeypatch.setattr("time.time", lambda step_s=step_s: step_s)
        monkeypatch.setattr("time.time_ns", lambda step_s=step_s: int(step_s * 1e9))
        assert another(store, clock).session(token) is not None


def test_what_passed_while_the_car_was_off_counts_nothing(store: AccessStore, clock: Clock) -> None:
    token = store.open_session("owner", "")
    clock.now_ns += SESSION_LIFE_NS // 2
    store.set_stop_needs_sign_in(True)  # written, at half of the session's life
    clock.now_ns = 5_000_000_000

    rebooted = another(store, clock, boot="second")
    assert rebooted.session(token) is not None
    clock.now_ns += SESSION_LIFE_NS
    assert rebooted.session(token) is None


def test_nobody_waits_for_a_disk_that_blocks_while_the_use_of_a_session_is_saved(
    store: AccessStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, mended = store.open_session("owner", ""), threading.Event()
    write = access_store.write_secretly

    def block(path: Path, data: bytes) -> None:
        mended.wait(30.0)
        write(path, data)

    monkeypatch.setattr(access_store, "write_secretly", block)
    for _ in range(3):
        clock.now_ns += SAVE_USE_EVERY_NS + 1
        assert store.session(token) is not None
        assert store.has_session(hashed(token))
        assert not store.state().stop_needs_sign_in  # which the emergency stop asks
    assert sum(thread.name == "save-use" for thread in threading.enumerate()) == 1
    mended.set()
    store.wait_saved()
    assert another(store, clock).state().sessions[hashed(token)].used_ns > SAVE_USE_EVERY_NS


def test_a_session_is_not_renewed_by_a_reboot(store: AccessStore, clock: Clock) -> None:
    token = store.open_session("owner", "")
    clock.now_ns += SESSION_LIFE_NS // 2
    store.set_stop_needs_sign_in(True)
    clock.now_ns = 5_000_000_000
    rebooted = another(store, clock, boot="second")
    rebooted.state()
    clock.now_ns += SESSION_LIFE_NS // 2 + 1
    assert rebooted.session(token) is None


def test_a_new_password_ends_every_session_in_every_process(store: AccessStore, clock: Clock) -> None:
    other = another(store, clock)
    token, link = store.open_session("owner", ""), store.make_sign_in_link()
    assert other.session(token) is not None

    store.set_password(PASSWORD_HASH)

    assert other.session(token) is None
    assert not other.spend_sign_in_link(link)


def test_a_new_password_leaves_keys_and_links_unless_told(store: AccessStore) -> None:
    key, link = store.make_key("laps"), store.make_view_link("Anna")
    store.set_password(PASSWORD_HASH)
    assert store.key(key) is not None
    assert store.view_link(link) is not None

    store.set_password(PASSWORD_HASH, revoke_all=True)
    assert store.key(key) is None
    assert store.view_link(link) is None


def test_a_key_is_kept_as_a_hash_and_can_be_revoked(store: AccessStore, clock: Clock) -> None:
    text = store.make_key("laps")
    assert all(text.encode() not in content for content in files(store).values())
    key = another(store, clock).key(text)
    assert key is not None
    assert key.name == "laps"

    store.revoke_key(key.id)

    assert another(store, clock).key(text) is None
    with pytest.raises(NotFoundError):
        store.revoke_key(key.id)


def test_too_many_keys_are_refused(store: AccessStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webui.access_store.SECRETS_LIMIT", 2)
    store.make_key("")
    store.make_key("")
    with pytest.raises(AccessError, match="allowed 2; revoke one first"):
        store.make_key("")


def test_a_revoked_view_link_signs_out_who_came_by_it_and_nobody_else(store: AccessStore) -> None:
    anna, ben = (store.view_link(store.make_view_link(name)) for name in ("Anna", "Ben"))
    assert anna is not None
    assert ben is not None
    of_anna, of_ben = (store.open_session("viewer", link.name, link.id) for link in (anna, ben))
    owner = store.open_session("owner", "")

    store.revoke_view_link(anna.id)

    assert store.session(of_anna) is None
    assert store.session(of_ben) is not None
    assert store.session(owner) is not None


def test_a_sign_in_link_works_once_and_soon(store: AccessStore, clock: Clock) -> None:
    link, late = store.make_sign_in_link(), store.make_sign_in_link()
    assert another(store, clock).spend_sign_in_link(link)
    assert not store.spend_sign_in_link(link)
    clock.now_ns += SIGN_IN_LINK_LIFE_NS
    assert not store.spend_sign_in_link(late)


def test_the_session_longest_unused_goes_when_there_are_too_many(store: AccessStore, clock: Clock) -> None:
    tokens = []
    for _ in range(SESSIONS_KEPT + 2):
        clock.now_ns += 1
        tokens.append(store.open_session("owner", ""))
    assert store.session(tokens[0]) is None
    assert all(store.session(token) is not None for token in tokens[2:])


def test_the_token_of_forms_is_the_sessions_own_and_outlives_the_process(
    store: AccessStore, clock: Clock, tmp_path: Path
) -> None:
    token = store.csrf_token("a")
    assert another(store, clock).csrf_token("a") == token
    assert store.csrf_token("b") != token
    assert AccessStore(tmp_path / "other", clock).csrf_token("a") != token


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"version": 1, "sessions": 3}'])
def test_a_damaged_file_lets_nobody_in_and_says_what_to_do(
    store: AccessStore, clock: Clock, content: bytes
) -> None:
    store.set_password(PASSWORD_HASH)
    (store.root / "access.json").write_bytes(content)
    with pytest.raises(AccessError, match="lapwing password"):
        _ = another(store, clock).has_password


def test_a_write_that_fails_leaves_the_old_file(store: AccessStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.set_password(PASSWORD_HASH)
    before = (store.root / "access.json").read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(AccessError, match="free space"):
        store.make_key("laps")
    assert (store.root / "access.json").read_bytes() == before
    assert store.state().keys == ()


def test_a_secret_is_never_readable_by_others_not_even_half_written(tmp_path: Path) -> None:
    (tmp_path / "key.tmp").write_text("left by a kill")
    write_secretly(tmp_path / "key", b"new")
    assert (tmp_path / "key").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
