"""Changed uploads end in a sentence and leave nothing: all that were kept, and some by seed."""

from pathlib import Path

import pytest

from tests.unit.fuzzing import corpus, mutated, originals, refusal

SEEDS = range(240)


def refused_cleanly(name: str, data: bytes, folder: Path) -> str:
    folder.mkdir()
    sentence = refusal(name, data, folder)  # anything but PolicyError fails the test
    if sentence:
        assert len(sentence) > 30
        assert sentence.isprintable()
        assert len(sentence) < 1500
    return sentence


@pytest.mark.parametrize("name", sorted(originals()))
def test_what_is_changed_was_good_before(name: str, tmp_path: Path) -> None:
    assert refusal(name, originals()[name], tmp_path) == ""


@pytest.mark.parametrize(("label", "name", "data"), list(corpus()), ids=lambda value: str(value)[:24])
def test_everything_that_was_ever_kept_is_refused_in_words(
    label: str, name: str, data: bytes, tmp_path: Path
) -> None:
    assert refused_cleanly(name, data, tmp_path / "one")


def test_changed_uploads_are_taken_or_refused_in_words(tmp_path: Path) -> None:
    refused = 0
    for seed in SEEDS:
        refused += bool(refused_cleanly(*mutated(seed), tmp_path / str(seed)))
    print(f"{refused} of {len(SEEDS)} refused")
    assert 0.5 * len(SEEDS) < refused < len(SEEDS)
