"""A film of a recorded run: what the camera saw, and under it what was chosen and sent.

`python -m vehicle.run_film RUN.mcap FILM.webm` makes one and prints how far it is, a share a line.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from vehicle.errors import LapwingError
from vehicle.lap_log import probabilities_of
from vehicle.lap_video import FILM_RATE_HZ, FilmFrame, Overlay, encode_film
from vehicle.messages import POLICY_STATES, TickRecord
from vehicle.realtime import die_with_parent
from vehicle.run_file import Entry, RunFileError, read
from vehicle.run_schemas import Topic, protobuf_class
from vehicle.run_seek import RunIndex
from vehicle.run_summary import RunSummary
from vehicle.run_traces import Traces, traces_of
from vehicle.runs import RunShelf

NICE = 15  # whoever drives or looks comes first
CODECS = {".webm": ("VP80",), ".mp4": ("vp09", "mp4v")}
"""In order of preference; VP9 in MP4 takes several times as long as VP8 in WebM."""


class RunFilmError(LapwingError):
    """No film can be made of a run."""


def write_film(path: Path, out: Path, progress: Callable[[float], None] = lambda _: None) -> None:
    """Make a film of a run; `out` appears when it is whole. Raises RunFileError or RunFilmError."""
    codecs = CODECS.get(out.suffix)
    if codecs is None:
        raise RunFilmError(
            f"{out} ends in {out.suffix or 'nothing'}, allowed are {', '.join(CODECS)}; choose one of these"
        )
    part = out.with_name(f".{out.stem}-making{out.suffix}")
    traces = traces_of(path, RunIndex(path))
    try:
        summary = RunShelf(path.parent).summary(path.stem)
    except LapwingError as error:
        raise RunFileError(str(error)) from error
    frames = _Frames(path, traces, summary, progress)
    try:
        part.touch()  # says why it cannot be written, which no encoder does
        made = encode_film(
            part.with_suffix(""), frames, frames.overlay, codecs=[(codec, out.suffix) for codec in codecs]
        )
        if made is None:
            raise RunFilmError(
                f"{path.stem} has no pictures"
                if not traces.pictures_ns.size
                else "no codec for a film works on this computer; take the run along as .mcap"
            )
        if not made.stat().st_size:
            raise RunFilmError("the film could not be written; free some space on the disk")
        made.replace(out)
    except OSError as error:
        raise RunFilmError(
            f"{out} cannot be written ({error.strerror}); make room, or choose another file"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


class _Frames:
    """The run's pictures at the film's rate, with what belongs on each."""

    def __init__(
        self, path: Path, traces: Traces, summary: RunSummary, progress: Callable[[float], None]
    ) -> None:
        self._path = path
        self._traces = traces
        self._laps_s = summary.laps_s
        self._ends_s = traces.laps_end_s()
        self._progress = progress
        self._tick: TickRecord | None = None
        self._decision: TickRecord | None = None

    def __iter__(self) -> Iterator[FilmFrame]:
        step_ns = round(1e9 / FILM_RATE_HZ)
        next_ns = self._traces.started_ns
        end_ns = next_ns + round(self._traces.duration_s * 1e9)
        newest: Entry | None = None
        for entry in read(self._path, [Topic.CAMERA, Topic.EXACT_TICK]):
            while entry.time_ns > next_ns and next_ns <= end_ns and newest is not None:
                yield self._frame(newest, next_ns)
                next_ns += step_ns
            if entry.topic is Topic.CAMERA:
                newest = entry
            else:
                self._tick = msgspec.msgpack.decode(entry.data, type=TickRecord)
                self._decision = self._tick if self._tick.decided else self._decision

    def _frame(self, picture: Entry, now_ns: int) -> FilmFrame:
        self._progress(self._since_start_s(now_ns) / max(self._traces.duration_s, 1e-9))
        jpeg: bytes = protobuf_class("CompressedImage").FromString(picture.data).data
        return FilmFrame(0, now_ns, jpeg)

    def _since_start_s(self, now_ns: int) -> float:
        return (now_ns - self._traces.started_ns) / 1e9

    def overlay(self, frame: FilmFrame) -> Overlay:
        t_s = self._since_start_s(frame.stamp_ns)
        tick, decision = self._tick, self._decision
        moment = self._traces.at(t_s)
        done = sum(end_s <= t_s for end_s in self._ends_s)
        began_s = self._ends_s[done - 1] if done else self._first_lap_s()
        is_choice = tick is not None and tick.state in POLICY_STATES
        chosen = decision if decision and is_choice and decision.action_index >= 0 else None
        return Overlay(
            state=tick.state.value if tick else "",
            steering_frac=moment.steering_frac if moment else 0.0,
            throttle_frac=moment.throttle_frac if moment else 0.0,
            lap=f"Lap {done + 1}" if self._laps_s else "",
            lap_time_s=max(0.0, t_s - began_s) if self._laps_s else None,
            best_s=min(self._laps_s[:done], default=None),
            speed_mps=moment.speed_mps if moment else None,
            frame_to_wire_ms=decision.times.frame_to_wire_ns / 1e6 if decision and is_choice else None,
            probabilities=probabilities_of(chosen.policy_output) if chosen else (),
            action_index=chosen.action_index if chosen else -1,
            fault=", ".join(fault.value for fault in tick.faults) if tick else "",
        )

    def _first_lap_s(self) -> float:
        return self._ends_s[0] - self._laps_s[0] if self._ends_s and self._laps_s else 0.0


def main(run: str, out: str) -> None:
    """Make the film and tell how far it is."""
    die_with_parent(signal.SIGKILL)  # it may have been stopped, to rest
    os.nice(NICE)
    told = -1

    def tell(share: float) -> None:
        nonlocal told
        if int(share * 100) > told:
            told = int(share * 100)
            with contextlib.suppress(BrokenPipeError):
                sys.stdout.write(f"{min(1.0, share):.2f}\n")
                sys.stdout.flush()

    try:
        write_film(Path(run), Path(out), tell)
    except LapwingError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(*sys.argv[1:3])
