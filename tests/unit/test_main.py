"""What the entry point hands from `car.toml` to the parts it builds."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from calibration.car import AWS_DEFAULTS
from vehicle.__main__ import _board, _camera
from vehicle.clock import MonotonicClock
from vehicle.config import BoardConfig, CameraConfig, CarConfig
from vehicle.errors import BoardConfigError

PREVIEW = SimpleNamespace(publish=lambda frame: None)
STREAM = SimpleNamespace(send_frame=lambda frame: None)


@pytest.mark.parametrize(("scale", "shape"), [(1, (120, 160, 3)), (4, (30, 40, 3))])
def test_the_camera_decodes_at_the_configured_fraction(tmp_path, scale, shape):
    cv2.imwrite(str(tmp_path / "a.jpg"), np.full((120, 160, 3), 90, np.uint8))
    config = CarConfig(camera=CameraConfig(source=f"images:{tmp_path}", decode_scale=scale))
    camera = _camera(config, None, MonotonicClock(), PREVIEW, STREAM)
    camera.start()
    try:
        assert camera.wait_newer(-1, 5.0)
        assert camera.latest().image.shape == shape
    finally:
        camera.stop()


def test_the_configured_channels_reach_the_maestro(tmp_path):
    board = BoardConfig(driver="maestro", port=str(tmp_path), steering_channel=7, throttle_channel=7)
    with pytest.raises(BoardConfigError, match="both 7"):
        _board(CarConfig(board=board), None, AWS_DEFAULTS, MonotonicClock())
