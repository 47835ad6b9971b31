"""The check of an upload in a short-lived process of its own, one at a time on this computer.

Whatever the upload does to that process, this one gets a sentence: a crash, a kill, too much memory,
too long. Nothing of the upload is read in this process. Measuring again and int8 (`models.recheck`) take
their turns in the same way.
"""

import contextlib
import fcntl
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

import msgspec

from models.check_report import (
    CheckCancelledError,
    CheckRefusedError,
    CheckReport,
    Response,
    read_report,
)

TIME_LIMIT_S = 300.0  # the largest network takes 20 s here; a car's processor is five times slower
POLL_S = 0.1
LINE_LIMIT_BYTES = 1 << 20
ERROR_TAIL_BYTES = 2000

Progress = Callable[[str, float], None]
"""Called with what is being done, in words, and the share that is done, 0..1."""


class Message(msgspec.Struct, omit_defaults=True):
    """One line that the child writes."""

    stage: str = ""
    share: float = 0.0
    refused: str = ""
    responses: dict[str, tuple[Response, ...]] = {}
    done: bool = False


class CarBusyError(Exception):
    """The car was armed while a check ran."""


def no_progress(stage: str, share: float) -> None:
    """Take no notice."""
    del stage, share


def check(
    source: Path,
    into: Path,
    *,
    name: str,
    lock: Path,
    source_name: str = "",
    input_range: str = "",
    progress: Progress = no_progress,
    cancelled: Callable[[], bool] = lambda: False,
    may_run: Callable[[], bool] = lambda: True,
    time_limit_s: float = TIME_LIMIT_S,
) -> CheckReport:
    """Make a checked bundle of an uploaded file in the folder `into`; on any error nothing is left there.

    Args:
        source: the file as it was uploaded.
        into: where the bundle is made; its parent exists, it does not.
        name: what the owner calls the policy.
        lock: file that keeps other checks of this computer out; made if it is missing.
        source_name: the file's name as it came, where `source` is called otherwise.
        input_range: `0..1` or `0..255` where the file does not say; empty otherwise.
        progress: hears what is being done.
        cancelled: asked ten times a second.
        may_run: whether the car stands still, disarmed. While it does not, the check waits; one that runs is
            ended and begun again later.
        time_limit_s: of one run of the check, waiting apart.

    Raises:
        CheckRefusedError: the policy cannot be used; says why and what to do.
        CheckCancelledError: `cancelled` said so.

    """
    arguments = ["--name", name, "--source-name", source_name or source.name]
    if input_range:
        arguments += ["--input-range", input_range]
    with _emptied_on_error(into):
        work_in_turn(
            source,
            into,
            arguments,
            lock=lock,
            progress=progress,
            cancelled=cancelled,
            may_run=may_run,
            time_limit_s=time_limit_s,
        )
        return read_report(into)


def work_in_turn(
    source: Path,
    into: Path,
    arguments: Sequence[str],
    *,
    lock: Path,
    progress: Progress = no_progress,
    cancelled: Callable[[], bool] = lambda: False,
    may_run: Callable[[], bool] = lambda: True,
    time_limit_s: float = TIME_LIMIT_S,
) -> None:
    """Run `python -m models.check` with these arguments, one at a time and while the car stands still.

    What it made lies in the folder `into`, which on any error is gone again. Raises as `check` does.
    """
    command = [sys.executable, "-m", "models.check", str(source), "--into", str(into), *arguments]
    command.append("--json-lines")
    with _turn(lock, progress, cancelled) as turn:
        while True:
            _wait_for_car(progress, cancelled, may_run)
            try:
                with _emptied_on_error(into):
                    _run(
                        command,
                        turn,
                        progress=progress,
                        cancelled=cancelled,
                        may_run=may_run,
                        time_limit_s=time_limit_s,
                    )
                    return
            except CarBusyError:
                continue


