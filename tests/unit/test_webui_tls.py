"""HTTPS: the car's own authority, a certificate that follows its names, sockets for two threads."""

import datetime
import errno
import os
import re
import select
import socket
import ssl
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from tests.unit.test_webui_server import run_dir, serving  # noqa: F401 - a fixture
from tests.unit.webui_visitors import signed_in_headers
from webui.certificates import EARLIEST, CertificateError, Certificates
from webui.hosts import Hosts
from webui.tls_context import LOOKED_AT_EVERY_S, TlsContexts
from webui.tls_socket import SharedTlsSocket
from webui.worker import COMPUTER_LIMIT

NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)


@pytest.fixture
def certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Certificates:
    monkeypatch.setattr("socket.gethostname", lambda: "blue")
    return Certificates(tmp_path / "access", lambda: NOW)


def served(certificates: Certificates) -> x509.Certificate:
    data = certificates.server_file.read_bytes()
    return x509.load_pem_x509_certificate(data[data.index(b"-----BEGIN CERT") :])


def alternatives(certificates: Certificates) -> set[str]:
    names = served(certificates).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(each.value) for each in names}


def trusting(certificates: Certificates) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificates.authority_file))


def test_the_authority_is_made_once_and_its_key_is_its_owners_alone(certificates: Certificates) -> None:
    root = certificates.authority_file.parent
    again = Certificates(root)
    assert again.fingerprint == certificates.fingerprint
    assert re.fullmatch(r"([0-9A-F]{2}:){31}[0-9A-F]{2}", again.fingerprint)
    certificates.serve_for((), ())
    for name in ("ca.key", "server.pem"):
        assert stat.S_IMODE((root / name).stat().st_mode) == 0o600


def test_the_certificate_is_for_the_cars_names_and_local_addresses(certificates: Certificates) -> None:
    names = ["blue", "blue.local", "blue.fritz.box", "bank.example"]
    assert certificates.serve_for(names, ["192.168.1.20", "fd00::5", "8.8.8.8"])
    assert alternatives(certificates) == {
        "blue", "blue.local", "blue.fritz.box", "localhost", "127.0.0.1", "::1", "192.168.1.20", "fd00::5",
    }  # fmt: skip


def test_the_certificate_is_made_anew_only_when_something_changed(certificates: Certificates) -> None:
    assert certificates.serve_for(["blue.local"], ["192.168.1.20"])
    assert not certificates.serve_for(["blue.local"], ["192.168.1.20"])
    assert certificates.serve_for(["blue.local"], ["192.168.1.21"])
    assert certificates.serve_for(["red.local"], ["192.168.1.21"])
    certificates.server_file.write_bytes(certificates.server_file.read_bytes()[:400])
    assert certificates.serve_for(["red.local"], ["192.168.1.21"])


def test_the_certificate_is_renewed_long_before_it_ends(certificates: Certificates) -> None:
    certificates.serve_for((), ())
    root = certificates.authority_file.parent
    later = Certificates(root, lambda: NOW + datetime.timedelta(days=300))
    assert not later.serve_for((), ())
    later = Certificates(root, lambda: NOW + datetime.timedelta(days=400))
    assert later.serve_for((), ())
    assert served(later).not_valid_after_utc > NOW + datetime.timedelta(days=1100)


def test_no_certificate_lasts_longer_than_phones_allow(certificates: Certificates) -> None:
    certificates.serve_for((), ())
    certificate = served(certificates)
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc < datetime.timedelta(days=825)


def test_a_clock_that_was_never_set_is_not_believed(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path, lambda: datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC))
    certificates.serve_for((), ())
    assert served(certificates).not_valid_before_utc == EARLIEST
    assert served(certificates).not_valid_after_utc > EARLIEST + datetime.timedelta(days=700)


def test_a_damaged_authority_is_refused_with_what_to_do(certificates: Certificates) -> None:
    certificates.authority_file.write_text("nonsense")
    with pytest.raises(CertificateError, match=r"remove ca\.crt and ca\.key"):
        Certificates(certificates.authority_file.parent)


