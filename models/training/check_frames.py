"""Make the pictures and scans that every upload is tried on: `python -m models.training.check_frames`.

The HIL car is put down all round its tracks, off the middle and askew, under cameras and in rooms
drawn at random, and both its eyes and its LIDAR are asked what they see.
"""

import argparse
import io
import math
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from models.check_frames import SCAN_RAYS
from models.check_pictures import FRAMES
from vehicle.hil.lens import NOMINAL_CAMERA
from vehicle.hil.render import make_renderer
from vehicle.hil.scenery import Scenery
from vehicle.hil.track import TRACKS, Track, load_track

SIGHTS = 16
SIZE = (320, 240)
EYES_APART_M = 0.06
JPEG_QUALITY = 88
SCAN_REACH_M = 12.0
SIZE_LIMIT_BYTES = 1 << 20
SEED = 20

Floats = npt.NDArray[np.float64]


def make_frames(seed: int = SEED) -> bytes:
    """Return the file's content; the same bytes for the same seed and versions of numpy and OpenCV."""
    rng = np.random.default_rng(seed)
    angles_rad = np.linspace(-math.pi, math.pi, SCAN_RAYS, endpoint=False)
    eyes: dict[str, list[bytes]] = {"left": [], "right": []}
    ranges_m = []
    for index in range(SIGHTS):
        name = TRACKS[index % len(TRACKS)]
        track = load_track(name if index % 2 else f"{name}-reversed")
        camera = NOMINAL_CAMERA if index < SIGHTS // 2 else NOMINAL_CAMERA.randomised(rng)
        scenery = Scenery() if index < SIGHTS // 2 else Scenery().randomised(rng)
        renderer = make_renderer(track, camera=camera, scenery=scenery, size=SIZE, seed=seed)
        x_m, y_m, heading_rad = track.pose_at(
            float(rng.uniform(0, track.length_m)), float(rng.uniform(-0.2, 0.2))
        )
        yaw_rad = heading_rad + float(rng.uniform(-0.35, 0.35))
        for eye, offset_m in (("left", EYES_APART_M / 2), ("right", -EYES_APART_M / 2)):
            east_m = x_m - math.sin(yaw_rad) * offset_m
            north_m = y_m + math.cos(yaw_rad) * offset_m
            picture = renderer.render(east_m, north_m, yaw_rad, 0.0, 2 * index + (eye == "right"))
            _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
            eyes[eye].append(jpeg.tobytes())
        ranges_m.append(_walls_m(track, (x_m, y_m, yaw_rad), angles_rad))
    return _packed(
        {
            "angles_rad": angles_rad.astype(np.float32),
            "ranges_m": np.array(ranges_m, np.float32),
            **{f"{eye}_jpeg": np.frombuffer(b"".join(jpegs), np.uint8) for eye, jpegs in eyes.items()},
            **{f"{eye}_sizes": np.array([len(jpeg) for jpeg in jpegs]) for eye, jpegs in eyes.items()},
        }
    )


def _walls_m(track: Track, pose: tuple[float, float, float], angles_rad: Floats) -> Floats:
    """Return how far walls along both borders are, ray by ray; infinite beyond the reach."""
    x_m, y_m, yaw_rad = pose
    starts = np.concatenate([track.inner, track.outer])
    ends = np.concatenate([np.roll(track.inner, -1, axis=0), np.roll(track.outer, -1, axis=0)])
    along = ends - starts
    away = starts - (x_m, y_m)
    found = np.full(len(angles_rad), np.inf)
    for index, angle_rad in enumerate(angles_rad + yaw_rad):
        ray = np.array([math.cos(angle_rad), math.sin(angle_rad)])
        crossed = ray[0] * along[:, 1] - ray[1] * along[:, 0]
        with np.errstate(divide="ignore", invalid="ignore"):
            range_m = (away[:, 0] * along[:, 1] - away[:, 1] * along[:, 0]) / crossed
            share = (away[:, 0] * ray[1] - away[:, 1] * ray[0]) / crossed
        hits = range_m[(crossed != 0) & (range_m > 0) & (share >= 0) & (share < 1)]
        if hits.size and hits.min() <= SCAN_REACH_M:
            found[index] = hits.min()
    return found


def _packed(arrays: dict[str, npt.NDArray[np.generic]]) -> bytes:
    """Return an .npz with fixed dates, so that making it again changes nothing."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.save(member, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), member.getvalue())
    return file.getvalue()


def main(arguments: list[str] | None = None) -> None:
    """Write the file, and say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=FRAMES)
    chosen = parser.parse_args(arguments)
    data = make_frames()
    if len(data) > SIZE_LIMIT_BYTES:
        sys.exit(
            f"the frames have {len(data)} bytes, allowed {SIZE_LIMIT_BYTES}; lower JPEG_QUALITY or SIGHTS"
        )
    chosen.out.write_bytes(data)
    sys.stdout.write(f"{chosen.out}: {SIGHTS} sights, {len(data) / 1e3:.0f} kB\n")


if __name__ == "__main__":
    main()
