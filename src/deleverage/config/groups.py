"""Which entries of the policy axis share a program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from deleverage.config.parts import Resolved
from deleverage.engine import LANES
from deleverage.policy import Policy
from deleverage.world import World


def group(
    entries: Sequence[Resolved], world: World
) -> list[tuple[World, Policy, list[int], World | None]]:
    """Entries by program, as `built.Built.groups` lists them.

    Entries with the config's own shocks need no worlds of their own, and a program that has one
    world for all lanes is the cheaper one. In a block of lanes that is half theirs and half of
    entries that override shocks both programs would be run half empty: there they join.

    Args:
        entries: All entries, in order.
        world: The shocks of the config's own scenario.
    """
    keys = [_key(entry) for entry in entries]
    overrides = [not _same(replace(entry.world, layout=world.layout), world) for entry in entries]
    joined = {
        (place // LANES, key)
        for place, (key, override) in enumerate(zip(keys, overrides, strict=True))
        if override
    }
    places: dict[tuple, list[int]] = {}
    for place, key in enumerate(keys):
        places.setdefault((*key, (place // LANES, key) in joined), []).append(place)
    groups = []
    for (layout, *_, has_own), members in places.items():
        policy = stacked([entries[place].policy for place in members], np.concatenate)
        own = stacked([entries[place].world for place in members], np.stack) if has_own else None
        groups.append((replace(world, layout=layout), policy, members, own))
    return groups


def stacked(trees: Sequence[Any], join: Any) -> Any:
    """Trees of one structure as one, their leaves joined along the last axis."""
    import jax

    return jax.tree.map(lambda *leaves: join(leaves, axis=-1), *trees)


def _key(entry: Resolved) -> tuple:
    """What entries that share a program have in common."""
    return entry.layout, _shape(entry.policy), _shape(entry.world)


def _shape(tree: Any) -> tuple:
    import jax

    leaves, structure = jax.tree.flatten(tree)
    return structure, *(np.shape(leaf) for leaf in leaves)


def _same(one: World, other: World) -> bool:
    import jax

    (ours, structure), (theirs, expected) = jax.tree.flatten(one), jax.tree.flatten(other)
    return structure == expected and all(map(np.array_equal, ours, theirs))
