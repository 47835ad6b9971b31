"""Which processor and which onnxruntime a measurement was made with, and so holds for."""

import os

import msgspec
import onnxruntime

from models.processor import processor_name


class Machine(msgspec.Struct, frozen=True):
    """What decides how fast, and in int8 how exact, a network runs here."""

    processor: str
    cores: int
    """That this process may use."""
    onnxruntime: str

    @property
    def words(self) -> str:
        """For people."""
        return f"{self.processor}, {self.cores} cores, onnxruntime {self.onnxruntime}"


def this_machine() -> Machine:
    """Return what measurements made now hold for."""
    return Machine(processor_name(), len(os.sched_getaffinity(0)), onnxruntime.__version__)
