"""Lanes in batches: each lane as if alone, one record, no work for a batch that nobody wants."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deleverage.engine.lanes import lanes_at_once, run_lanes, tile_of

LANES, PATHS, STEPS, AT_ONCE = 8, 5, 3, 4


@jax.tree_util.register_pytree_node_class
class Tree(SimpleNamespace):
    """What the batches look at of rules and series."""

    def tree_flatten(self):
        return list(vars(self).values()), tuple(vars(self))

    @classmethod
    def tree_unflatten(cls, names, leaves):
        return cls(**dict(zip(names, leaves, strict=True)))


def rules_of(lanes: int) -> Tree:
    level = np.arange(1.0, 2 * lanes + 1).reshape(2, lanes)
    return Tree(reporting=Tree(due_at_start=level[0]), level=level, of_pegs=np.zeros((0, lanes)))


def series(*lanes: int) -> Tree:
    return Tree(liquidity_drop=np.random.default_rng(0).random((STEPS, *lanes, PATHS)))


def run(rules, inputs, watched):
    """Something that depends on lane and path, and on which of them is watched."""
    level, drop = rules.level[..., None], inputs.liquidity_drop
    drop = drop if drop.ndim == 3 else drop[:, None]
    steps = level[0] * drop  # [step, lane, path]
    lane, path = watched
    return (
        {
            "last": steps[-1],
            "both": level * steps[0],
            "of_pegs": rules.of_pegs[..., None] * drop[0],
        },
        {"steps": steps[:, lane, path]},
        {"counts": jnp.moveaxis(steps, 0, -1).astype(jnp.int32).sum(axis=-2)[None, None]},
    )


@pytest.mark.parametrize("own", [(), (LANES,)])
@pytest.mark.parametrize("watched", [(0, 0), (3, 1), (6, 4)])
def test_batches_give_what_all_lanes_at_once_give(own, watched):
    rules, inputs = rules_of(LANES), series(*own)
    whole = run(jax.tree.map(jnp.asarray, rules), inputs, jnp.array(watched))
    cut = run_lanes(run, rules, inputs, jnp.array(watched), AT_ONCE, jnp.array(LANES))
    jax.tree.map(np.testing.assert_array_equal, cut, whole)


def test_a_batch_that_nobody_wants_is_left_out():
    rules, inputs, watched = rules_of(LANES), series(), jnp.array((1, 2))
    whole = run(jax.tree.map(jnp.asarray, rules), inputs, watched)
    for used, done in ((1, 4), (4, 4), (5, 8)):
        outcomes, record, _ = run_lanes(run, rules, inputs, watched, AT_ONCE, jnp.array(used))
        np.testing.assert_array_equal(outcomes["last"][:done], whole[0]["last"][:done])
        assert np.all(outcomes["last"][done:] == 0)
        assert np.all(outcomes["both"][:, done:] == 0)
        np.testing.assert_array_equal(record["steps"], whole[1]["steps"])


@pytest.mark.parametrize(
    ("policies", "paths", "lanes"), [(1, 512, 1), (2, 256, 2), (3, 128, 4), (99, 128, 4)]
)
def test_a_batch_has_as_many_columns_however_few_policies_there_are(policies, paths, lanes):
    assert tile_of(policies) == paths
    assert lanes_at_once(16, paths, one_by_one=True) == lanes


def test_all_lanes_at_once_where_cohorts_are_not_visited():
    assert lanes_at_once(16, 128, one_by_one=False) == 16
    assert lanes_at_once(6, 8, one_by_one=True) == 2
