"""What the network was shown, as a run keeps it: in a byte each where that loses nothing."""

import msgspec
import numpy as np
import numpy.typing as npt

from vehicle.run_stream import InputArray, PolicyInputs

Array = npt.NDArray[np.generic]


def compact(inputs: PolicyInputs) -> PolicyInputs:
    """Return the same inputs, grey levels in a byte each where that loses nothing."""
    return msgspec.structs.replace(inputs, arrays=tuple(_compact(array) for array in inputs.arrays))


def _compact(packed: InputArray) -> InputArray:
    if packed.dtype == "uint8":
        return packed
    array = packed.array()
    for scale in (1, 255):
        with np.errstate(invalid="ignore"):
            small = np.rint(array.astype(np.float64) * scale).astype(np.uint8)
        if np.array_equal(expanded(small, packed.dtype, scale), array):
            return InputArray(packed.name, f"uint8/{scale}/{packed.dtype}", packed.shape, small.tobytes())
    return packed


def expanded(small: Array, dtype: str, scale: int) -> Array:
    """Return grey levels as the network's input, as `models.observation` makes them."""
    values: npt.NDArray[np.floating] = small.astype(dtype)
    if scale != 1:
        values /= np.asarray(scale, dtype=dtype)
    return values


def unpacked(packed: InputArray) -> Array:
    """Return an input as the network saw it, to the bit."""
    if not packed.dtype.startswith("uint8/"):
        return packed.array()
    _, scale, dtype = packed.dtype.split("/")
    small = np.frombuffer(packed.data, np.uint8).reshape(packed.shape)
    return expanded(small, dtype, int(scale))


def newest_picture(packed: InputArray) -> Array | None:
    """Return the newest grey picture of an image input as bytes, for people; None where it is no picture."""
    if len(packed.shape) != 4:
        return None
    values = unpacked(packed)[0]
    last = values[-1] if values.shape[0] < min(values.shape[1:]) else values[:, :, -1]
    scaled = last.astype(np.float32)
    if packed.dtype.startswith("uint8/255") or scaled.max(initial=0.0) <= 1.0:
        scaled = scaled * 255.0
    return np.asarray(np.clip(np.rint(scaled), 0, 255), np.uint8)
