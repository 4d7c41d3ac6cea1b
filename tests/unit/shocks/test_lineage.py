"""Draws that move away from those of an ancestor."""

import equinox as eqx
import jax
import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from scipy.stats import kstest, norm
from shock_worlds import full_world, sample_draws

from deleverage.shocks.lineage import LEAST, NORMALS, Lineage, inherited

SEED = 7
FIELDS = ("diffusion", "macro", "jump_uniform", "jump_normal", "liquidity", "outage")
_inherited = eqx.filter_jit(inherited)


def along(ids, spread, dtype=np.float32):
    lineage = Lineage(np.array(ids, np.uint32), np.array(spread, np.float64))
    with jax.enable_x64(np.dtype(dtype) == np.float64):
        found = _inherited(full_world(), np.uint32(SEED), lineage, np.dtype(dtype))
        return jax.device_get(found)


def plain(first, dtype=np.float32, paths=4):
    return sample_draws(full_world(), SEED, first, paths, dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_path_without_a_parent_has_its_plain_draws(dtype):
    found, expected = along([range(8, 12), [0] * 4], [[1] * 4, [0] * 4], dtype), plain(8, dtype)
    for name in FIELDS:
        assert getattr(found, name).tobytes() == getattr(expected, name).tobytes(), name


def test_two_generations_worked_by_hand():
    found = along([range(8), range(100, 108), range(200, 208)], [[1] * 8, [0.6] * 8, [0.28] * 8])
    parts = [plain(first, np.float64, 8) for first in (0, 100, 200)]
    for name in FIELDS:
        scores = [getattr(part, name).astype(float) for part in parts]
        if name not in NORMALS:
            scores = [ndtri(score) for score in scores]
        expected = 0.96 * (0.8 * scores[0] + 0.6 * scores[1]) + 0.28 * scores[2]
        if name not in NORMALS:
            expected = ndtr(expected)
        assert getattr(found, name) == pytest.approx(expected, rel=2e-5, abs=2e-6), name


def test_neither_empty_generations_nor_other_paths_change_a_bit():
    ids, spread = [[0, 1, 2], [50, 0, 52], [0, 0, 60]], [[1, 1, 1], [0.5, 0, 0.5], [0, 0, 0.2]]
    whole = along(ids, spread)
    padded = along([*ids, [0] * 3, [0] * 3], [*spread, [0] * 3, [0] * 3])
    first = along([row[:1] for row in ids[:2]], [row[:1] for row in spread[:2]])
    for name in FIELDS:
        assert getattr(whole, name).tobytes() == getattr(padded, name).tobytes()
        np.testing.assert_array_equal(getattr(whole, name)[..., :1], getattr(first, name))


def test_moved_draws_keep_their_law_and_stay_near_their_parents():
    paths = 4096
    parents = plain(0, paths=paths)
    moved = along([range(paths), range(10**6, 10**6 + paths)], [[1] * paths, [0.6] * paths])
    for name in FIELDS:
        before, after = (getattr(x, name).reshape(-1, paths)[0] for x in (parents, moved))
        if name not in NORMALS:
            before, after = ndtri(before.astype(float)), ndtri(after.astype(float))
        assert kstest(after, norm.cdf).pvalue > 1e-4, name
        assert np.corrcoef(before, after)[0, 1] == pytest.approx(0.8, abs=4 * 0.36 / 64), name


def test_no_line_of_moves_goes_beyond_the_worst_plain_path():
    severities = plain(0, paths=4096).macro[0]
    worst = int(np.argmin(severities))
    score = ndtri(float(severities[worst]))
    # moves that all go the same way end at 0.3 / (1 - kept) times the score, or on the way there
    found = along([[worst] * 2] * 61, [[1] * 2, *[[0.3, 0.003]] * 60]).macro[0]
    assert score * 0.3 / (1 - 0.91**0.5) < ndtri(LEAST)
    assert found[0] == np.float32(LEAST)
    kept = (1 - 0.003**2) ** 0.5
    factor = kept**60 + 0.003 * (1 - kept**60) / (1 - kept)
    assert found[1] == pytest.approx(ndtr(score * factor), rel=1e-3)
