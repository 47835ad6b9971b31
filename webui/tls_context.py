"""The TLS context of the page's server: follows the car's names and addresses while it runs."""

import logging
import ssl
import threading
import time
from collections.abc import Callable

from webui.certificates import Certificates
from webui.hosts import Hosts
from webui.tls_socket import SharedTlsSocket

log = logging.getLogger("webui")

LOOKED_AT_EVERY_S = 5.0  # a car joins a network, or another one, while its page is up


class TlsContexts:
    """Gives the context for the next connection. Safe in any thread."""

    def __init__(
        self, certificates: Certificates, hosts: Hosts, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self.certificates = certificates
        self._hosts = hosts
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._context: ssl.SSLContext | None = None
        self._looked_s = float("-inf")

    def current(self) -> ssl.SSLContext:
        """Return the context with a certificate for what this car is called now."""
        with self._lock:
            now_s = self._clock_s()
            if self._context is None or now_s - self._looked_s >= LOOKED_AT_EVERY_S:
                self._looked_s = now_s
                is_new = self._renew()
                if is_new or self._context is None:
                    self._context = self._load()
            return self._context

    def hook(self, config: object, default: object) -> ssl.SSLContext:
        """Return the context where gunicorn asks for one, which is at every connection."""
        del config, default
        return self.current()

    def _renew(self) -> bool:
        """Return whether there is a new certificate; the old one still serves where none can be written."""
        try:
            return self.certificates.serve_for(self._hosts.names(), self._hosts.addresses())
        except OSError as error:  # a full disk must take nobody's emergency stop away
            log.warning("the page keeps its old certificate, a new one cannot be written: %s", error)
            return False

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.certificates.server_file)
        context.sslsocket_class = SharedTlsSocket
        return context
