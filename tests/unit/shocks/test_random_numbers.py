import numpy as np
import pytest
from shock_worlds import full_world, merton, outage, sample_draws, world

from deleverage.errors import ConfigError
from deleverage.shocks import draws
from deleverage.shocks.draws import draw, draw_steps_per_step, normal, uniform

FIELDS = ("diffusion", "macro", "jump_uniform", "jump_normal", "liquidity", "outage")

# float32 as hex; each field's first numbers, of `full_world`, by (seed, path id).
GOLDEN = {
    (20251010, 0): {
        "diffusion": ["becba841", "bfdf82d8", "bf59aaf4", "3f172c81"],
        "macro": ["3f614d1f", "3e88d9fa"],
        "jump_uniform": ["3f668d69", "3e4fd1cf", "3d9559c4", "3f6be0e8"],
        "jump_normal": ["bfba1b27", "3fc65011", "be64fdd7", "bfc3a9a9"],
        "liquidity": ["bedc1a13"],
        "outage": ["3ee0d59f", "3f6fd311", "3f4f19d1", "3e91fd97"],
    },
    (1, 2**32 - 1): {
        "diffusion": ["be8041c1", "bf803dfa", "bfd85489", "bf4ab4dc"],
        "macro": ["3ed334c0", "3f5b036f"],
        "jump_uniform": ["3f5957ae", "3e8e61df", "3ef9984d", "3ec684e5"],
        "jump_normal": ["bef49cfc", "befeb16c", "3dbd5d6c", "3ee10741"],
        "liquidity": ["3fb2a94a"],
        "outage": ["3ebd99f1", "3ddd098a", "3e63efda", "3f03afc4"],
    },
}


def philox(key, counter):
    """Philox4x32-10 (Salmon et al. 2011) in plain integers."""
    mask = 0xFFFFFFFF
    k0, k1 = key
    x0, x1, x2, x3 = counter
    for _ in range(10):
        low, high = 0xD2511F53 * x0, 0xCD9E8D57 * x2
        x0, x1, x2, x3 = (high >> 32) ^ x1 ^ k0, high & mask, (low >> 32) ^ x3 ^ k1, low & mask
        k0, k1 = (k0 + 0x9E3779B9) & mask, (k1 + 0xBB67AE85) & mask
    return x0, x1, x2, x3


def bits_by_hand(seed, stream, path, place):
    key = philox((0, 0), (0, seed, 0, 0))[:2]
    for number in (stream, path):
        key = philox(key, (0, 0, 0, number))[:2]
    a, b, c, d = philox(key, (0, place, 0, 0))
    return a ^ b ^ c ^ d


def test_the_philox_of_these_tests_is_the_published_one():
    # Known answers of Random123.
    assert philox((0, 0), (0,) * 4) == (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)
    ones = 0xFFFFFFFF
    assert philox((ones, ones), (ones,) * 4) == (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("seed", "path"), GOLDEN)
def test_golden_vectors(seed, path, dtype):
    made = sample_draws(full_world(), seed, path, 4, dtype)
    for field, expected in GOLDEN[seed, path].items():
        numbers = getattr(made, field)
        assert numbers.dtype == dtype
        got = np.ravel(numbers[..., 0])[: len(expected)].astype(np.float32)
        wanted = np.array([int(word, 16) for word in expected], np.uint32).view(np.float32)
        # erf_inv may round otherwise on another processor; uniforms are exact anywhere.
        ulp = 4 if field in ("diffusion", "jump_normal", "liquidity") else 0
        np.testing.assert_array_max_ulp(got, wanted, ulp)


@pytest.mark.parametrize("path", [0, 7, 2**31, 2**32 - 1])
def test_draws_follow_from_seed_stream_path_and_place_alone(path):
    seed = 20251010
    made = sample_draws(full_world(), seed, path, 4, np.float64)
    for numbers, stream, place in (
        (made.macro[:, 0], draws.MACRO, 1),
        (made.jump_uniform[:, 0], draws.JUMP_UNIFORM, 19),
        (made.outage[..., 0].ravel(), draws.OUTAGE, 5),
    ):
        assert numbers[place] == (bits_by_hand(seed, stream, path, place) + 0.5) / 2**32
    for numbers, stream, place in (
        (made.diffusion[:, 2, 0], draws.DIFFUSION + 2, 13),
        (made.jump_normal[:, 0], draws.JUMP_NORMAL, 11),
        (made.liquidity, draws.LIQUIDITY, 0),
    ):
        bits = np.uint32(bits_by_hand(seed, stream, path, place))
        np.testing.assert_array_max_ulp(
            numbers[place].astype(np.float32), np.asarray(normal(bits, np.float32)), 4
        )


