"""Whether the list of policies or an upload has changed, as a short word for the control socket.

A page asks for the list when the word is another one, instead of asking every second.
"""

import threading
import time
import zlib

from models.store import PolicyStore
from webui.uploads import Uploads

KEPT_S = 0.2  # however many pages are open, the store is looked at five times a second


class ModelChanges:
    """Looks when somebody asks; safe in any thread."""

    def __init__(self, store: PolicyStore, uploads: Uploads) -> None:
        self._store = store
        self._uploads = uploads
        self._lock = threading.Lock()
        self._looked_s = float("-inf")
        self._word = ""

    def word(self, now_s: float | None = None) -> str:
        """Return a word that stays the same while nothing changes."""
        now_s = time.monotonic() if now_s is None else now_s
        with self._lock:
            if now_s - self._looked_s >= KEPT_S:
                self._looked_s = now_s
                seen = repr((self._store.stamp(), self._uploads.stamp()))
                self._word = f"{zlib.crc32(seen.encode()):08x}"
            return self._word
