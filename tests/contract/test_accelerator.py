"""On a GPU the whole run of a tile is one program: the host is asked for nothing on the way.

Nothing here needs a GPU: the program is lowered for one on any machine, and what a GPU would have
to ask the host for (which branch, whether a loop goes on) can be seen in what is lowered.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import jax
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params
from small_runs import SMALL, SMOKE
from worlds import full_world, random_world

from deleverage.config import build, load_config
from deleverage.engine.block import path_bytes
from deleverage.engine.program import simulate_tile
from deleverage.policy import Policy
from deleverage.world import World

PATHS = 8


def program(world: World, policy: Policy, one_by_one: bool) -> tuple[Any, list[np.ndarray]]:
    """A tile as a function of arrays alone."""
    given = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), (world, policy))
    leaves, structure = jax.tree.flatten(given)

    def tile(*leaves: Any) -> Any:
        world, policy = jax.tree.unflatten(structure, leaves)
        seed, first, watched = np.uint32(7), np.uint32(0), np.zeros(2, np.int32)
        return simulate_tile(
            world, policy, seed, first, watched, PATHS, np.float32, one_by_one=one_by_one
        )[0]

    return jax.jit(tile), leaves


@pytest.fixture(scope="module")
def small() -> tuple[World, Policy]:
    return build(load_config(SMOKE, SMALL)).groups[0][:2]


def primitives(jaxpr: Any) -> Counter[str]:
    """How often each primitive stands in a program, inner ones included."""
    found: Counter[str] = Counter()
    for equation in jaxpr.eqns:
        found[equation.primitive.name] += 1
        for inner in jaxprs_in_params(equation.params):
            found += primitives(getattr(inner, "jaxpr", inner))
    return found


def asks_the_host(names: Counter[str]) -> set[str]:
    return {name for name in names if name in ("cond", "while") or "callback" in name}


@pytest.mark.parametrize("made", [random_world, full_world])
def test_no_step_asks_the_host_for_anything(made):
    """A scan has as many passes as it says; a branch or another loop is decided by a number."""
    function, leaves = program(*made(0), one_by_one=False)
    names = primitives(jax.make_jaxpr(function)(*leaves).jaxpr)
    assert names["scan"] >= 2
    assert not asks_the_host(names)


def test_the_check_sees_the_loops_of_a_cpu():
    function, leaves = program(*random_world(0), one_by_one=True)
    assert asks_the_host(primitives(jax.make_jaxpr(function)(*leaves).jaxpr)) == {"while", "cond"}


def test_the_whole_tile_lowers_for_cuda(small):
    function, leaves = program(*small, one_by_one=False)
    exported = jax.export.export(function, platforms=["cuda"])(*leaves)
    text = exported.mlir_module()
    assert exported.platforms == ("cuda",)
    assert len(re.findall(r"stablehlo\.while", text)) >= 2
    assert not re.findall(r"stablehlo\.(case|if|infeed|outfeed|send|recv)\b", text)
    assert not re.findall(r"callback", text)


def test_the_block_leaves_the_program_enough_memory(small):
    """What is counted from shapes, beside what XLA takes (compiled for a CPU)."""
    function, leaves = program(*small, one_by_one=False)
    taken = function.lower(*leaves).compile().memory_analysis().temp_size_in_bytes / PATHS
    lanes = small[1].reporting.due_at_start.shape[-1]
    counted = path_bytes(*small, lanes, np.float32)
    print(f"{counted:,.0f} bytes a path counted, {taken:,.0f} taken")
    assert 0.5 * counted < taken < 1.5 * counted
