"""Monte Carlo limits, each at the config's seed and within four standard errors.

Expected values: the probability that a discretely checked geometric Brownian motion passes a
barrier, by recursion on a fine grid; Black and Scholes for the deficit; both in the design's
table of closed forms.
"""

import numpy as np
import pytest

ERRORS = 4


def passage(ds):
    return ds.liquidated_accounts.values > 0


def assert_within(estimate, error, expected):
    assert error > 0
    assert abs(estimate - expected) < ERRORS * error, (estimate, error)


def of_mean(sample):
    return sample.mean(), sample.std(ddof=1) / len(sample) ** 0.5


# 80% volatility, 1/52 year, barrier 90 from 100; checked continuously it would be 0.3604929768
@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (50, 0.3208331),
        pytest.param(100, 0.3318649, marks=pytest.mark.slow),
        pytest.param(240, 0.3416911, marks=pytest.mark.slow),
    ],
)
def test_first_passage(limit, steps, expected):
    minutes = 365 * 24 * 60 / 52 / steps
    clock = () if steps == 50 else (f"time.steps={steps}", f"time.step={minutes!r}m")
    ds = limit("first_passage", *clock)
    assert_within(*of_mean(passage(ds)[0]), expected)
    # the loan is liquidated whole and once
    assert set(np.unique(ds.liquidated_accounts)) == {0.0, 100e6 / 50e3}


def test_the_deficit_of_a_loan(limit):
    deficit = limit("bad_debt").bad_debt.values[0].astype(float)
    assert_within(*of_mean(deficit), 0.3241924796)  # E[(85 - S)^+] of a martingale S


@pytest.mark.parametrize(
    ("steps", "expected"),
    [(50, 9.524), pytest.param(240, 9.425, marks=pytest.mark.slow)],
)
def test_common_random_numbers(limit, steps, expected):
    minutes = 365 * 24 * 60 / 52 / steps
    clock = () if steps == 50 else (f"time.steps={steps}", f"time.step={minutes!r}m")
    hits = passage(limit("common_random_numbers", *clock)).astype(float)
    assert np.all(hits[1] >= hits[0])  # the higher barrier is passed on every path that passes 90

    def ratio(sample):
        independent = sample[0].var(ddof=1) + sample[1].var(ddof=1)
        return independent / (sample[1] - sample[0]).var(ddof=1)

    blocks = np.array_split(hits, 50, axis=1)
    without = [ratio(np.hstack(blocks[:i] + blocks[i + 1 :])) for i in range(len(blocks))]
    spread = np.std(without) * (len(blocks) - 1) ** 0.5  # jackknife
    assert_within(ratio(hits), spread, expected)


def test_paired_policies_share_their_paths(limit):
    alone = passage(limit("first_passage"))[0]
    together = passage(limit("common_random_numbers"))[0]
    assert np.array_equal(alone, together)
