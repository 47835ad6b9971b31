"""What `lapwing bench` runs in processes of their own: `python -m vehicle.bench_child WHAT ...`.

busy                              uses a core until it is ended
viewer HOST PORT KEY              looks at the camera's pictures as a page does
viewers HOST PORT KEY COUNT FILE  several of them; FILE tells how many pictures a second each has seen
bare HIL_DIR POLICY SECONDS       decides on frames in one loop, without states, monitors or messages
environment CARS SECONDS          steps the training environment on one core
convert GRAPH SAMPLES             converts a frozen TensorFlow graph, and opens what comes of it
load POLICY                       loads a policy as the vehicle does
inference POLICY SAMPLES          runs a network in the chosen way, in int8 and by onnxruntime's defaults
"""

import functools
import json
import os
import signal
import sys
import threading
import time
import tty
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import simple_websocket

from calibration import steering, throttle
from calibration.car import HIL_AWS
from models.observation import Sight
from models.policy import load_policy
from models.standard_network import STANDARD_ACTIONS
from vehicle.board.protocol import encode_command
from vehicle.camera_hil import HilCamera
from vehicle.hil.track import load_track
from vehicle.realtime import LOOP_PRIORITY, die_with_parent, use_fifo

BARE_RATE_HZ = 30.0
REPORT_S = 0.5
_USES = (__doc__ or "").strip().splitlines()[2:]


def busy() -> None:
    """Use a core."""
    while True:
        sum(range(10_000))


def view(host: str, port: int, key: str, has_seen: Callable[[], None] = lambda: None) -> None:
    """Look at one picture after the other, and acknowledge each."""
    headers = {"Authorization": f"Bearer {key}"}
    while True:
        try:
            socket = simple_websocket.Client(f"ws://{host}:{port}/ws/video", headers=headers)
            while True:
                picture = socket.receive()
                length = int.from_bytes(picture[:4], "little")
                socket.send(json.dumps({"ack": json.loads(picture[4 : 4 + length])["frame"]}))
                has_seen()
        except (OSError, simple_websocket.ConnectionError, simple_websocket.ConnectionClosed):
            time.sleep(0.1)


def view_together(host: str, port: int, key: str, count: int, report: Path) -> None:
    """Look as several viewers; write down again and again how many pictures a second each has seen."""
    seen = Counter(dict.fromkeys(range(count), 0))
    for number in range(count):
        look = functools.partial(view, host, port, key, functools.partial(seen.update, [number]))
        threading.Thread(target=look, daemon=True).start()
    begun_s = time.monotonic()
    while True:
        time.sleep(REPORT_S)
        passed_s = time.monotonic() - begun_s
        written = report.with_suffix(".new")
        written.write_text(json.dumps([seen[number] / passed_s for number in range(count)]))
        written.replace(report)


def bare_loop(hil_dir: Path, policy_source: str, duration_s: float) -> dict[str, list[float]]:
    """Return, per frame, milliseconds from its pixels to the write without inference, and of decoding.

    Reads, decodes, observes, infers, converts, encodes and writes as the vehicle does, in one thread.
    """
    policy = load_policy(policy_source)
    camera = HilCamera(hil_dir / "camera.sock", BARE_RATE_HZ)
    camera.open()
    master, port = os.openpty()
    tty.setraw(port)
    use_fifo(LOOP_PRIORITY)
    overheads_ms, decodes_ms = [], []
    end_s = time.monotonic() + duration_s
    while time.monotonic() < end_s:
        raw = camera.read(0.2)
        if raw is None:
            continue
        read_ns = time.monotonic_ns()
        picture = cv2.imdecode(np.frombuffer(raw.jpeg, np.uint8), cv2.IMREAD_COLOR)
        decoded_ns = time.monotonic_ns()
        decision = policy.decide(Sight(np.asarray(picture, np.uint8)), HIL_AWS)
        steering_us = steering.pulse_us(HIL_AWS.steering, decision.action.steering_frac)
        throttle_us = throttle.pulse_us(HIL_AWS.throttle, decision.action.throttle_frac)
        os.write(port, encode_command(0, armed=False, steering_us=steering_us, throttle_us=throttle_us))
        overheads_ms.append((time.monotonic_ns() - decoded_ns - decision.infer_ns) / 1e6)
        decodes_ms.append((decoded_ns - read_ns) / 1e6)
        os.read(master, 4096)
    camera.close()
    return {"overhead_ms": overheads_ms, "decode_ms": decodes_ms}


def environment_rate(cars: int, duration_s: float) -> dict[str, float]:
    """Return how many decisions of one car the training environment makes in a second of one core.

    `per_core_s` counts the processor's time, which others do not lengthen; `per_s` the clock's.
    """
    from models.training.env import Course, DrivingEnv, EnvSettings, FleetVecEnv  # noqa: PLC0415 - needs the extra
    from models.training.fleet import FleetSettings  # noqa: PLC0415

    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    tracks = [load_track("oval")]
    settings = EnvSettings(fleet=FleetSettings(count=cars, randomise=True))
    if cars == 1:
        env = DrivingEnv(tracks, STANDARD_ACTIONS, settings)
        env.reset(seed=0)

        def step() -> None:
            *_, ended, late, _ = env.step(np.int64(rng.integers(len(STANDARD_ACTIONS))))
            if ended or late:
                env.reset()
    else:
        fleet = FleetVecEnv(Course(tracks, STANDARD_ACTIONS, settings))
        fleet.reset()

        def step() -> None:
            fleet.step(rng.integers(len(STANDARD_ACTIONS), size=cars))

    for _ in range(20):
        step()
    steps, start_s, used_s = 0, time.perf_counter(), time.process_time()
    while (elapsed_s := time.perf_counter() - start_s) < duration_s:
        step()
        steps += cars
    return {"per_core_s": steps / (time.process_time() - used_s), "per_s": steps / elapsed_s}


def _of_policies(arguments: list[str]) -> object:
    from vehicle import bench_policy_child  # noqa: PLC0415 - the other children need neither onnx nor its memory

    match arguments:
        case ["convert", graph, samples]:
            return bench_policy_child.conversion(Path(graph), int(samples))
        case ["load", policy]:
            return bench_policy_child.load(policy)
        case ["inference", policy, samples]:
            return bench_policy_child.inference(policy, int(samples))
    sys.exit(f"{arguments} lacks an argument or has one too many")


def main(arguments: list[str]) -> None:
    """Do what the first argument names."""
    die_with_parent(signal.SIGKILL)
    match arguments:
        case ["busy"]:
            busy()
        case ["viewer", host, port, key]:
            view(host, int(port), key)
        case ["viewers", host, port, key, count, report]:
            view_together(host, int(port), key, int(count), Path(report))
        case ["bare", hil_dir, policy, duration_s]:
            sys.stdout.write(json.dumps(bare_loop(Path(hil_dir), policy, float(duration_s))))
        case ["environment", cars, duration_s]:
            sys.stdout.write(json.dumps(environment_rate(int(cars), float(duration_s))))
        case ["convert" | "load" | "inference", *_]:
            sys.stdout.write(json.dumps(_of_policies(arguments)))
        case _:
            sys.exit(f"{arguments} is none of {', '.join(line.split()[0] for line in _USES)}")


if __name__ == "__main__":
    main(sys.argv[1:])
