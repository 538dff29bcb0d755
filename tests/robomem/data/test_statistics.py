"""Statistics that are taken in passing equal those of the whole."""

import numpy as np
import pytest

from robomem.data.statistics import QUANTILES, field_statistics
from robomem.data.store import EpisodeStore
from robomem.errors import SpecMismatch
from tests.robomem.data.content import make_episode

EPISODES = [make_episode(seed, length=length, size=4) for seed, length in enumerate((1, 70, 130))]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("statistics") / "store"
    with EpisodeStore.create(path) as writer:
        for episode in EPISODES:
            writer.append(episode)
    return EpisodeStore.open(path)


@pytest.mark.parametrize(
    ("name", "episodes"), [("joint_pos", [0, 1, 2]), ("t", [2, 0]), ("images/front", [0, 1, 2]), ("starved", [1])]
)
def test_they_equal_those_of_all_rows_at_once(store, name, episodes):
    arrays = [EPISODES[number].arrays[name] for number in episodes]
    width = 3 if name.startswith("images/") else arrays[0][0].size
    rows = np.concatenate([array.reshape(-1, width) for array in arrays]).astype(float)
    found = field_statistics(store, [name], episodes)[name]
    np.testing.assert_allclose(found.mean, rows.mean(axis=0))
    np.testing.assert_allclose(found.std, rows.std(axis=0))
    np.testing.assert_array_equal(found.min, rows.min(axis=0))
    np.testing.assert_array_equal(found.max, rows.max(axis=0))
    np.testing.assert_allclose(found.quantiles, np.quantile(rows, QUANTILES, axis=0))
    np.testing.assert_array_equal(found.count, len(rows))


def test_values_that_are_not_finite_are_left_out(store):
    wanted = np.concatenate([episode.arrays["wanted"] for episode in EPISODES])
    found = field_statistics(store, ["wanted"])["wanted"]
    assert np.isnan(wanted).any()
    np.testing.assert_array_equal(found.count, np.isfinite(wanted).sum(axis=0))
    np.testing.assert_allclose(found.mean, np.nanmean(wanted, axis=0))
    np.testing.assert_allclose(found.std, np.nanstd(wanted, axis=0))
    np.testing.assert_allclose(found.quantiles, np.nanquantile(wanted, QUANTILES, axis=0))


def test_quantiles_of_many_rows_come_from_some_of_them(store, monkeypatch):
    monkeypatch.setattr("robomem.data.statistics.KEPT_ROWS", 100)
    t = np.concatenate([episode.arrays["t"] for episode in EPISODES])
    found = field_statistics(store, ["t"])["t"]
    np.testing.assert_allclose(found.quantiles[:, 0], np.quantile(t, QUANTILES), atol=0.25)
    assert found.count == len(t)


def test_every_field_of_numbers_has_them_and_text_has_none(store):
    assert set(field_statistics(store)) == set(EPISODES[0].arrays) - {"refused", "truth/visible"}
    with pytest.raises(SpecMismatch, match="'refused' is text"):
        field_statistics(store, ["refused"])
    with pytest.raises(ValueError, match="no episodes"):
        field_statistics(store, episodes=[])
