"""What can go wrong with a policy, named for what happened."""

import enum

from vehicle.errors import LapwingError


class PolicyError(LapwingError):
    """A policy cannot be used; the message has the value seen, the value allowed and what to do."""


class OutputProblem(enum.StrEnum):
    """How a network's answer can be unusable."""

    NOT_FINITE = "not finite"
    WRONG_SHAPE = "wrong shape"
    FAILED = "failed"  # the runtime raised


class PolicyOutputError(PolicyError):
    """The network answered something that must never reach an actuator."""

    def __init__(self, kind: OutputProblem, message: str) -> None:
        super().__init__(message)
        self.kind = kind