def test_streams_are_distinct_for_any_number_of_factors():
    others = [draws.MACRO, draws.JUMP_UNIFORM, draws.JUMP_NORMAL, draws.LIQUIDITY, draws.OUTAGE]
    assert len(set(others)) == len(others)
    assert max(others) < draws.DIFFUSION


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_chunk_changes_no_byte(dtype):
    whole = sample_draws(full_world(), 3, 0, 64, dtype)
    chunks = [sample_draws(full_world(), 3, first, 16, dtype) for first in range(0, 64, 16)]
    for field in FIELDS:
        joined = np.concatenate([getattr(chunk, field) for chunk in chunks], axis=-1)
        assert joined.tobytes() == np.ascontiguousarray(getattr(whole, field)).tobytes()


def test_both_precisions_draw_the_same_numbers():
    single, double = (sample_draws(full_world(), 3, 0, 64, dtype) for dtype in (np.float32, float))
    for field in ("diffusion", "jump_normal", "liquidity"):
        np.testing.assert_array_equal(getattr(single, field), getattr(double, field))
    for field in ("macro", "jump_uniform", "outage"):
        np.testing.assert_allclose(getattr(single, field), getattr(double, field), rtol=1.2e-7)


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 30},
        {"merton": None},
        {"outages": (outage(0, start=2.0, length=3.0),)},
        {"loading": np.eye(4)[:, 1:] * 1e-3 @ np.eye(3, 5)},
        {"venues": 3},
    ],
    ids=["steps", "merton", "outages", "factors", "venues"],
)
def test_what_is_added_changes_no_other_draw(change):
    before = sample_draws(full_world(), 3, 0, 4)
    after = sample_draws(full_world(**change), 3, 0, 4)
    for field in FIELDS:
        old, new = getattr(before, field), getattr(after, field)
        if new is None:
            assert change == {"merton": None}
            continue
        shared = tuple(slice(min(sizes)) for sizes in zip(old.shape, new.shape, strict=True))
        np.testing.assert_array_equal(old[shared], new[shared])


def test_mechanisms_that_are_off_draw_nothing():
    made = sample_draws(world(), 3, 0, 4)
    assert made.jump_uniform is None
    assert made.jump_normal is None
    assert made.outage.shape == (0, 2, 4)
    assert sample_draws(world(merton=merton(0, 0, 0, [0]))).jump_uniform.shape == (4, 4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_uniforms_are_never_0_or_1_and_fine_at_0(dtype):
    import jax

    bits = np.array([0, 1, 2**24, 2**31, 2**32 - 1], np.uint32)
    with jax.enable_x64(dtype == np.float64):
        values = np.asarray(uniform(bits, dtype))
    assert values.dtype == dtype
    assert values[0] == 2.0**-33
    assert values[1] == 3 * 2.0**-33
    assert values[-1] == (1 - 2.0**-24 if dtype == np.float32 else 1 - 2.0**-33)


def test_normals_are_symmetric_and_finite():
    bits = np.array([0, 2**31 - 1, 2**31, 2**32 - 1, 5, 2**32 - 6], np.uint32)
    values = np.asarray(normal(bits, np.float32))
    # Read as signed integers: -1 and 0 lie next to 0, the ends at the two extremes.
    assert values[1] == -values[2]
    assert values[0] == -values[3]
    assert values[4] == -values[5]
    assert values[1] == pytest.approx(5.4, abs=0.05)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range_is_refused(seed):
    with pytest.raises(ConfigError, match=rf"The seed is {seed}; it must lie in \[0, 4294967296\)"):
        draw(world(), seed, 0, 4, np.float32)


def test_a_path_id_out_of_range_is_refused():
    with pytest.raises(ConfigError, match="The path id is 4294967296"):
        draw(world(), 0, 2**32, 4, np.float32)


@pytest.mark.parametrize("draw_step", [0.3, 1.0])
def test_a_draw_step_that_does_not_divide_the_step_is_refused(draw_step):
    with pytest.raises(ConfigError, match="no multiple of the draw step"):
        draw_steps_per_step(world(step=0.5, draw_step=draw_step).layout)


def test_a_third_of_a_step_divides_it():
    assert draw_steps_per_step(world(step=0.5, draw_step=0.5 / 3).layout) == 3
