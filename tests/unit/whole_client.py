"""A WebSocket client that loses nothing of what comes with the handshake's answer."""

import simple_websocket


class Client(simple_websocket.Client):
    """As simple_websocket's own, which forgets frames that arrive in one piece with the 101.

    A server that accepts and closes at once sends both so close together that on a busy computer the
    client reads them together; the library's handshake takes the first event and leaves the others
    for whenever more arrives, which after a close is never.
    """

    def handshake(self) -> None:
        """Shake hands byte by byte, so that what comes behind the answer is still to be read."""
        self.receive_bytes, usual_bytes = 1, self.receive_bytes
        super().handshake()
        self.receive_bytes = usual_bytes
