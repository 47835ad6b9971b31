"""Who may come in, on disk: one file, written whole or not at all, read again when another process wrote it.

    access.json    hashes of the password, of sessions, API keys and links
    secret.key     what the tokens of forms are made with
    setup-code     until the first password is set; readable by the car's user alone
    lock           one writer at a time, over all processes

Expiry is counted on CLOCK_BOOTTIME: a track has no time server, and a clock that is put right there
must log nobody out.
"""

import contextlib
import datetime
import fcntl
import hashlib
import hmac
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from models.store import default_store_root
from vehicle.errors import LapwingError
from webui.access_state import (
    SESSION_LIFE_NS,
    AccessState,
    Secret,
    Session,
    SessionKind,
    SignInLink,
    hashed,
    new_token,
    same,
    short_name,
)

SETUP_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # no I, O, 0, 1: people read it from a terminal
SETUP_GROUPS = 2
SETUP_GROUP_LENGTH = 4  # 40 bits, and guessing is slowed
SAVE_USE_EVERY_NS = 3600 * 10**9
SECRETS_LIMIT = 50  # API keys, or view-only links


class AccessError(LapwingError):
    """Something about who may come in cannot be done."""


class AlreadySetUpError(AccessError):
    """There is a password already."""


class WrongSetupCodeError(AccessError):
    """The set-up code is another one."""


class NotFoundError(AccessError):
    """There is no such key, link or session any more."""


def default_access_root() -> Path:
    """Return where this user's access file is kept: beside the policies."""
    return default_store_root().with_name("access")


def boot_time_ns() -> int:
    """Return the time since the computer started, sleep included; no clock step changes it."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """Return a name of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


