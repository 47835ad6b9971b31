"""Access on the car's console: the set-up code, another password, and what `lapwing run` says of the page.

python -m webui.access_command ROOT    makes ROOT a place where nobody knows the password, and prints
                                       an API key: for a measurement or a test with a page of its own;
                                       with --link ADDRESS a link that signs one browser in, once
"""

import argparse
import contextlib
import getpass
import sys
from pathlib import Path
from urllib.parse import urlencode

from webui.access_state import new_token
from webui.access_store import AccessError, AccessStore, AlreadySetUpError
from webui.certificates import Certificates
from webui.passwords import PasswordError, Passwords
from webui.webhook import webhook_key


def show_setup_code(root: Path | None = None) -> str:
    """Return the set-up code; raises AlreadySetUpError after the first visit."""
    return AccessStore(root).setup_code()


def set_password(root: Path | None = None, *, revoke_all: bool = False) -> str:
    """Ask for a new password on the console, twice, and return what was done; raises AccessError."""
    if sys.stdin.isatty():
        password = getpass.getpass("New password of the car's page: ")
        if getpass.getpass("The same again: ") != password:
            raise PasswordError("the two passwords differ; start again")
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    store = AccessStore(root)
    password_hash = Passwords().hash(password)
    _set_damaged_aside(store)
    store.set_password(password_hash, revoke_all=revoke_all)
    state = store.state()
    left = [f"{len(state.keys)} API keys" if state.keys else ""]
    left.append(f"{len(state.view_links)} view-only links" if state.view_links else "")
    stays = " and ".join(filter(None, left))
    remain = f" {stays} still work; `lapwing password --revoke-all` ends them too." if stays else ""
    return f"The password is set; every browser has been signed out.{remain}"


def show_webhook_key(root: Path | None = None) -> str:
    """Return the key that signs what the webhook sends; raises ConfigError."""
    return webhook_key(AccessStore(root).root).decode()


def welcome(address: str, root: Path | None = None) -> str:
    """Return what somebody who has started the car must know to open its page."""
    store = AccessStore(root)
    words = []
    if address.startswith("https:"):
        fingerprint = Certificates(store.root).fingerprint
        words.append(f"Its certificate authority has the SHA-256 fingerprint {fingerprint}.")
    with contextlib.suppress(AlreadySetUpError):
        words.append(
            f"First visit: open {address} and set the car's password with the set-up code "
            f"[bold]{store.setup_code()}[/bold]. Nothing moves from the page before."
        )
    return "\n".join(words)


def private_sign_in_link(root: Path, address: str) -> str:
    """Return a link that signs one browser in, once, to a page whose password nobody knows."""
    store = _private_store(root)
    return f"{address}sign-in?{urlencode({'link': store.make_sign_in_link()})}"


def _private_store(root: Path) -> AccessStore:
    store = AccessStore(root)
    if not store.has_password:
        store.set_password(Passwords().hash(new_token()))
    return store


def _set_damaged_aside(store: AccessStore) -> None:
    """Make room for a new file where the old one cannot be read."""
    try:
        store.state()
    except AccessError:
        damaged = store.root / "access.json"
        damaged.replace(damaged.with_suffix(".damaged"))


def main() -> None:
    """Print an API key for a private page, or a link to it."""
    parser = argparse.ArgumentParser(prog="python -m webui.access_command")
    parser.add_argument("root", type=Path)
    parser.add_argument("--link", metavar="ADDRESS", help="of the page")
    given = parser.parse_args()
    key_or_link = (
        private_sign_in_link(given.root, given.link)
        if given.link
        else _private_store(given.root).make_key("a measurement")
    )
    sys.stdout.write(f"{key_or_link}\n")


if __name__ == "__main__":
    main()
