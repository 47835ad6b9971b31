"""Carries the car of a running world to another track, which is drawn beside the world's own work."""

import threading

import cv2

from vehicle.errors import HilError
from vehicle.hil.timeline import SimulatedWorld
from vehicle.hil.track import load_track
from vehicle.hil.world import Scene
from vehicle.realtime import use_normal_priority

STANDS_MPS = 0.05  # below: a car at rest, with the noise of a settling one


class SceneChange:
    """Draws a scene in a thread of its own and hands it over when it is done. Used by the world's thread."""

    def __init__(self, world: SimulatedWorld) -> None:
        self._world = world
        self._thread: threading.Thread | None = None
        self._drawn: Scene | None = None
        self.preparing = ""
        """The track that is being drawn now; empty: none."""
        self.problem = ""
        """Why the last wish came to nothing; empty: it did not."""

    def begin(self, wanted: str, now_ns: int) -> None:
        """Draw a track; raises HilError for what is none, and while the car moves."""
        if self.preparing:
            raise HilError(f"the track {self.preparing} is being drawn; ask again when the car stands on it")
        self._refuse_while_moving(now_ns)
        track = load_track(wanted)
        self.preparing, self.problem, self._drawn = wanted, "", None

        def draw() -> None:
            use_normal_priority()  # the world's own thread may have more, and a camera does not wait
            try:
                self._drawn = self._world.scene(track)
            except (MemoryError, cv2.error):
                self.problem = f"the track {wanted} is too large to be drawn: {track.length_m:.0f} m long"

        self._thread = threading.Thread(target=draw, name="scene", daemon=True)
        self._thread.start()

    def finish(self, now_ns: int, *, wait: bool = False) -> None:
        """Carry the car over when the drawing is done; with `wait` it is done before this returns."""
        if self._thread is None or (self._thread.is_alive() and not wait):
            return
        self._thread.join()
        self._thread = None
        scene, self._drawn, self.preparing = self._drawn, None, ""
        if scene is None:
            return
        try:
            self._refuse_while_moving(now_ns)
        except HilError as error:
            self.problem = str(error)
        else:
            self._world.enter(scene)

    def _refuse_while_moving(self, now_ns: int) -> None:
        speed_mps = self._world.truth(now_ns).speed_mps
        if abs(speed_mps) > STANDS_MPS:
            raise HilError(f"the car drives at {speed_mps:.1f} m/s; stop it before it is carried elsewhere")
