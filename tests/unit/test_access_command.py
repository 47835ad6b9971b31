"""Access on the console: the set-up code, another password, a private page for demo and bench."""

import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.webui_visitors import PASSWORD, PASSWORD_HASH
from webui import access_command
from webui.access_command import private_sign_in_link, set_password, show_setup_code, welcome
from webui.access_store import AccessStore, AlreadySetUpError
from webui.passwords import PasswordError, Passwords


def typed(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_the_set_up_code_on_the_console_is_the_one_that_the_page_wants(tmp_path: Path) -> None:
    code = show_setup_code(tmp_path)
    assert code in welcome("http://127.0.0.1:8080/", tmp_path)
    AccessStore(tmp_path).set_first_password(code, PASSWORD_HASH)

    assert welcome("http://127.0.0.1:8080/", tmp_path) == ""
    with pytest.raises(AlreadySetUpError, match="lapwing password"):
        show_setup_code(tmp_path)


def test_the_console_sets_a_password_without_the_old_one_and_ends_sessions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = AccessStore(tmp_path)
    store.set_password(PASSWORD_HASH)
    session, key = store.open_session("owner", ""), store.make_key("laps")

    typed("three new words\n", monkeypatch)
    said = set_password(tmp_path)

    assert "1 API keys still work" in said
    assert store.session(session) is None
    assert store.key(key) is not None
    assert Passwords().is_right("three new words", store.state().password)
    assert not Passwords().is_right(PASSWORD, store.state().password)

    typed("three new words\n", monkeypatch)
    assert "still work" not in set_password(tmp_path, revoke_all=True)
    assert store.key(key) is None


def test_a_password_that_is_too_short_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    AccessStore(tmp_path).set_password(PASSWORD_HASH)
    typed("short\n", monkeypatch)
    with pytest.raises(PasswordError, match="5 characters, allowed 8 to 256"):
        set_password(tmp_path)
    assert AccessStore(tmp_path).state().password == PASSWORD_HASH


def test_the_console_repairs_a_damaged_access_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    AccessStore(tmp_path).set_password(PASSWORD_HASH)
    (tmp_path / "access.json").write_text("{")
    typed("three new words\n", monkeypatch)
    set_password(tmp_path)
    assert Passwords().is_right("three new words", AccessStore(tmp_path).state().password)
    assert (tmp_path / "access.damaged").read_text() == "{"


def test_a_private_page_has_a_password_that_nobody_knows_and_links_that_work_once(tmp_path: Path) -> None:
    address = private_sign_in_link(tmp_path, "http://127.0.0.1:8080/")
    link = re.fullmatch(r"http://127\.0\.0\.1:8080/sign-in\?link=([\w-]{43})", address)
    assert link is not None
    store = AccessStore(tmp_path)
    assert store.has_password
    before = store.state().password
    assert private_sign_in_link(tmp_path, "http://127.0.0.1:8080/") != address
    assert store.state().password == before
    assert store.spend_sign_in_link(link[1])
    assert not store.spend_sign_in_link(link[1])


def test_a_measurement_gets_a_key_of_a_page_of_its_own(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "webui.access_command", str(tmp_path / "access")]
    key = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    assert AccessStore(tmp_path / "access").key(key) is not None


def test_a_measurement_gets_a_key_or_a_link_for_a_browser(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    address = "http://127.0.0.1:8080/"
    for arguments in ([str(tmp_path)], [str(tmp_path), "--link", address]):
        monkeypatch.setattr("sys.argv", ["access_command", *arguments])
        access_command.main()
    key, link = capsys.readouterr().out.split()
    store = AccessStore(tmp_path)
    assert store.key(key) is not None
    assert link.startswith(f"{address}sign-in?link=")
    assert store.spend_sign_in_link(link.partition("=")[2])
