"""Draws of paths that are not drawn each by itself."""

import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from scipy.stats import qmc
from shock_worlds import full_world, sample, sample_draws, world

from deleverage.shocks import sampling
from deleverage.world import Sampling

BLOCK = sampling.BLOCK
FIELDS = ("diffusion", "macro", "jump_uniform", "jump_normal", "liquidity", "outage")
KINDS = {
    "antithetic": Sampling("antithetic"),
    "stratified": Sampling("stratified"),
    "sobol": Sampling("sobol"),
    "importance": Sampling("importance", np.array(2.0), np.array(0.25)),
}


def drawn(kind, first=0, paths=2 * BLOCK, **more):
    return sample_draws(full_world(sampling=KINDS[kind]), 7, first, paths, **more)


@pytest.fixture(scope="module")
def whole():
    return {kind: drawn(kind) for kind in KINDS} | {
        "plain": sample_draws(full_world(), 7, 0, 2 * BLOCK)
    }


def strata(u):
    """Of 1,024 strata, how many hold a point."""
    return np.unique((u.astype(np.float64) * BLOCK).astype(int)).size


@pytest.mark.parametrize("kind", KINDS)
def test_draws_depend_on_the_global_path_id_alone(whole, kind):
    # an odd first id, so that pairs and blocks are cut anyhow
    for first, paths in ((0, 64), (1001, 64), (1984, 64)):
        part = drawn(kind, first, paths)
        for field in (*FIELDS, "log_weight"):
            got, wanted = getattr(part, field), getattr(whole[kind], field)
            if wanted is not None:
                wanted = np.ascontiguousarray(wanted[..., first : first + paths])
                assert got.tobytes() == wanted.tobytes(), (field, first)


def test_antithetic_pairs_mirror_each_other_in_every_draw(whole):
    pairs, plain = whole["antithetic"], whole["plain"]
    for field in FIELDS:
        first, second = (getattr(pairs, field)[..., side::2] for side in (0, 1))
        np.testing.assert_array_equal(first, getattr(plain, field)[..., ::2], field)
        centre = 0.0 if field in ("diffusion", "jump_normal", "liquidity") else 1.0
        np.testing.assert_allclose(first + second, centre, atol=2e-5, err_msg=field)


def test_strata_hold_one_severity_each_and_leave_the_rest_alone(whole):
    found, plain = whole["stratified"], whole["plain"]
    for block in range(2):
        assert strata(found.macro[0, block * BLOCK : (block + 1) * BLOCK]) == BLOCK
    assert strata(plain.macro[0, :BLOCK]) < 0.7 * BLOCK
    np.testing.assert_array_equal(found.macro[1], plain.macro[1])
    for field in FIELDS[:1] + FIELDS[2:]:
        np.testing.assert_array_equal(getattr(found, field), getattr(plain, field))
    # the digits beyond the tenth stay as they were
    inside = [np.modf(one.macro[0].astype(np.float64) * BLOCK)[0] for one in (found, plain)]
    assert strata(inside[0]) < 0.9 * BLOCK
    assert not np.array_equal(found.macro[0, :BLOCK], found.macro[0, BLOCK:])


def test_direction_numbers_are_those_of_joe_and_kuo():
    points = qmc.Sobol(21, scramble=False, bits=30).random(BLOCK) * BLOCK
    gray = np.arange(BLOCK) ^ np.arange(BLOCK) >> 1  # the order in which SciPy visits them
    ours = np.asarray(sampling._points(np.arange(BLOCK, dtype=np.uint32), sampling.directions()))
    np.testing.assert_array_equal(ours.T[gray], points)


def test_sobol_points_fill_every_elementary_interval_of_two_dimensions(whole):
    # severity and time are the first two dimensions, a (0, 10, 2) net; scrambling keeps that
    for block in range(2):
        u = whole["sobol"].macro[:, block * BLOCK : (block + 1) * BLOCK].astype(np.float64)
        for wide in range(sampling.DIGITS + 1):
            cells = np.array([2**wide, 2 ** (sampling.DIGITS - wide)])[:, None]
            assert np.unique((u * cells).astype(int), axis=1).shape[1] == BLOCK


def test_sobol_spreads_what_else_matters(whole):
    found, plain = whole["sobol"], whole["plain"]
    here = slice(BLOCK)
    spread = [found.liquidity, *found.outage.reshape(6, -1), *found.diffusion.sum(0) / 20**0.5]
    for i, values in enumerate(spread):
        u = values if 1 <= i < 7 else ndtr(values.astype(np.float64))
        # rounding of the sum of float32 normals may move a point over an edge
        assert strata(u[here]) > 0.97 * BLOCK, i
    for field in ("jump_uniform", "jump_normal"):
        np.testing.assert_array_equal(getattr(found, field), getattr(plain, field))
    # and no two of them alike
    u = np.stack([ndtri(np.clip(x.astype(np.float64), 1e-9, 1)) for x in found.outage[:, 0]])
    assert np.abs(np.corrcoef(u) - np.eye(3)).max() < 0.1


def test_given_totals_leave_deviations_from_the_mean(whole):
    found, plain = (whole[kind].diffusion.astype(np.float64) for kind in ("sobol", "plain"))
    np.testing.assert_allclose(found - found.mean(0), plain - plain.mean(0), atol=2e-6)
    assert abs(found.std() - 1) < 0.01


def test_a_factor_more_moves_no_other_draw():
    few, many = (
        sample_draws(world(np.zeros((1, k)), steps=3, sampling=KINDS["sobol"]), 1, 0, 64)
        for k in (1, 2)
    )
    np.testing.assert_array_equal(few.diffusion[:, 0], many.diffusion[:, 0])
    np.testing.assert_array_equal(few.macro, many.macro)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weights_are_the_ratio_of_the_densities(dtype):
    found, plain = (
        sample_draws(full_world(sampling=one), 7, 0, BLOCK, dtype)
        for one in (KINDS["importance"], None)
    )
    u, before = found.macro[0].astype(np.float64), plain.macro[0].astype(np.float64)
    z, moved = -ndtri(u), -ndtri(u) + ndtri(before)
    shifted = moved > 1
    np.testing.assert_allclose(moved[shifted], 2, atol=3e-5)
    np.testing.assert_array_equal(u[~shifted], before[~shifted])
    assert abs(shifted.mean() - 0.75) < 4 * (0.25 * 0.75 / BLOCK) ** 0.5
    density = 0.25 + 0.75 * np.exp(2 * z - 2)
    np.testing.assert_allclose(found.log_weight, -np.log(density), atol=1e-4)
    assert found.log_weight.max() <= np.log(4) + 1e-6
    for field in FIELDS[:1] + FIELDS[2:]:
        np.testing.assert_array_equal(getattr(found, field), getattr(plain, field))


def test_no_tilted_severity_lies_beyond_the_worst_plain_one():
    strong = Sampling("importance", np.array(6.0), np.array(0.0))
    _, _, coordinates = sample(full_world(sampling=strong), paths=512)
    draws = sample_draws(full_world(sampling=strong), paths=512)
    assert draws.macro[0].min() == np.float32(2.0**-33)
    assert np.isfinite(coordinates.severity).all()
    np.testing.assert_array_equal(coordinates.log_weight, sample_draws(
        full_world(sampling=strong), paths=512
    ).log_weight)  # fmt: skip
