"""Which modules are the safety core, and which tests guard each. Code that moves there is guarded at once."""

NUMBERS = "tests/unit/test_limits.py"

CORE: dict[str, tuple[str, ...]] = {
    "vehicle/esc.py": (NUMBERS, "tests/unit/test_esc.py"),
    "vehicle/state.py": (NUMBERS, "tests/unit/test_state.py"),
    "vehicle/limits.py": (NUMBERS,),
    "vehicle/calibrating.py": (NUMBERS, "tests/unit/test_calibrating.py"),
    "vehicle/operator.py": (NUMBERS, "tests/unit/test_operator.py"),
    "vehicle/safety.py": (NUMBERS, "tests/unit/test_safety.py", "tests/unit/test_sensor_faults.py"),
    "vehicle/sensor_monitors.py": (NUMBERS, "tests/unit/test_safety.py", "tests/unit/test_sensor_faults.py"),
    "vehicle/rate.py": (NUMBERS, "tests/unit/test_rate.py"),
    "vehicle/hil/own_board.py": (NUMBERS, "tests/unit/test_hil_own_board.py"),
}
"""The quickest test to notice something comes first."""


def module_name(path: str) -> str:
    """Return `a.b` for `a/b.py`."""
    return path.removesuffix(".py").replace("/", ".")
