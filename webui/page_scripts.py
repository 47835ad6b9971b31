"""The page's scripts and styles: where a browser finds them, and which of them a page needs.

Their address holds a word of their content, so that a browser keeps them for as long as they are the same.
A page names all modules that its script imports, so that a browser fetches them at once.
"""

import functools
import hashlib
import re
from pathlib import Path

FOLDER = Path(__file__).parent / "static"
IMPORT = re.compile(r'^import\s[^;]*?"\./([\w-]+)\.js";', re.MULTILINE)
KEPT = "public, max-age=31536000, immutable"
"""What is said of a file whose address changes with its content."""


@functools.cache
def static_path() -> str:
    """Return the address of the folder; another one when any file in it has changed."""
    content = hashlib.sha256()
    for file in sorted(FOLDER.iterdir()):
        content.update(file.name.encode() + b"\0" + file.read_bytes())
    return f"/static/{content.hexdigest()[:12]}"


@functools.cache
def modules_of(*scripts: str) -> tuple[str, ...]:
    """Return every module that these scripts import, also by way of others; without themselves."""
    found: dict[str, None] = dict.fromkeys(scripts)
    waiting = list(scripts)
    while waiting:
        source = (FOLDER / f"{waiting.pop()}.js").read_text(encoding="utf-8")
        new = [name for name in IMPORT.findall(source) if name not in found]
        found.update(dict.fromkeys(new))
        waiting += new
    return tuple(name for name in found if name not in scripts)
