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


class SenseMissingError(PolicyOutputError):
    """There is no answer, because the car did not sense what the network takes."""

    def __init__(self, message: str) -> None:
        super().__init__(OutputProblem.FAILED, f"{message}; look at that sensor and its cable")


class RangeUnknownError(PolicyError):
    """Nothing says whether a picture's black and white are 0 and 255 or 0 and 1; the owner must be asked.

    `models.bundle.check_bundle` takes each of the `choices` as its `input_range`, so that the answers to
    both can be shown.
    """

    def __init__(self, input_name: str, choices: tuple[str, ...]) -> None:
        super().__init__(
            f"neither the network nor model_metadata.json says which values its input {input_name} takes; "
            f'state input.range in model_metadata.json: "{choices[0]}" where the network divides by 255 '
            f'itself, "{choices[1]}" otherwise'
        )
        self.input_name = input_name
        self.choices = choices
