"""Shows that the car stops: drives the HIL car in lockstep, breaks things, and says what the motor did."""
