"""The check's process: whatever happens to it is a sentence, and nothing is left behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from models import check_process
from models.check_process import check
from models.check_report import CheckCancelledError, CheckRefusedError
from tests.unit.upload_files import good

SAY = """echo '{"stage": "measuring", "share": 0.5}'; """


@pytest.fixture
def upload(tmp_path: Path) -> Path:
    path = tmp_path / "swift.tar.gz"
    path.write_bytes(good())
    return path


def bad_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Run this shell script in place of the check; it makes a folder, as the check would."""
    path = tmp_path / "child"
    path.write_text(f'#!/bin/sh\nmkdir "$5"; touch "$5/half"; {SAY}{script}\n')
    path.chmod(0o755)
    monkeypatch.setattr(check_process.sys, "executable", str(path))


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("kill -SEGV $$", r"crash \(SIGSEGV\) while measuring"),
        ("kill -ABRT $$", r"crash \(SIGABRT\) while measuring"),
        ("kill -KILL $$", "was killed while measuring, most likely because this computer ran out of memory"),
        ("kill -XCPU $$", "used up its processor time while measuring"),
        ("kill -XFSZ $$", "wrote more than it may"),
        ("echo ValueError: oops >&2; exit 1", r"mistake of ours while measuring \(ValueError: oops\)"),
        ("exit 0", "cannot be read"),
        ("echo '{\"done\": true}'", "cannot be read"),
        ('echo \'{"refused": "No."}\'', "No."),
        ("while true; do sleep 0.05; done", "not done after 1 s, while measuring"),
        ("head -c 3000000 /dev/zero; sleep 5", "said more than it should"),
        ("echo not json; kill -SEGV $$", "crash"),
    ],
)
def test_every_end_of_the_child_is_a_sentence(
    script: str, sentence: str, upload: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad_child(tmp_path, monkeypatch, script)
    with pytest.raises(Exception, match=sentence) as caught:
        check(upload, tmp_path / "into", name="x", lock=tmp_path / "lock", time_limit_s=1.0)
    assert type(caught.value).__module__.startswith("models.")
    assert not (tmp_path / "into").exists()


def test_cancelling_ends_the_child_and_its_children(
    upload: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad_child(tmp_path, monkeypatch, f"sleep 60 & echo $! > {tmp_path}/grandchild; sleep 60")
    with pytest.raises(CheckCancelledError, match="nothing of the upload was kept"):
        check(
            upload,
            tmp_path / "into",
            name="x",
            lock=tmp_path / "lock",
            cancelled=(tmp_path / "grandchild").exists,
        )
    assert not (tmp_path / "into").exists()
    pid = int((tmp_path / "grandchild").read_text() or 0)
    deadline_s = time.monotonic() + 5
    while is_running(pid) and time.monotonic() < deadline_s:
        time.sleep(0.02)
    assert not is_running(pid)


def is_running(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def test_the_check_waits_for_the_car_and_begins_again_when_it_is_armed_meanwhile(
    upload: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad_child(
        tmp_path, monkeypatch, f'echo run >> {tmp_path}/runs; sleep 0.5; echo \'{{"refused": "Seen."}}\''
    )
    may = iter([False, False, True, True, False, False])
    told: list[str] = []
    with pytest.raises(CheckRefusedError, match="Seen"):
        check(
            upload,
            tmp_path / "into",
            name="x",
            lock=tmp_path / "lock",
            progress=lambda stage, share: told.append(stage),
            may_run=lambda: next(may, True),
        )
    assert told[:2] == ["the check starts when the car stops"] * 2
    assert (tmp_path / "runs").read_text() == "run\nrun\n"


def test_one_check_at_a_time(upload: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    bad_child(tmp_path, monkeypatch, f"echo in >> {log}; sleep 0.3; echo out >> {log}; kill -SEGV $$")

    def work(number: int) -> None:
        with pytest.raises(CheckRefusedError):
            check(upload, tmp_path / f"into{number}", name="x", lock=tmp_path / "lock")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.read_text().split() == ["in", "out"] * 3


def test_a_real_check_makes_a_bundle_within_its_bounds(upload: Path, tmp_path: Path) -> None:
    stages: list[str] = []
    report = check(
        upload,
        tmp_path / "into",
        name="swift",
        lock=tmp_path / "lock",
        progress=lambda stage, share: stages.append(stage),
    )
    assert {path.name for path in (tmp_path / "into").iterdir()} == {*report.files, "bundle.json"}
    assert stages.index("unpacking") < stages.index("trying it on pictures") < stages.index("measuring")
    assert report.peak_memory_mb < 300


def test_the_limits_bind() -> None:
    script = (
        "from models.check_limits import *; import os; limit_this_process()\n"
        "assert os.nice(0) >= 10\n"
        "try: bytearray(MEMORY_BYTES + (1 << 20))\n"
        "except MemoryError: print('memory')\n"
        "bytearray(MEMORY_BYTES // 2)\n"
        "import mmap, tempfile; file = tempfile.TemporaryFile(); file.truncate(FILE_BYTES)\n"
        "mmap.mmap(file.fileno(), FILE_BYTES, prot=mmap.PROT_READ); print('a mapped file costs nothing')\n"
        "try: file.truncate(FILE_BYTES + 1)\n"
        "except OSError: print('file')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:3] == ["memory", "a mapped file costs nothing", "file"]


def test_the_child_dies_with_its_parent(upload: Path, tmp_path: Path) -> None:
    script = (
        "from pathlib import Path; from models.check_process import check; import sys\n"
        f"check(Path({str(upload)!r}), Path({str(tmp_path / 'into')!r}), name='x', "
        f"lock=Path({str(tmp_path / 'lock')!r}), progress=lambda s, _: print(s, flush=True))"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    parent.stdout.readline()
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    assert len(children) == 1
    os.kill(parent.pid, signal.SIGKILL)
    parent.communicate()
    deadline_s = time.monotonic() + 5
    while is_running(int(children[0])) and time.monotonic() < deadline_s:
        time.sleep(0.02)
    assert not is_running(int(children[0]))
