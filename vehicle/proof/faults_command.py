"""`lapwing faults`: the fault matrix, proved on this computer and printed as a table."""

import multiprocessing
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor

import msgspec
from rich.console import Console
from rich.table import Table

from models.bundle import load_bundle
from vehicle.errors import HilError
from vehicle.hil.faults import Part
from vehicle.messages import DriveState
from vehicle.proof.matrix import Proof, prove
from vehicle.proof.outcomes import ALL, PROVED_PARTS, in_words, rows
from vehicle.proof.software import software
from vehicle.proof.stepped_car import stepped_car
from vehicle.realtime import die_with_parent

WIRINGS = ("aws", "standard")
PROCESSES = 2


class Session(msgspec.Struct, frozen=True):
    """Rows that are proved one after the other on one car."""

    policy: str
    part: Part
    state: DriveState
    wiring: str


def prove_session(session: Session) -> list[Proof]:
    """Prove every fault of one part in one state."""
    with stepped_car(session.policy, wiring=session.wiring) as car:
        return list(prove(car, rows([session.part], [session.state])))


def run_faults(policy: str, parts: Iterable[str] = (), *, as_json: bool = False) -> int:
    """Prove the matrix, or some parts of it, on both wirings; return 0 only when every row is as claimed.

    Raises LapwingError for a policy that cannot be loaded, or a part that is not proved here.
    """
    load_bundle(policy)
    chosen = [_part(name) for name in parts] or list(PROVED_PARTS)
    sessions = [
        Session(policy, part, state, wiring) for part in chosen for state in ALL for wiring in WIRINGS
    ]
    console = Console(stderr=as_json)
    table = Table("fault", "state", "wiring", "the car", "seen", title="The fault matrix")
    proved: list[tuple[Session, Proof]] = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, context, initializer=die_with_parent) as pool:
        for session, proofs in zip(sessions, pool.map(prove_session, sessions), strict=True):
            proved += [(session, proof) for proof in proofs]
            console.print(f"{session.part} while {session.state}, {session.wiring}: {len(proofs)} drives")
    for session, proof in proved:
        row, amount = proof.row, "" if proof.amount is None else f":{proof.amount:g}"
        seen = f"[red]{proof.in_words()}[/red]" if proof.problems else proof.in_words()
        fault = f"{row.part}={row.fault}{amount}"
        table.add_row(fault, row.state.value, session.wiring, in_words(row.outcome), seen)
    wrong = [proof for _, proof in proved if proof.problems]
    if as_json:
        print(msgspec.json.encode([proof for _, proof in proved]).decode())  # noqa: T201 - the answer
    else:
        console.print(table)
        console.print(f"{len(proved)} drives, {len(wrong)} not as claimed, at {software()}")
    return 1 if wrong else 0


def _part(name: str) -> Part:
    if name not in PROVED_PARTS:
        raise HilError(f"the part is {name!r}, allowed are {', '.join(PROVED_PARTS)}; choose one of these")
    return Part(name)
