"""Every file that is written whole: killed between any two system calls it is old or new, and mends itself.

One row for each writer. A power cut is more than a kill: for that the writers call fsync, which no test sees.
"""

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from calibration import store as calibrations
from calibration.car import AWS_DEFAULTS
from models.store import PolicyStore
from tests.unit.killed_calls import UntraceableError, killed_everywhere
from tests.unit.store_files import fill, make_report
from tests.unit.test_runs import DRIVE, feed, recording, ticks
from vehicle import config_file
from vehicle.board.failsafe_proof import FailsafeProof, load_proof, save_proof
from vehicle.car_clock import CarClock
from vehicle.config import parse_config
from vehicle.run_file import read
from vehicle.run_recording import RunSummary
from vehicle.run_schemas import Topic
from vehicle.runs import RunShelf
from webui.access_store import AccessStore
from webui.certificates import Certificates
from webui.speed_caps import SpeedCaps

OLD_US, NEW_US = 1440.0, 1460.0


class Writer(NamedTuple):
    """One file, or several that belong together."""

    prepare: Callable[[Path], object]
    """Makes the old."""
    change: Callable[[Path], object]
    """Makes the new of it; may be done again."""
    read: Callable[[Path], Any]
    """Returns what is in force; raises or returns something else where that is garbage."""


def calibration(center_us: float) -> Any:
    steering = msgspec.structs.replace(AWS_DEFAULTS.steering, center_us=center_us)
    return msgspec.structs.replace(AWS_DEFAULTS, steering=steering)


def save_calibration(center_us: float) -> Callable[[Path], object]:
    return lambda folder: calibrations.save(folder / "car.json", calibration(center_us))


def center_in_force(folder: Path) -> float:
    loaded = calibrations.load(folder / "car.json")
    assert all(old.version <= loaded.version + 1 for old in calibrations.history(folder / "car.json"))
    return loaded.steering.center_us


def two_calibrations(folder: Path) -> None:
    save_calibration(NEW_US)(folder)
    save_calibration(OLD_US)(folder)


def undo_if_needed(folder: Path) -> None:
    if center_in_force(folder) == OLD_US:
        calibrations.undo(folder / "car.json")


def prove(neutral_us: float) -> Callable[[Path], object]:
    proof = FailsafeProof(neutral_us, 0, 1, "2026-01-01T00:00:00")
    return lambda folder: save_proof(folder / "proofs.json", "maestro", proof)


def proved_us(folder: Path) -> float | None:
    proof = load_proof(folder / "proofs.json", "maestro")
    return proof.neutral_us if proof else None


def cap(cap_frac: float) -> Callable[[Path], object]:
    return lambda folder: SpeedCaps(folder / "caps.json").remember("policy", cap_frac)


def with_policy(folder: Path) -> None:
    store = PolicyStore(folder)
    with store.begin() as incoming:
        bundle = fill(incoming.bundle, b"one")
        store.add(make_report(bundle, "one"), bundle)


def add_another(folder: Path) -> None:
    """Add a policy that may be there already."""
    store = PolicyStore(folder)
    with store.begin() as incoming:
        bundle = fill(incoming.bundle, b"two")
        store.add(make_report(bundle, "two"), bundle)


def whole_policies(folder: Path) -> list[str]:
    """Return the policies that can be driven, each with its files as they were checked."""
    store = PolicyStore(folder)
    names = [entry.name for entry in store.list() if not entry.built_in]
    assert all(store.checked_folder(store.find(name).key) for name in names)
    return sorted(names)


def activate(folder: Path) -> None:
    store = PolicyStore(folder)
    store.activate(store.find("one").key)


def active_policy(folder: Path) -> str:
    store = PolicyStore(folder)
    assert [entry.name for entry in store.list() if not entry.built_in] == ["one"]
    active = store.active()
    return "" if active is None else active.name


def password(text: str) -> Callable[[Path], object]:
    return lambda folder: AccessStore(folder).set_password(text)


def first_password(folder: Path) -> None:
    store = AccessStore(folder)
    if not store.has_password:
        store.set_first_password(store.setup_code(), "new")


def password_in_force(folder: Path) -> str:
    store = AccessStore(folder)
    kept = store.state().password
    assert kept or len(store.setup_code()) == 9
    return kept


def summary(note: str) -> RunSummary:
    return RunSummary(name="2026-01-01_00-00-00_1", started_wall_ns=1, boot_id="", started_ns=1, note=note)


def put_summary(note: str) -> Callable[[Path], object]:
    return lambda folder: RunShelf(folder).put(summary(note))


def kept_note(folder: Path) -> str:
    return msgspec.json.decode((folder / f"{summary('').name}.json").read_bytes(), type=RunSummary).note


SETTINGS = "# my car\n[control]\nspeed_cap_frac = 0.3  # gently\n"


def write_settings(folder: Path) -> None:
    (folder / "car.toml").write_text(SETTINGS)


