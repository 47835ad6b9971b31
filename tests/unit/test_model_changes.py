"""The word by which a page knows that its list of policies or an upload is old."""

from pathlib import Path

import pytest

from models.store import PolicyStore
from tests.unit.store_files import add_one
from webui.model_changes import KEPT_S, ModelChanges
from webui.uploads import Uploads


class NoCar:
    """A vehicle that nobody asks anything."""


@pytest.fixture
def store(tmp_path: Path) -> PolicyStore:
    return PolicyStore(tmp_path / "models")


def test_the_word_changes_with_the_store_and_with_every_step_of_an_upload(store: PolicyStore) -> None:
    uploads = Uploads(store, NoCar())  # type: ignore[arg-type]
    changes = ModelChanges(store, uploads)
    words = [changes.word(0.0)]
    key = add_one(store, "swift").key
    words.append(changes.word(1.0))
    store.rename(key, "swallow")
    words.append(changes.word(2.0))
    state = uploads.begin("owl.tar.gz", 1000)
    words.append(changes.word(3.0))
    state.share = 0.5
    words.append(changes.word(4.0))
    state.state, state.error = "refused", "Why."
    words.append(changes.word(5.0))
    assert len(set(words)) == len(words)
    assert changes.word(6.0) == words[-1]


def test_however_many_ask_the_store_is_looked_at_five_times_a_second(store: PolicyStore) -> None:
    changes = ModelChanges(store, Uploads(store, NoCar()))  # type: ignore[arg-type]
    word = changes.word(0.0)
    add_one(store, "swift")
    assert changes.word(0.9 * KEPT_S) == word
    assert changes.word(1.1 * KEPT_S) != word