class AccessStore:
    """The access file. Safe in any thread and for several processes at once."""

    def __init__(
        self,
        root: Path | None = None,
        clock_ns: Callable[[], int] = boot_time_ns,
        boot: str = "",
    ) -> None:
        """Open the folder, making it where there is none.

        Raises:
            AccessError: the folder cannot be used.

        """
        self.root = root or default_access_root()
        self._clock_ns = clock_ns
        self._boot = boot or boot_id()
        self._thread_lock = threading.RLock()
        """Of what is in memory; never held while a disk is waited for, which may block without an end."""
        self._write_lock = threading.RLock()
        self._use_saver = threading.Thread()
        self._signature: tuple[int, int, int] | None = None
        self._state = AccessState()
        self._used_ns: dict[str, int] = {}
        with _as_access_error(self.root):
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._secret_key = self._load_secret_key()

    # ---- what is so ----

    def state(self) -> AccessState:
        """Return what is in force now, whoever wrote it last."""
        with self._thread_lock:
            signature = self._read_signature()
            if signature != self._signature:
                self._state = self._read().moved_to(self._boot, self._clock_ns())
                self._signature = signature
            return self._state

    @property
    def has_password(self) -> bool:
        """Whether the first visit is over."""
        return bool(self.state().password)

    def csrf_token(self, token: str) -> str:
        """Return what the forms of a session carry; it lives as long as the session."""
        return hmac.new(self._secret_key, hashed(token).encode(), hashlib.sha256).hexdigest()

    # ---- the password ----

    def setup_code(self) -> str:
        """Return the code for the first visit, made when there is none; raises AlreadySetUpError."""
        with self._writing() as state:
            if state.password:
                raise AlreadySetUpError(
                    "the password is set already, allowed is one first visit; "
                    "`lapwing password` on the car's console sets another"
                )
            with contextlib.suppress(FileNotFoundError):
                code = self._code_file.read_text().strip()
                if code:
                    return code
            groups = [
                "".join(secrets.choice(SETUP_ALPHABET) for _ in range(SETUP_GROUP_LENGTH))
                for _ in range(SETUP_GROUPS)
            ]
            code = "-".join(groups)
            write_secretly(self._code_file, f"{code}\n".encode())
            return code

    def set_first_password(self, code: str, password_hash: str) -> None:
        """Set the first password, of the one who has the code; of two at once one gets AlreadySetUpError."""
        expected = self.setup_code()
        with self._writing() as state:
            if state.password:
                raise AlreadySetUpError("somebody has set the password already; sign in with it")
            if not same(_plain(code), _plain(expected)):
                raise WrongSetupCodeError(
                    "that is not the set-up code; `lapwing setup-code` on the car's console shows it"
                )
            self._write(msgspec.structs.replace(state, password=password_hash))
            self._code_file.unlink(missing_ok=True)

    def set_password(self, password_hash: str, *, revoke_all: bool = False) -> None:
        """Set another password; every session and sign-in link ends, with `revoke_all` keys and links too."""
        with self._writing() as state:
            changed = msgspec.structs.replace(state, password=password_hash, sessions={}, sign_in_links=())
            if revoke_all:
                changed = msgspec.structs.replace(changed, keys=(), view_links=())
            self._write(changed)
            self._code_file.unlink(missing_ok=True)

    # ---- sessions ----

    def open_session(self, kind: SessionKind, name: str, link: str = "") -> str:
        """Return the cookie of a new session."""
        token = new_token()
        with self._writing() as state:
            session = Session(kind, short_name(name, "A browser"), self._clock_ns(), link)
            self._write(
                msgspec.structs.replace(state, sessions={**self._used(state), hashed(token): session})
            )
        return token

    def session(self, token: str) -> Session | None:
        """Return the session of this cookie and note its use; None when there is none or it has run out."""
        now_ns = self._clock_ns()
        key = hashed(token)
        session = self.state().sessions.get(key)
        if session is None:
            return None
        with self._thread_lock:
            used_ns = max(session.used_ns, self._used_ns.get(key, session.used_ns))
            if now_ns - used_ns >= SESSION_LIFE_NS:
                return None
            self._used_ns[key] = now_ns
            if now_ns - session.used_ns > SAVE_USE_EVERY_NS and not self._use_saver.is_alive():
                self._use_saver = threading.Thread(target=self._save_use, name="save-use", daemon=True)
                self._use_saver.start()  # whoever asks, for a stop perhaps, does not wait for the disk
        return session

    def wait_saved(self) -> None:
        """Return when the use that was noted so far is on the disk, or could not be."""
        if self._use_saver.ident is not None:
            self._use_saver.join()

    def _save_use(self) -> None:
        with contextlib.suppress(AccessError), self._writing() as state:  # a full disk logs nobody out
            self._write(msgspec.structs.replace(state, sessions=self._used(state)))

    def has_session(self, key: str) -> bool:
        """Whether the session with this hash still stands."""
        session = self.state().sessions.get(key)
        if session is None:
            return False
        with self._thread_lock:
            used_ns = max(session.used_ns, self._used_ns.get(key, session.used_ns))
        return self._clock_ns() - used_ns < SESSION_LIFE_NS

    def sessions(self) -> list[tuple[str, Session]]:
        """Return hash and session of each signed-in browser, last used first."""
        alive = msgspec.structs.replace(self.state(), sessions=self._used(self.state()))
        alive = alive.without_expired(self._clock_ns())
        return sorted(alive.sessions.items(), key=lambda item: -item[1].used_ns)

    def idle_s(self, session: Session) -> float:
        """Return how long ago a session was used last."""
        return (self._clock_ns() - session.used_ns) / 1e9

    def close_session(self, key: str) -> None:
        """Sign the browser with this hash out; one that is out already stays so."""
        with self._writing() as state:
            sessions = {other: session for other, session in state.sessions.items() if other != key}
            self._write(msgspec.structs.replace(state, sessions=sessions))

    # ---- keys and links ----

    def make_key(self, name: str) -> str:
        """Return a new API key; it is shown once and kept as a hash."""
        with self._writing() as state:
            secret, text = _make_secret(name, "A script", state.keys, "API keys")
            self._write(msgspec.structs.replace(state, keys=(*state.keys, secret)))
        return text

    def key(self, text: str) -> Secret | None:
        """Return the API key with this text."""
        return _find(self.state().keys, text)

    def revoke_key(self, key_id: str) -> None:
        """Forget an API key; raises NotFoundError."""
        with self._writing() as state:
            self._write(msgspec.structs.replace(state, keys=_without(state.keys, key_id, "API key")))

    def make_view_link(self, name: str) -> str:
        """Return the secret of a new view-only link."""
        with self._writing() as state:
            secret, text = _make_secret(name, "A visitor", state.view_links, "view-only links")
            self._write(msgspec.structs.replace(state, view_links=(*state.view_links, secret)))
        return text

    def view_link(self, text: str) -> Secret | None:
        """Return the view-only link with this secret."""
        return _find(self.state().view_links, text)

    def revoke_view_link(self, link_id: str) -> None:
        """Forget a view-only link and sign everybody out who came by it; raises NotFoundError."""
        with self._writing() as state:
            sessions = {key: session for key, session in state.sessions.items() if session.link != link_id}
            links = _without(state.view_links, link_id, "view-only link")
            self._write(msgspec.structs.replace(state, view_links=links, sessions=sessions))

    def make_sign_in_link(self) -> str:
        """Return the secret of a link that signs one browser in, once, within ten minutes."""
        text = new_token()
        with self._writing() as state:
            link = SignInLink(hashed(text), self._clock_ns())
            self._write(msgspec.structs.replace(state, sign_in_links=(*state.sign_in_links, link)))
        return text

    def spend_sign_in_link(self, text: str) -> bool:
        """Whether this link lets a browser in now; never a second time."""
        wanted = hashed(text)
        with self._writing() as state:
            left = tuple(link for link in state.sign_in_links if not same(link.hash, wanted))
            if len(left) == len(state.sign_in_links):
                return False
            self._write(msgspec.structs.replace(state, sign_in_links=left))
        return True

    def set_stop_needs_sign_in(self, needed: bool) -> None:
        """Say whether the emergency stop is for those who are signed in only."""
        with self._writing() as state:
            self._write(msgspec.structs.replace(state, stop_needs_sign_in=needed))

    # ---- the files ----

    @property
    def _code_file(self) -> Path:
        return self.root / "setup-code"

    @property
    def _state_file(self) -> Path:
        return self.root / "access.json"

    def _used(self, state: AccessState) -> dict[str, Session]:
        """Return the sessions with their last use as this process knows it."""
        with self._thread_lock:
            used_ns = dict(self._used_ns)
        return {
            key: msgspec.structs.replace(
                session, used_ns=max(session.used_ns, used_ns.get(key, session.used_ns))
            )
            for key, session in state.sessions.items()
        }

    @contextlib.contextmanager
    def _writing(self) -> Iterator[AccessState]:
        """Keep every other writer out, and give what is in force."""
        with self._write_lock, _as_access_error(self.root):
            descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield self.state().without_expired(self._clock_ns())
            finally:
                os.close(descriptor)

    def _write(self, state: AccessState) -> None:
        now_ns = self._clock_ns()
        state = msgspec.structs.replace(state, boot=self._boot, saved_ns=now_ns)
        write_secretly(self._state_file, msgspec.json.format(msgspec.json.encode(state), indent=1))
        with self._thread_lock:
            self._used_ns = {key: ns for key, ns in self._used_ns.items() if key in state.sessions}
            self._state = state
            self._signature = self._read_signature()

    def _read_signature(self) -> tuple[int, int, int] | None:
        try:
            status = self._state_file.stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _read(self) -> AccessState:
        try:
            return msgspec.json.decode(self._state_file.read_bytes(), type=AccessState)
        except FileNotFoundError:
            return AccessState()
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            # Never a car without a password because a disk went bad: nobody comes in until the owner looks.
            raise AccessError(
                f"{self._state_file} is damaged ({error}); on the car's console remove it, "
                "then `lapwing password` sets a password anew"
            ) from None

    def _load_secret_key(self) -> bytes:
        path = self.root / "secret.key"
        descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                key = path.read_bytes()
                if len(key) == hashlib.sha256().digest_size:
                    return key
            key = secrets.token_bytes(hashlib.sha256().digest_size)
            write_secretly(path, key)
            return key
        finally:
            os.close(descriptor)