def change_settings(folder: Path) -> None:
    config_file.edit(folder / "car.toml", {"control.speed_cap_frac": 0.6})


def cap_in_settings(folder: Path) -> float:
    text = (folder / "car.toml").read_text()
    assert text in {SETTINGS, SETTINGS.replace("0.3", "0.6")}  # comments and all
    return parse_config(text, folder / "car.toml").control.speed_cap_frac


def authority_in_force(folder: Path) -> bool:
    """Whether there is one; it can sign, or the car makes a page that no phone can open."""
    if not (folder / "ca.crt").exists():
        return False
    key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    authority = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
    return key.public_key() == authority.public_key()


def serve_for(*names: str) -> Callable[[Path], object]:
    return lambda folder: Certificates(folder).serve_for(names, ())


def names_served(folder: Path) -> list[str]:
    data = (folder / "server.pem").read_bytes()
    certificate, key = x509.load_pem_x509_certificate(data), serialization.load_pem_private_key(data, None)
    authority = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
    certificate.verify_directly_issued_by(authority)
    assert key.public_key() == certificate.public_key()
    alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return sorted(alternatives.value.get_values_for_type(x509.DNSName))


def tell_time(zone: str) -> Callable[[Path], object]:
    return lambda folder: CarClock(folder).tell(1_800_000_000_000_000_000, zone)


def zone_told(folder: Path) -> str:
    told = CarClock(folder).told()
    return told.zone if told else ""


WRITERS = {
    "calibration": Writer(save_calibration(OLD_US), save_calibration(NEW_US), center_in_force),
    "undone calibration": Writer(two_calibrations, undo_if_needed, center_in_force),
    "failsafe proof": Writer(prove(OLD_US), prove(NEW_US), proved_us),
    "speed cap": Writer(cap(0.3), cap(0.6), lambda folder: SpeedCaps(folder / "caps.json").of("policy")),
    "policy store's index": Writer(with_policy, activate, active_policy),
    "policies": Writer(with_policy, add_another, whole_policies),
    "password": Writer(password("old"), password("new"), password_in_force),
    "first password": Writer(AccessStore, first_password, password_in_force),
    "run's summary": Writer(put_summary("old"), put_summary("new"), kept_note),
    "settings": Writer(write_settings, change_settings, cap_in_settings),
    "certificate authority": Writer(lambda folder: None, Certificates, authority_in_force),
    "server's certificate": Writer(
        serve_for("car.local"), serve_for("car.local", "other.local"), names_served
    ),
    "told time": Writer(tell_time("old"), tell_time("new"), zone_told),
}


class Left(NamedTuple):
    """What was in force."""

    old: Any
    after_kills: list[Any]
    """After a kill before the first call, the second, and so on; the last one was not killed."""
    mended: list[Any]
    """After each of them, and the change made once more."""


def what_is_left(name: str, folder: Path) -> Left:
    writer, old, work = WRITERS[name], folder / "old", folder / "work"
    old.mkdir()
    writer.prepare(old)
    left = Left(writer.read(old), [], [])
    for _ in killed_everywhere(old, work, writer.change):
        left.after_kills.append(writer.read(work))
        writer.change(work)
        left.mended.append(writer.read(work))
    return left


def record_a_drive(folder: Path) -> None:
    feed(recording(folder), ticks(*DRIVE))


def ticks_of_mended_runs(folder: Path) -> list[int]:
    """Return how many ticks are left of the drive after a kill at each call; 0 where there is no run."""
    old, work, counts = folder / "old", folder / "work", []
    old.mkdir()
    for _ in killed_everywhere(old, work, record_a_drive):
        shelf = RunShelf(work)
        shelf.mend()
        assert not list(work.glob("*.part"))
        counts.append(sum(len(list(read(shelf.find(run.name), [Topic.TICK]))) for run in shelf.runs()))
    return counts


@pytest.fixture(scope="module")
def apart() -> Iterator[ProcessPoolExecutor]:
    """A process of one thread: only such a one can be forked as it is."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.mark.parametrize("name", WRITERS)
def test_a_kill_between_any_two_calls_leaves_the_old_or_the_new(apart, tmp_path, name):
    try:
        old, seen, mended = apart.submit(what_is_left, name, tmp_path).result()
    except UntraceableError as error:
        pytest.skip(str(error))
    new = seen[-1]

    assert old != new
    assert len(seen) > 7
    switched = seen.index(new)
    assert seen == [old] * switched + [new] * (len(seen) - switched)
    assert mended == [new] * len(seen)


def test_a_recorder_killed_between_any_two_calls_leaves_a_run_that_opens(apart, tmp_path):
    try:
        counts = apart.submit(ticks_of_mended_runs, tmp_path).result()
    except UntraceableError as error:
        pytest.skip(str(error))

    assert counts == sorted(counts)
    assert counts[0] == 0
    assert counts[-1] > 20  # of a drive that short, every tick
    assert len(counts) > 10
