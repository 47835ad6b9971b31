"""Takes secrets out of text that leaves the car for a bug report."""

import re
from pathlib import Path

REMOVED = "[removed]"

_NAMES = r"webhook|password|passwd|passphrase|secret|token|psk|api[-_]?key|cookie|csrf"
_GIVEN = rf"([\w.-]*(?:{_NAMES})[\w.-]*[\"']?\s*[=:]\s*)"
_KEY_BLOCK = r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"

_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(_KEY_BLOCK, re.DOTALL), REMOVED),
    (re.compile(r"(\blink=)[^\s&\"']+", re.IGNORECASE), rf"\1{REMOVED}"),
    (re.compile(r"(\bBearer\s+)[^\s\"']+", re.IGNORECASE), rf"\1{REMOVED}"),
    (re.compile(r"(://[^/\s:@]+:)[^/\s@]+@"), rf"\1{REMOVED}@"),  # a password within an address
    (re.compile(r"\$argon2[^\s\"']+"), REMOVED),
    (
        re.compile(r"(?<![\w-])(?=[\w-]*[a-z])(?=[\w-]*[A-Z])[\w-]{43}(?![\w-])", re.ASCII),
        REMOVED,
    ),  # a link, key or session
    (re.compile(r"(\bpsk\s*[=:]\s*)(?![\s\"'])[^\n]+", re.IGNORECASE), rf"\1{REMOVED}"),  # with its blanks
    (re.compile(_GIVEN + r'"[^"\n]*"', re.IGNORECASE), rf'\1"{REMOVED}"'),
    (re.compile(_GIVEN + r"'[^'\n]*'", re.IGNORECASE), rf"\1'{REMOVED}'"),
    (re.compile(_GIVEN + r"[^\s\"',;}\]\[]+", re.IGNORECASE), rf"\1{REMOVED}"),
    (re.compile(r"(\bset-up code\s+)\S+", re.IGNORECASE), rf"\1{REMOVED}"),
    (re.compile(r"\b[A-Z0-9]{4}-[A-Z0-9]{4}\b"), REMOVED),  # the set-up code, wherever it stands
    (re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])"), REMOVED),  # a page's secret; hashes are longer
    (re.compile(r"\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b", re.IGNORECASE), "[address]"),  # of a network card
    (re.compile(r"\b[\w.+-]+@[\w-]+\.[\w.-]+\b"), "[e-mail]"),
    (re.compile(r"/home/[^/\s\"']+"), "/home/[user]"),
    (re.compile(r"(\bSSID\s*[=:]\s*)(\"[^\"\n]*\"|\S+)", re.IGNORECASE), rf"\1{REMOVED}"),
)


def redacted(text: str, home: Path | None = None) -> str:
    """Return text without secrets and without what names its owner; nothing else is changed."""
    home = home or Path.home()
    if len(home.parts) > 2:  # not /root or /, which would be found everywhere
        text = text.replace(str(home), "~")
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text