@contextlib.contextmanager
def _turn(lock: Path, progress: Progress, cancelled: Callable[[], bool]) -> Iterator[int]:
    """Hold the only place for a check; the child inherits it and so holds it too, to its own end."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    turn = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress("waiting for another check", 0.0)
                _pause(cancelled)
            else:
                break
        yield turn
    finally:
        os.close(turn)


def _wait_for_car(progress: Progress, cancelled: Callable[[], bool], may_run: Callable[[], bool]) -> None:
    while not may_run():
        progress("the check starts when the car stops", 0.0)
        _pause(cancelled)


def _pause(cancelled: Callable[[], bool]) -> None:
    if cancelled():
        raise CheckCancelledError("the check was cancelled; nothing of the upload was kept")
    time.sleep(POLL_S)


@contextlib.contextmanager
def _emptied_on_error(folder: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _run(
    command: list[str],
    turn: int,
    *,
    progress: Progress,
    cancelled: Callable[[], bool],
    may_run: Callable[[], bool],
    time_limit_s: float,
) -> None:
    """Run the child to its end; raises CheckRefusedError for every end but a good one."""
    deadline_s = time.monotonic() + time_limit_s
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
            pass_fds=(turn,),
            cwd=Path(__file__).parent.parent,
        )
        assert child.stdout is not None
        stage = "starting"
        try:
            for message in _messages(child.stdout):
                if cancelled():
                    raise CheckCancelledError("the check was cancelled; nothing of the upload was kept")
                if not may_run():
                    raise CarBusyError
                if time.monotonic() > deadline_s:
                    raise CheckRefusedError(
                        f"the check was not done after {time_limit_s:g} s, while {stage}; "
                        "a policy of the usual size takes seconds; export a smaller network"
                    )
                if message is None:
                    continue
                if message.refused:
                    raise CheckRefusedError(message.refused, message.responses)
                if message.stage:
                    stage = message.stage
                    progress(stage, min(1.0, max(0.0, message.share)))
                if message.done:
                    break
            status = child.wait(timeout=5.0)
        finally:
            _end(child)
        if status != 0:
            raise CheckRefusedError(_why(status, stage, _tail(errors)))


def _messages(stream: IO[bytes]) -> Iterator[Message | None]:
    """Yield what the child says until it closes its end, and None ten times a second meanwhile."""
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while True:
            if not selector.select(POLL_S):
                yield None
                continue
            chunk = os.read(stream.fileno(), 65536)
            if not chunk:
                return
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > LINE_LIMIT_BYTES:
                raise CheckRefusedError("the check said more than it should; export the policy again")
            for line in lines:
                try:
                    yield msgspec.json.decode(line, type=Message)
                except (msgspec.MsgspecError, UnicodeDecodeError):
                    yield None  # a library that prints has no say here


def _end(child: "subprocess.Popen[bytes]") -> None:
    """End the child and whatever it has started, and forget them."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    if child.stdout is not None:
        child.stdout.close()


def _tail(errors: IO[bytes]) -> str:
    size = errors.seek(0, os.SEEK_END)
    errors.seek(max(0, size - ERROR_TAIL_BYTES))
    lines = errors.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:200] if lines else ""


def _why(status: int, stage: str, last_words: str) -> str:
    """Return why the child ended, as a sentence for the owner of the upload."""
    if status == -signal.SIGXCPU:
        return f"the check used up its processor time while {stage}; export a smaller network"
    if status == -signal.SIGXFSZ:
        return f"the check wrote more than it may while {stage}; export a smaller network"
    if status == -signal.SIGKILL:
        return (
            f"the check was killed while {stage}, most likely because this computer ran out of memory; "
            "export a smaller network, or end other programs and upload again"
        )
    if status < 0:
        name = signal.Signals(-status).name
        return f"the network made the check crash ({name}) while {stage}; it cannot be used; export it again"
    said = f" ({last_words})" if last_words else ""
    return f"the check ended by a mistake of ours while {stage}{said}; please report it with the file"
