"""Rows of `lapwing bench` about the page: a first look at it, its emergency stop, and ten who watch.

A real Chromium in front of the real server, where there is one: `make bench` brings it along.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
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
from vehicle.messages import DriveState, Fault

VIEWERS = 10
VIEWERS_JITTER = (Limit(99, 2.0),)  # ms
VIEWERS_OVERHEAD = (Limit(50, 1.0), Limit(99, 3.0))
STOP_LIMIT = (Limit(99, 60.0),)
FIRST_LOOK_LIMIT_S = 1.0
FIRST_LOOK_LIMIT_KB = 300.0
REACTION_LIMIT_MS = 10_000.0
CLOCK_LOOKS = 30
SPOILT_IN_A_ROW = 8  # drives that the car ended by itself: then it is no busy computer's passing stall
STOP_WAIT_S = 5.0


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
        stops_ms, spoilt = _stops_ms(opened, folder, car, plan.taps)
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
            + spoilt_note(spoilt),
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


def _stops_ms(opened: Any, folder: Path, car: BenchCar, count: int) -> tuple[list[float], list[str]]:
    """Touch the emergency stop of a driving car so often.

    Returns:
        how long each took to the wire, and what ended the drives that were over before a touch.

    """
    context = signed_in(opened, folder / "access", f"http://127.0.0.1:{car.port}/")
    page = context.new_page()
    confirmed: list[str] = []
    page.on("response", lambda response: confirmed.append(response.url) if _is_confirmed(response) else None)
    page.goto(f"http://127.0.0.1:{car.port}/")
    page.locator("body:not([data-mood=unknown])").wait_for()
    page.evaluate(
        "window.addEventListener('pointerdown', (event) => { window.touchedMs = event.timeStamp; }, true)"
    )
    box = page.locator("#emergency").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    offset_ns = _clock_offset_ns(page)

    def touch() -> int:
        """Touch it, and wait until the page has its answer: it repeats a stop without one."""
        before = len(confirmed)
        page.mouse.down()
        touched_ms = float(page.evaluate("window.touchedMs"))
        page.mouse.up()
        deadline_s = time.monotonic() + STOP_WAIT_S
        while len(confirmed) == before and time.monotonic() < deadline_s:
            page.wait_for_timeout(5)
        return round(touched_ms * 1e6) + offset_ns

    taps_ns: list[int] = []
    spoilt: list[str] = []
    stops_ms: list[float] = []
    while len(stops_ms) < count:
        for _ in range(count - len(stops_ms)):
            tap_ns, ended_by = tap_while_driving(car, touch)
            taps_ns.append(tap_ns)
            spoilt += ended_by
        measured = len(stops_ms)
        commands = car.hil.pulse_log().commands
        stops_ms = stop_to_wire_ms(taps_ns, commands, HIL_AWS.throttle.neutral_us)
        if len(stops_ms) == measured:
            raise BenchError("the car stood by its last command whenever its stop was touched")
    context.close()
    return stops_ms, spoilt


def tap_while_driving(car: BenchCar, touch: Callable[[], int]) -> tuple[int, list[str]]:
    """Drive a moment and touch the stop; again where the car had stopped by itself.

    Returns:
        when it was touched, and what ended the drives before.

    Raises:
        CarStoppedError: SPOILT_IN_A_ROW drives ended by themselves.

    """
    spoilt: list[str] = []
    while len(spoilt) < SPOILT_IN_A_ROW:
        try:
            car.start_driving()
            car.drive(0.2)
        except CarStoppedError as error:
            spoilt.append(str(error))
            continue
        touched_ns = touch()
        with contextlib.suppress(BenchError):  # a stop that does not come is what the row is to show
            status = car.wait_status(
                lambda status: status.state is DriveState.FAILSAFE, STOP_WAIT_S, "stopped by the page"
            )
            if status.latched_fault is not Fault.EMERGENCY_STOP:
                spoilt.append(status.sentence)
                continue
        return touched_ns, spoilt
    raise CarStoppedError(f"{SPOILT_IN_A_ROW} drives in a row ended by themselves, the last: {spoilt[-1]}")


def spoilt_note(spoilt: Sequence[str]) -> str:
    """Return how many drives were over before a touch, and why most of them were; nothing where none was."""
    if not spoilt:
        return ""
    why, times = Counter(spoilt).most_common(1)[0]
    return f"; {len(spoilt)} more drives ended by themselves, {times} of them: {why}"


def _is_confirmed(response: Any) -> bool:
    """Whether it is the car's yes to a stop."""
    is_stop = response.url.endswith("/emergency-stop") and response.request.method == "POST"
    return bool(is_stop and response.ok)


def _clock_offset_ns(page: Any) -> int:
    """Return what is added to the page's clock to have this computer's: of many looks the quickest."""
    looks: list[tuple[int, int]] = []
    for _ in range(CLOCK_LOOKS):
        before_ns = time.monotonic_ns()
        page_ns = round(page.evaluate("performance.now()") * 1e6)
        after_ns = time.monotonic_ns()
        looks.append((after_ns - before_ns, (before_ns + after_ns) // 2 - page_ns))
    return min(looks)[1]
