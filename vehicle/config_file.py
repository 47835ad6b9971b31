"""Changes `car.toml` and keeps what its owner wrote: comments, order, fields that are not changed."""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import tomlkit
from tomlkit.exceptions import TOMLKitError

from vehicle.config import CarConfig, field_bounds, parse_config
from vehicle.errors import ConfigError

Value = float | int | str | bool | list[Any]
NEW_FILE_MODE = 0o644


class ConfigText(msgspec.Struct, frozen=True):
    """The file as it was read; the text of a file that is not there is empty."""

    text: str
    revision: str
    """Changes with every byte of the file."""


def read_text(path: Path) -> ConfigText:
    """Return the file's text, empty for one that is not there yet; raises ConfigError."""
    try:
        data = path.read_bytes()
        return ConfigText(data.decode("utf-8-sig"), hashlib.sha256(data).hexdigest()[:16])
    except FileNotFoundError:
        return ConfigText("", "")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); look at the file") from None


def edit(path: Path, changes: Mapping[str, Value | None]) -> CarConfig:
    """Change settings in the file, whole or not at all, and return what it says then.

    Args:
        path: of a `car.toml`; it is made where there is none. A link is followed.
        changes: by dotted name; None takes a setting out of the file, so that it is as shipped.

    Raises:
        ConfigError: there is no such setting, it may not be that, or the file cannot be read or written.

    """
    before = read_text(path)
    was = parse_config(before.text, path)
    text = edited(before.text, changes, path)
    config = parse_config(text, path)
    _check_the_rest(was, config, changes)
    _write(path, text)
    return config


def edited(text: str, changes: Mapping[str, Value | None], path: Path) -> str:
    """Return the file's text with the settings changed; raises ConfigError."""
    try:
        document = tomlkit.parse(text)
        for name, value in changes.items():
            field_bounds(name)
            _set(document, name.split("."), value)
        return tomlkit.dumps(document)
    except (TOMLKitError, TypeError, ValueError) as error:
        raise ConfigError(f"{path} cannot be changed ({error}); change it with an editor") from None


def _set(table: Any, names: list[str], value: Value | None) -> None:
    *groups, name = names
    for group in groups:
        if group not in table:
            if value is None:
                return
            table[group] = tomlkit.table()
        table = table[group]
    if value is None:
        table.pop(name, None)
    else:
        table[name] = value


def _check_the_rest(was: CarConfig, config: CarConfig, changes: Mapping[str, Value | None]) -> None:
    """Raise ConfigError if a change has changed something else: then the file stays as it is."""
    before, after = _flat(was), _flat(config)
    different = {name for name in before if before[name] != after[name]} - set(changes)
    if different:
        names = ", ".join(sorted(different))
        raise ConfigError(f"the file is written in a way that would change {names} too; use an editor")


def _flat(config: CarConfig) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in msgspec.to_builtins(config).items():
        if isinstance(value, dict):
            flat |= {f"{name}.{inner}": each for inner, each in value.items()}
        else:
            flat[name] = value
    return flat


def _write(path: Path, text: str) -> None:
    """Replace the file; after a kill or a power cut it is the old or the new, whole."""
    path = path.resolve()
    temporary: Path | None = None
    try:
        mode = path.stat().st_mode & 0o777 if path.exists() else NEW_FILE_MODE
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync(path.parent)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()
        raise ConfigError(
            f"{path} cannot be written ({error.strerror or error}); see to it that this process may write "
            f"to {path.parent}, and that the disk has room"
        ) from None


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
