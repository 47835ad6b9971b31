"""`make coverage`: every branch of the safety core is run by the tests that guard it, or this fails."""

import sys

import pytest

from tests.mutation.core import CORE, module_name


def main() -> int:
    """Run the guards, and return 0 only when not one branch was left out."""
    tests = dict.fromkeys(test for guards in CORE.values() for test in guards)
    options = [f"--cov={module_name(path)}" for path in CORE]
    options += ["--cov-branch", "--cov-fail-under=100", "--cov-report=term-missing", "-q"]
    return int(pytest.main([*options, "-p", "no:cacheprovider", *tests]))


if __name__ == "__main__":
    sys.exit(main())