def write_secretly(path: Path, data: bytes) -> None:
    """Replace the file's content, whole, on the disk, and readable by its owner alone at every moment."""
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextlib.contextmanager
def _as_access_error(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise AccessError(
            f"{root} cannot be used ({error.strerror or error}); check free space and permissions"
        ) from error


def _plain(code: str) -> str:
    """Return a code as it is compared: people leave out the dash and the capitals."""
    return "".join(character for character in code.upper() if character.isalnum())


def _make_secret(name: str, otherwise: str, present: tuple[Secret, ...], what: str) -> tuple[Secret, str]:
    if len(present) >= SECRETS_LIMIT:
        raise AccessError(f"there are {len(present)} {what}, allowed {SECRETS_LIMIT}; revoke one first")
    text = new_token()
    made_at = datetime.datetime.now().astimezone().isoformat(timespec="minutes")
    return Secret(secrets.token_hex(6), short_name(name, otherwise), hashed(text), made_at), text


def _find(present: tuple[Secret, ...], text: str) -> Secret | None:
    wanted = hashed(text)
    return next((secret for secret in present if same(secret.hash, wanted)), None)


def _without(present: tuple[Secret, ...], wanted: str, what: str) -> tuple[Secret, ...]:
    left = tuple(secret for secret in present if secret.id != wanted)
    if len(left) == len(present):
        raise NotFoundError(f"there is no such {what} any more; look at the list again")
    return left
