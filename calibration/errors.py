"""What can be wrong with a car's numbers."""


class CalibrationError(ValueError):
    """A calibration has a wrong field, or its file cannot be read or written.

    The message names the field, the value seen, the value allowed and what to do next.
    """
