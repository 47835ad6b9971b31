"""Every real metadata file is read as this table says, or refused in these words."""

import json

import pytest

from models import metadata
from models.errors import PolicyError
from models.metadata import ActionRange
from tests.unit.metadata_files import FILES

PPO, SAC = "clipped_ppo", "sac"
FRONT, STEREO, OLD = "FRONT_FACING_CAMERA", "STEREO_CAMERAS", "observation"

# file: actions or (steering low, high, speed low, high); algorithm; sensors; version; words of each note
READ: dict[str, tuple[int | tuple[float, float, float, float], str, set[str], float, tuple[str, ...]]] = {
    "002": ((-18, 23, 0.5, 1.5), PPO, {STEREO}, 5, ("the larger end, 23",)),
    "004": (13, PPO, {STEREO, "SECTOR_LIDAR"}, 5, ()),
    "006": (10, PPO, {STEREO}, 2, ()),
    "008": (10, PPO, {OLD}, 1, ()),
    "010": (12, PPO, {FRONT}, 3, ()),
    "012": (14, PPO, {FRONT}, 4, ("sensor names no LIDAR",)),
    "014": ((-20, 10, 1, 4), SAC, {FRONT}, 5, ("the larger end, 20",)),
    "016": ((-30, 30, 0.5, 2), SAC, {STEREO}, 5, ()),
    "018": ((-30, 30, 1.999, 2.001), PPO, {FRONT}, 5, ("speed goes only from 1.999 to 2.001",)),
    "020": ((-30, 30, 0.8, 3.8), SAC, {STEREO, "LIDAR"}, 4, ()),
    "022": ((-28, 28, 1, 4), SAC, {STEREO}, 6, ()),
    "024": ((-30, 30, 1, 4), PPO, {FRONT}, 2, ()),
    "026": (27, PPO, {FRONT}, 4, ()),
    "028": (7, PPO, {FRONT}, 2, ()),
    "030": (21, PPO, {FRONT}, 5, ()),
    "032": (21, PPO, {FRONT}, 5, ("index does not count from 0 to 20",)),
    "034": (14, PPO, {FRONT}, 5, ("index does not count from 0 to 13",)),
    "036": (6, PPO, {OLD}, 1, ("index does not count from 0 to 5",)),
    "040": (34, PPO, {FRONT}, 5, ("2 of 34 actions repeat an earlier one",)),
    "042": (16, PPO, {OLD}, 1, ("index does not count from 0 to 15",)),
    "044": ((-30, 30, 1, 2), SAC, {FRONT}, 4, ()),
    "046": (14, PPO, {FRONT}, 5, ()),
    "048": ((-30, 30, 0.5, 1), PPO, {FRONT}, 4, ()),
    "050": ((-30, 30, 0.5, 4), PPO, {FRONT}, 5, ()),
    "052": (62, PPO, {FRONT}, 5, ()),
    "054": (5, PPO, {STEREO, "LIDAR"}, 2, ()),
}
REFUSED = {"038": "model_metadata.json is not JSON: Expecting value at line 1 column"}

# Facts of further real files, whose text is not here.
STEERING_16 = {"steering_angle": {"high": 16, "low": -6}, "speed": {"high": 3, "low": 1}}
STEERING_25 = {"steering_angle": {"high": 25, "low": -30}, "speed": {"high": 4, "low": 1.3}}


def test_the_table_names_every_file() -> None:
    assert READ.keys() | REFUSED.keys() == FILES.keys()


@pytest.mark.parametrize("number", READ)
def test_a_real_file_is_read_as_the_table_says(number: str) -> None:
    space, algorithm, sensors, version, notes = READ[number]

    understood = metadata.parse(FILES[number].encode())

    if isinstance(space, int):
        listed = [
            (item["steering_angle"], item["speed"]) for item in json.loads(FILES[number])["action_space"]
        ]
        assert understood.output_count == space
        assert [(action.steering_deg, action.speed_mps) for action in understood.action_space] == listed
    else:
        assert understood.action_space == ActionRange(*space)
    assert understood.training_algorithm == algorithm
    assert set(understood.sensors) == sensors
    assert understood.version == version
    assert len(understood.notes) == len(notes)
    assert all(words in note for words, note in zip(notes, understood.notes, strict=True))


@pytest.mark.parametrize("number", READ)
def test_no_key_of_a_real_file_is_lost(number: str) -> None:
    raw = json.loads(FILES[number])

    written = json.loads(metadata.encode(metadata.parse(FILES[number].encode())))

    assert raw.keys() <= written.keys()
    assert all(written[name] == raw[name] for name in raw.keys() - {"action_space", "version"})


@pytest.mark.parametrize("number", REFUSED)
def test_a_broken_real_file_is_refused_with_the_place(number: str) -> None:
    with pytest.raises(PolicyError) as caught:
        metadata.parse(FILES[number].encode())

    assert str(caught.value).startswith(REFUSED[number])


def test_a_list_type_over_ranges_with_sac_is_read_as_continuous_with_a_note() -> None:
    text = json.dumps(
        {"action_space": STEERING_16, "action_space_type": "discrete", "training_algorithm": "sac"}
    )

    understood = metadata.parse(text.encode())

    assert understood.action_space == ActionRange(-6, 16, 1, 3)
    assert any("it is read as continuous" in note for note in understood.notes)
    assert any("the larger end, 16" in note for note in understood.notes)


def test_a_low_end_beyond_the_high_one_is_full_lock() -> None:
    notes = metadata.parse(json.dumps({"action_space": STEERING_25}).encode()).notes

    assert notes == ("steering goes from -30 to 25 degrees; full lock is the larger end, 30, either way",)


def test_a_missing_comma_is_refused_with_its_place() -> None:
    broken = FILES["036"].replace("},{", "}{", 1)

    with pytest.raises(PolicyError, match=r"not JSON: Expecting ',' delimiter at line 1 column \d+"):
        metadata.parse(broken.encode())
