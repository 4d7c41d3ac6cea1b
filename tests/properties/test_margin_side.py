"""What margin rules alone can and cannot do: haircuts lose nobody money, missed calls cost."""

import kernel
import numpy as np
import worlds
from hypothesis import given, settings
from hypothesis import strategies as st


@settings(max_examples=20)
@given(
    ratio=st.floats(0.0, 1.0),
    rate=st.floats(0.0, 0.5),
    pace=st.floats(0.1, 4.0),
)
def test_haircuts_alone_create_no_bad_debt(ratio, rate, pace):
    # all accounts are solvent at unmoving prices in deep books: whatever is called is sold at par
    world, policy = worlds.tiny_world(
        margin__ratio=ratio, margin__rate=rate, liquidation__pace=pace
    )
    found = kernel.simulate(world.layout, policy, worlds.flat_inputs(world))
    assert found["bad_debt"].max() == 0.0
    assert np.abs(found["equity_lost"]).max() < 1e-6  # a book of 1e12 moves by a little
    if ratio < 0.5:  # loans of 42 on 50
        assert found["liquidated_notional"].min() > 0.0


def test_who_liquidates_nobody_pays_in_missed_calls():
    # prices halve at the second step; an index that keeps its first value calls nobody
    world, policy = worlds.tiny_world()
    fall = np.zeros((world.layout.steps, 3))
    fall[1:, 1] = np.log(0.5)
    inputs = worlds.flat_inputs(world, fall)
    called = kernel.simulate(world.layout, policy, inputs)
    assert called["missed_liquidations"].max() == 0.0
    assert called["liquidated_notional"].min() > 0.0
    _, frozen = worlds.with_changes(world, policy, index__smoothing=0.0)
    missed = kernel.simulate(world.layout, frozen, inputs)
    assert missed["liquidated_notional"].max() == 0.0
    assert missed["bad_debt"].max() == 0.0
    longs = np.array([100.0, 80.0, 60.0])  # all fail at fair prices, and lose half
    assert missed["missed_liquidations"].min() == 0.5 * longs.sum()
    lost = (0.5 * longs - [30.0, 16.0, 9.0]).sum()
    np.testing.assert_allclose(missed["missed_loss"], lost, rtol=1e-9)
