"""The hardware-in-the-loop car: a simulated world, camera and board, real at the wire."""
