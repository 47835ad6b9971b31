"""A close that comes in one piece with the handshake's answer reaches whoever asked."""

import socket
import threading

import pytest
from simple_websocket import ConnectionClosed
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection

from tests.unit.whole_client import Client


def accept_and_close_at_once(listener: socket.socket) -> None:
    line, _ = listener.accept()
    with line:
        server = WSConnection(ConnectionType.SERVER)
        server.receive_data(line.recv(4096))
        list(server.events())
        line.sendall(server.send(AcceptConnection()) + server.send(CloseConnection(4401, "Sign in first.")))


def test_a_close_in_one_piece_with_the_answer_is_heard() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=accept_and_close_at_once, args=(listener,))
        server.start()
        client = Client(f"ws://127.0.0.1:{listener.getsockname()[1]}/")
        server.join()
    with pytest.raises(ConnectionClosed) as closed:
        client.receive(5.0)
    assert (closed.value.reason, closed.value.message) == (4401, "Sign in first.")
