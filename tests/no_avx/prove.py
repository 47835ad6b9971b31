"""Show that a processor without AVX runs what the car runs: `python tests/no_avx/prove.py`.

Emulates an Atom of the DeepRacer car's family (Denverton, a Goldmont core) with Debian's qemu-user, does
there what a car does, and compares every number with the same work done natively. Two controls show
that the check can fail: an AVX instruction must kill a process there, an SSE4.2 instruction must not.
"""

import json
import math
import os
import platform
import shutil
import signal
import subprocess
import sys
from pathlib import Path

WORK = Path(__file__).with_name("work.py")
PROCESSOR = "Denverton"
EMULATOR = "qemu-x86_64"
REMEDY = f"{EMULATOR} is missing; sudo apt-get install qemu-user"
LIMIT_S = 600
TOLERANCES = {"numpy": 1e-3, "opencv": 1.0, "onnxruntime": 1e-5, "conversion": 1e-5}
"""Absolute: sums in another order; one grey level; what tests of conversion allow."""


def cannot_run_here() -> str:
    """Return why the check cannot be made on this computer, or nothing."""
    if platform.machine() != "x86_64":
        return f"this computer is {platform.machine()}; the check is for x86_64"
    return "" if shutil.which(EMULATOR) else REMEDY


def run(what: str, *, emulated: bool) -> "subprocess.CompletedProcess[str]":
    """Run one part of the work, on the emulated processor or on this one."""
    emulator = [EMULATOR, "-cpu", PROCESSOR] if emulated else []
    command = [*emulator, sys.executable, str(WORK), what]
    # Libraries shall choose by the processor: OPENBLAS_CORETYPE, where somebody has set it, chooses for them.
    chosen = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS_")}
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False, env=chosen)


def died_of_illegal_instruction(done: "subprocess.CompletedProcess[str]") -> bool:
    """Whether the processor refused an instruction; a shell calls that 132."""
    return done.returncode in (-signal.SIGILL, 128 + signal.SIGILL)


def differences(native: dict[str, list[float]], emulated: dict[str, list[float]]) -> list[str]:
    """Return a sentence for each part whose numbers are not the same."""
    found = []
    for part, tolerance in TOLERANCES.items():
        mine, theirs = native[part], emulated[part]
        if len(mine) != len(theirs) or not mine or not all(map(math.isfinite, [*mine, *theirs])):
            found.append(f"{part}: {len(mine)} numbers natively, {len(theirs)} emulated, or not finite")
            continue
        worst = max(abs(one - other) for one, other in zip(mine, theirs, strict=True))
        if worst > tolerance:
            found.append(f"{part}: differs by {worst:g}, allowed {tolerance:g}")
    return found


def prove() -> list[str]:
    """Return what is wrong, in sentences; nothing when everything runs and agrees."""
    wrong = []
    if not died_of_illegal_instruction(run("avx", emulated=True)):
        wrong.append(f"an AVX instruction runs on the emulated {PROCESSOR}, so this check shows nothing")
    if run("sse", emulated=True).returncode != 0:
        wrong.append(f"an SSE4.2 instruction does not run on the emulated {PROCESSOR}")
    native, emulated = run("car", emulated=False), run("car", emulated=True)
    for where, done in (("natively", native), (f"on {PROCESSOR}", emulated)):
        if done.returncode != 0:
            cause = "an instruction it lacks" if died_of_illegal_instruction(done) else done.stderr[-2000:]
            wrong.append(f"the work does not run {where} (status {done.returncode}): {cause}")
    if native.returncode == 0 == emulated.returncode:
        wrong += differences(json.loads(native.stdout), json.loads(emulated.stdout))
    return wrong


def main() -> int:
    """Print the result; status 0 when shown, 1 when not, 2 when it cannot be tried here."""
    why_not = cannot_run_here()
    if why_not:
        sys.stderr.write(why_not + "\n")
        return 2
    wrong = prove()
    for sentence in wrong:
        sys.stderr.write(sentence + "\n")
    if not wrong:
        sys.stdout.write(f"numpy, OpenCV, onnxruntime and the converter agree on {PROCESSOR}, without AVX\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
