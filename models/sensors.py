"""The names of what a network can look at, as `model_metadata.json` and the graph's inputs spell them."""

import enum


class Sensor(enum.StrEnum):
    """What a network can look at."""

    OBSERVATION = "observation"  # the front camera's name in files of version 1
    FRONT_FACING_CAMERA = "FRONT_FACING_CAMERA"
    LEFT_CAMERA = "LEFT_CAMERA"
    STEREO_CAMERAS = "STEREO_CAMERAS"
    LIDAR = "LIDAR"
    SECTOR_LIDAR = "SECTOR_LIDAR"
    DISCRETIZED_SECTOR_LIDAR = "DISCRETIZED_SECTOR_LIDAR"


CAMERA_SENSORS = frozenset(
    {Sensor.OBSERVATION, Sensor.FRONT_FACING_CAMERA, Sensor.LEFT_CAMERA, Sensor.STEREO_CAMERAS}
)
LIDAR_SENSORS = frozenset({Sensor.LIDAR, Sensor.SECTOR_LIDAR, Sensor.DISCRETIZED_SECTOR_LIDAR})
SENSOR_ALIASES = {"OBSERVATION_CAMERA": Sensor.OBSERVATION}  # the name that a web console gives it