def handshake(
    client: ssl.SSLContext, server: ssl.SSLContext, name: str
) -> tuple[ssl.SSLSocket, ssl.SSLSocket]:
    """Connect two ends on loopback and return client and server."""
    near, far = socket.socketpair()
    made: list[ssl.SSLSocket] = []

    def accept() -> None:
        end = server.wrap_socket(far, server_side=True, do_handshake_on_connect=False)
        end.do_handshake()
        made.append(end)

    thread = threading.Thread(target=accept)
    thread.start()
    end = client.wrap_socket(near, server_hostname=name)
    thread.join()
    return end, made[0]


def test_a_browser_that_trusts_the_authority_trusts_the_car_under_its_names(
    certificates: Certificates,
) -> None:
    contexts = TlsContexts(certificates, Hosts(["blue.local"], lambda: frozenset({"192.168.1.20"})))
    for name in ("blue.local", "192.168.1.20", "localhost"):
        client, server = handshake(trusting(certificates), contexts.current(), name)
        assert isinstance(server, SharedTlsSocket)
        client.close()
        server.close()


def test_a_full_disk_leaves_the_old_certificate_and_cuts_nobody_off(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s, addresses = [0.0], [frozenset({"192.168.1.20"})]
    hosts = Hosts((), lambda: addresses[0], clock_s=lambda: now_s[0])
    contexts = TlsContexts(certificates, hosts, lambda: now_s[0])
    first = contexts.current()

    def write(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr("webui.certificates.write_secretly", write)
        now_s[0], addresses[0] = 100.0, frozenset({"192.168.1.21"})
        assert contexts.current() is first
        assert TlsContexts(certificates, hosts, lambda: now_s[0]).current() is not None  # one that starts now
    now_s[0] = 200.0
    assert contexts.current() is not first


def test_an_address_that_comes_while_the_page_is_up_is_covered_soon(certificates: Certificates) -> None:
    addresses = [frozenset({"192.168.1.20"})]
    now_s = [0.0]
    hosts = Hosts((), lambda: addresses[0], clock_s=lambda: now_s[0])
    contexts = TlsContexts(certificates, hosts, lambda: now_s[0])
    first = contexts.current()
    assert contexts.current() is first
    addresses[0] = frozenset({"10.1.2.3"})
    now_s[0] += LOOKED_AT_EVERY_S
    assert contexts.current() is not first
    assert "10.1.2.3" in alternatives(certificates)


# ---- the socket ----


@pytest.fixture
def ends(certificates: Certificates) -> Iterator[tuple[ssl.SSLSocket, ssl.SSLSocket]]:
    contexts = TlsContexts(certificates, Hosts(loopback_only=True))
    client, server = handshake(trusting(certificates), contexts.current(), "localhost")
    client.settimeout(10)
    yield client, server
    client.close()
    server.close()


def read_all(end: ssl.SSLSocket, size: int) -> bytes:
    got = b""
    while len(got) < size:
        got += end.recv(65536)
    return got


def test_send_sends_all_of_a_message_that_is_larger_than_a_record(
    ends: tuple[ssl.SSLSocket, ssl.SSLSocket],
) -> None:
    client, server = ends
    message = os.urandom(3_000_000)
    sent: list[int] = []
    writer = threading.Thread(target=lambda: sent.append(server.send(message)))
    writer.start()
    assert read_all(client, len(message)) == message
    writer.join()
    assert sent == [len(message)]


def test_one_thread_reads_while_another_writes_and_a_third_answers(
    ends: tuple[ssl.SSLSocket, ssl.SSLSocket],
) -> None:
    client, server = ends
    rounds, block = 20, 300_000
    heard: list[bytes] = []

    def write(letter: bytes) -> None:
        for _ in range(rounds):
            server.send(letter * block)

    threads = [
        threading.Thread(target=lambda: heard.append(read_all(server, rounds * 50))),
        threading.Thread(target=write, args=(b"a",)),
        threading.Thread(target=write, args=(b"b",)),
    ]
    for thread in threads:
        thread.start()
    got = b""
    for _ in range(rounds):
        client.sendall(b"c" * 50)
        got += client.recv(65536)
    got += read_all(client, 2 * rounds * block - len(got))
    for thread in threads:
        thread.join()
    assert heard == [b"c" * 50 * rounds]
    assert re.fullmatch(rb"((a{300000})|(b{300000}))+", got)  # no message inside another


def test_a_reader_that_waits_does_not_hold_up_a_writer(ends: tuple[ssl.SSLSocket, ssl.SSLSocket]) -> None:
    client, server = ends
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(server.recv(100)))
    reader.start()
    time.sleep(0.05)
    server.send(b"status")
    assert client.recv(100) == b"status"
    client.send(b"stop")
    reader.join()
    assert got == [b"stop"]


def test_a_socket_without_patience_says_so_at_once(ends: tuple[ssl.SSLSocket, ssl.SSLSocket]) -> None:
    _, server = ends
    server.setblocking(False)
    assert server.gettimeout() == 0.0
    with pytest.raises(ssl.SSLWantReadError):
        server.recv(1)
    server.settimeout(0.05)
    with pytest.raises(TimeoutError):
        server.recv(1)


def test_a_reader_notices_that_another_thread_closed_the_socket(
    ends: tuple[ssl.SSLSocket, ssl.SSLSocket],
) -> None:
    _, server = ends
    ended = threading.Event()

    def read() -> None:
        with pytest.raises(OSError):  # noqa: PT011 - whichever the system gives
            server.recv(1)
        ended.set()

    threading.Thread(target=read, daemon=True).start()
    time.sleep(0.05)
    server.close()
    assert ended.wait(3.0)


# ---- the server ----


def test_the_server_serves_https_and_sends_plain_visitors_there(run_dir: Path, tmp_path: Path) -> None:  # noqa: F811
    root = tmp_path / "access"
    headers = signed_in_headers(root)
    with serving(run_dir, "--https", "--access-dir", str(root)) as (_, address):
        assert address.startswith("https://127.0.0.1:")
        port = int(address.rstrip("/").rpartition(":")[2])
        context = ssl.create_default_context(cafile=str(root / "ca.crt"))
        with socket.create_connection(("127.0.0.1", port)) as raw:
            raw.sendall(b"POST /emergency-stop HTTP/1.1\r\nHost: localhost:%d\r\n\r\n" % port)
            answer = raw.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 307 ")
        assert b"Location: https://localhost:%d/emergency-stop\r\n" % port in answer

        cookie = headers["Cookie"].replace("lapwing=", "__Host-lapwing=")
        with (
            socket.create_connection(("127.0.0.1", port)) as raw,
            context.wrap_socket(raw, server_hostname="localhost") as secure,
        ):
            head = f"GET /api/status HTTP/1.1\r\nHost: localhost:{port}\r\nCookie: {cookie}\r\n"
            secure.sendall(f"{head}Connection: close\r\n\r\n".encode())
            answer = secure.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 200 ")


def test_one_computer_cannot_take_every_thread(run_dir: Path) -> None:  # noqa: F811
    """Connections that send half a request hold threads; a stop from another address gets through."""
    with serving(run_dir, "--host", "127.0.0.1") as (_, address):
        port = int(address.rstrip("/").rpartition(":")[2])
        half = []
        for _ in range(80):
            connection = socket.create_connection(("127.0.0.1", port))
            connection.sendall(b"GET / HTTP/1.1\r\nHost: ")
            half.append(connection)
        time.sleep(0.5)
        closed = sum(bool(select.select([connection], [], [], 0)[0]) for connection in half)
        assert closed == 80 - COMPUTER_LIMIT

        with socket.socket() as other:
            other.bind(("127.0.0.2", 0))
            other.settimeout(5)
            other.connect(("127.0.0.1", port))
            head = f"POST /emergency-stop HTTP/1.1\r\nHost: localhost:{port}\r\nOrigin: http://localhost:{port}\r\n"
            other.sendall(f"{head}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())
            assert other.recv(100).startswith(b"HTTP/1.1 503 ")  # it was heard; there is no vehicle here
        for connection in half:
            connection.close()
