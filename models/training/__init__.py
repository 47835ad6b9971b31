"""Learning in the HIL world; the only part of the project that needs the `train` extra."""
