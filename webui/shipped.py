"""What the check says of the policies that ship, made here when somebody asks, and then remembered."""

import threading

import msgspec

from models.activation import Vehicle, may_check
from models.check_report import CheckReport
from models.errors import PolicyError
from models.store import Entry, PolicyStore
from models.store_intake import check_shipped
from webui.guard import sentence


class Measuring(msgspec.Struct):
    """A report in the making."""

    stage: str = "waiting"
    share: float = 0.0
    error: str = ""
    report: CheckReport | None = None


class ShippedReports:
    """Reports of shipped policies, one made at a time, as uploads are; safe in any thread."""

    def __init__(self, store: PolicyStore, vehicle: Vehicle) -> None:
        self._store = store
        self._vehicle = vehicle
        self._lock = threading.Lock()
        self._made: dict[str, Measuring] = {}

    def look(self, entry: Entry) -> Measuring | None:
        """Return the report, or how far it is; None when nobody has asked for it."""
        with self._lock:
            return self._made.get(entry.key)

    def begin(self, entry: Entry) -> Measuring:
        """Have the report made, unless it is there or on its way; one that failed is tried again."""
        with self._lock:
            found = self._made.get(entry.key)
            if found is None or found.error:
                found = self._made[entry.key] = Measuring()
                threading.Thread(
                    target=self._make, args=(entry, found), name="shipped-check", daemon=True
                ).start()
        return found

    def _make(self, entry: Entry, made: Measuring) -> None:
        def tell(stage: str, share: float) -> None:
            made.stage, made.share = stage, share

        error = "the check failed by a mistake of ours; the server's log has it"
        try:
            made.report = check_shipped(
                self._store, entry, progress=tell, may_run=lambda: may_check(self._vehicle.status())
            )
            error = ""
        except PolicyError as refused:
            error = str(refused)
        finally:
            made.error = sentence(error) if error else ""
