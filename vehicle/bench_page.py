"""Rows of `lapwing bench` about the page: a first look at it, its emergency stop, and ten who watch.

A real Chromium in front of the real server, where there is one: `make bench` brings it along.
"""

import time
from pathlib import Path
from typing import Any

import msgspec

from calibration.car import HIL_AWS
from vehicle.bench_browser import browser, chromium_program, signed_in
from vehicle.bench_car import BenchCar, BenchError, CarStoppedError, beside, running_bench_car
from vehicle.bench_plan import RATE_HZ, SETTLE_S, Plan
from vehicle.bench_rows import (
    Limit,
    Row,
    at_most,
    impossible,
    judged,
    late_frames_note,
    lateness_ms,
    overhead_ms,
    stop_to_wire_ms,
)
from vehicle.computer import try_realtime
from vehicle.messages import DriveState

VIEWERS = 10
VIEWERS_JITTER = (Limit(99, 2.0),)  # ms
VIEWERS_OVERHEAD = (Limit(50, 1.0), Limit(99, 3.0))
STOP_LIMIT = (Limit(99, 60.0),)
FIRST_LOOK_LIMIT_S = 1.0
FIRST_LOOK_LIMIT_KB = 300.0
REACTION_LIMIT_MS = 10_000.0
CLOCK_LOOKS = 30
REPEATED_SHARE = 0.05  # of the touches, at most: a computer that stood still has stopped its car already


def viewers_rows(folder: Path, label: str, source: str, plan: Plan) -> list[Row]:
    """Measure decisions while nobody looks, and while ten look at the pictures and acknowledge each."""
    name = f"{label}, {RATE_HZ:g} Hz"
    refusal = try_realtime()
    with running_bench_car(folder, source) as car:
        car.start_driving()
        car.drive(SETTLE_S)
        idle = car.drive(plan.timing_s)
        report = folder / "viewers.json"
        with beside(("viewers", "127.0.0.1", car.port, car.page_key, VIEWERS, report)):
            car.start_driving()
            car.drive(SETTLE_S)
            viewed = car.drive(plan.timing_s)
            seen_hz = msgspec.json.decode(report.read_bytes(), type=list[float])
    if min(seen_hz) == 0.0:
        raise BenchError("one of the viewers saw no picture at all")
    what = f"{name}, {VIEWERS} viewers: decision start jitter, real-time priority"
    idle_note = judged("", lateness_ms(idle), "ms").measured
    return [
        impossible(what, f"p99 <= {VIEWERS_JITTER[0].most:g} ms", f"the system refuses it: {refusal}")
        if refusal
        else judged(what, lateness_ms(viewed), "ms", VIEWERS_JITTER, f"without any: {idle_note}"),
        judged(
            f"{name}, {VIEWERS} viewers: overhead",
            overhead_ms(viewed),
            "ms",
            VIEWERS_OVERHEAD,
            late_frames_note(viewed),
        ),
        judged(f"{name}, {VIEWERS} viewers: pictures that each saw", seen_hz, "a second"),
    ]


def page_rows(folder: Path, source: str, plan: Plan, chromium: str) -> list[Row]:
    """Measure a first look at the page, and from a touch of its emergency stop to the wire."""
    names = ("page: first look to usable", "page: first look, bytes", "page: emergency stop to the wire")
    program = chromium_program(chromium)
    if program is None:
        return [
            impossible(name, "-", "there is no Chromium here; `make bench` fetches one") for name in names
        ]
    with running_bench_car(folder, source) as car, browser(program) as opened:
        looks = [_first_look(opened, folder, car) for _ in range(3 * plan.trials)]
        taps_ns, repeated = _taps(opened, folder, car, plan.taps)
        commands = car.hil.pulse_log().commands
    stops_ms = stop_to_wire_ms(taps_ns, commands, HIL_AWS.throttle.neutral_us)
    return [
        at_most(
            names[0],
            max(took_s for took_s, _ in looks),
            "s",
            FIRST_LOOK_LIMIT_S,
            f"worst of {len(looks)} fresh browsers, signed in: the state told, Start and stop have reacted",
        ),
        at_most(names[1], max(size_kb for _, size_kb in looks), "kB", FIRST_LOOK_LIMIT_KB),
        judged(
            names[2],
            stops_ms,
            "ms",
            STOP_LIMIT,
            f"pointerdown in the page to the first neutral command that the board accepted; {plan.taps} taps"
            + (f"; {repeated} more drives had stopped by themselves" if repeated else ""),
        ),
    ]


