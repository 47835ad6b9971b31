"""Loads policies off the loop's thread, one at a time; only asked to while the car is disarmed."""

import threading
from collections.abc import Callable
from pathlib import Path

from models.errors import PolicyError
from models.policy import Policy
from vehicle.realtime import use_normal_priority


class PolicyLoader:
    """Runs `load` in a thread of its own. `begin`, `take` and the notes belong to the loop's thread."""

    def __init__(self, load: Callable[[str], Policy]) -> None:
        self._load = load
        self._thread: threading.Thread | None = None
        self._loading = ""
        self._next = ""
        self._loaded: Policy | None = None
        self._failure = ""

    @property
    def is_loading(self) -> bool:
        """Whether a policy is on its way."""
        return self._thread is not None

    @property
    def is_done(self) -> bool:
        """Whether the next `take` ends the loading."""
        return self._thread is not None and not self._thread.is_alive()

    @property
    def note(self) -> str:
        """That a policy is being loaded, or why the last one could not be."""
        if self._thread is not None:
            return f"Loading {Path(self._loading).name}."
        return self._failure

    @property
    def activation(self) -> tuple[str, str]:
        """What became of the newest wish, and the wish: `loading`, `loaded`, `failed`, empty before one."""
        if self._thread is not None:
            return "loading", self._next or self._loading
        if not self._loading:
            return "", ""
        return ("failed" if self._failure else "loaded"), self._loading

    def begin(self, source: str) -> None:
        """Start loading; while another is being loaded the newest wish waits for it."""
        if self._thread is not None:
            self._next = source
            return
        self._loading, self._failure, self._loaded = source, "", None
        self._thread = threading.Thread(target=self._run, name="policy-load", daemon=True)
        self._thread.start()

    def take(self) -> Policy | None:
        """Return a policy that has just been loaded, once."""
        if self._thread is None or self._thread.is_alive():
            return None
        self._thread.join()
        self._thread = None
        loaded, self._loaded = self._loaded, None
        if self._next:
            following, self._next = self._next, ""
            self.begin(following)
            return None
        return loaded

    def _run(self) -> None:
        use_normal_priority()
        name = Path(self._loading).name
        self._failure = f"{name} could not be loaded, by a mistake of ours; the vehicle's log has it"
        try:
            self._loaded = self._load(self._loading)
            self._failure = ""
        except PolicyError as error:
            self._failure = str(error)
