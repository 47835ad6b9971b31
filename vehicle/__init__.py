"""The process that drives the car."""