def _first_look(opened: Any, folder: Path, car: BenchCar) -> tuple[float, float]:
    """Return after how many seconds a page is usable that nobody opened before, and its kilobytes."""
    context = signed_in(opened, folder / "access", f"http://127.0.0.1:{car.port}/")
    page = context.new_page()
    requests: list[Any] = []
    page.on("requestfinished", lambda request: requests.append(request))  # noqa: PLW0108 - needs a function
    began_s = time.monotonic()
    page.goto(f"http://127.0.0.1:{car.port}/", wait_until="commit")
    page.locator("body:not([data-mood=unknown])").wait_for()
    page.locator("#start:enabled").click(timeout=REACTION_LIMIT_MS)
    page.locator("#start-now").wait_for(timeout=REACTION_LIMIT_MS)
    page.keyboard.press("Space")
    page.locator("body[data-mood=failsafe]").wait_for(timeout=REACTION_LIMIT_MS)
    took_s = time.monotonic() - began_s
    page.wait_for_load_state("load")
    page.click("#clear")
    page.locator("#start:enabled").wait_for(timeout=REACTION_LIMIT_MS)
    sizes = [request.sizes() for request in requests]
    context.close()
    return took_s, sum(size["responseBodySize"] + size["responseHeadersSize"] for size in sizes) / 1e3


def _taps(opened: Any, folder: Path, car: BenchCar, count: int) -> tuple[list[int], int]:
    """Start, and touch the emergency stop, again and again.

    Returns:
        when, by this computer's clock, and how many drives had stopped by themselves before.

    """
    context = signed_in(opened, folder / "access", f"http://127.0.0.1:{car.port}/")
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{car.port}/")
    page.locator("body:not([data-mood=unknown])").wait_for()
    page.evaluate(
        "window.addEventListener('pointerdown', (event) => { window.touchedMs = event.timeStamp; }, true)"
    )
    box = page.locator("#emergency").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    offset_ns = _clock_offset_ns(page)
    taps_ns, stopped = [], 0
    for _ in range(count):
        stopped += drive_again(car, stops_left=int(REPEATED_SHARE * count) - stopped)
        page.mouse.down()
        touched_ms = page.evaluate("window.touchedMs")
        page.mouse.up()
        taps_ns.append(round(touched_ms * 1e6) + offset_ns)
        car.wait_status(lambda status: status.state is DriveState.FAILSAFE, 5.0, "stopped by the page")
    context.close()
    return taps_ns, stopped


def drive_again(car: BenchCar, stops_left: int) -> int:
    """Drive a moment, once more where the car stops by itself; return how often it did.

    Raises CarStoppedError when it stops more often than `stops_left`.
    """
    stopped = 0
    while True:
        try:
            car.start_driving()
            car.drive(0.2)
        except CarStoppedError:
            stopped += 1
            if stopped > stops_left:
                raise
        else:
            return stopped


def _clock_offset_ns(page: Any) -> int:
    """Return what is added to the page's clock to have this computer's: of many looks the quickest."""
    looks: list[tuple[int, int]] = []
    for _ in range(CLOCK_LOOKS):
        before_ns = time.monotonic_ns()
        page_ns = round(page.evaluate("performance.now()") * 1e6)
        after_ns = time.monotonic_ns()
        looks.append((after_ns - before_ns, (before_ns + after_ns) // 2 - page_ns))
    return min(looks)[1]
