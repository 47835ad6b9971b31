"""What a car loads runs on a processor without AVX, and the check that shows it can fail."""

import subprocess

import prove
import pytest

needs_emulator = pytest.mark.skipif(bool(prove.cannot_run_here()), reason=prove.cannot_run_here())


@needs_emulator
def test_an_avx_instruction_kills_a_process_there_and_an_sse_one_does_not():
    assert prove.died_of_illegal_instruction(prove.run("avx", emulated=True))
    assert prove.run("sse", emulated=True).returncode == 0


@pytest.mark.timeout(prove.LIMIT_S)
@needs_emulator
def test_numpy_opencv_onnxruntime_and_the_converter_run_and_agree():
    assert prove.prove() == []


def test_numbers_that_differ_or_are_missing_are_told():
    right = {part: [1.0, 2.0] for part in prove.TOLERANCES}

    assert prove.differences(right, right) == []
    assert "onnxruntime: differs by 0.5" in prove.differences(right, {**right, "onnxruntime": [1.0, 2.5]})[0]
    assert "numpy: 2 numbers natively, 1 emulated" in prove.differences(right, {**right, "numpy": [1.0]})[0]
    assert len(prove.differences(right, {**right, "conversion": [1.0, float("nan")]})) == 1


@pytest.mark.parametrize(("status", "died"), [(132, True), (-4, True), (0, False), (139, False), (1, False)])
def test_an_illegal_instruction_is_told_from_other_deaths(status, died):
    assert prove.died_of_illegal_instruction(subprocess.CompletedProcess([], status)) is died
