"""One size of block for a device, from what it holds."""

from types import SimpleNamespace

import jax
import numpy as np
from worlds import random_world

from deleverage.engine.block import (
    LEAST_PATHS,
    MOST_PATHS,
    block_paths,
    path_bytes,
    paths_within,
)
from deleverage.engine.lanes import tile_of

GIB = 2**30


def test_the_largest_power_of_two_that_takes_half_of_the_memory():
    assert paths_within(16 * GIB, 2**20) == 8192
    assert paths_within(16 * GIB, 2**20 + 1) == 4096
    assert paths_within(15 * GIB, 2**20) == 4096


def test_never_more_than_is_of_use_nor_less_than_on_a_cpu():
    assert paths_within(1000 * GIB, 1000) == MOST_PATHS
    assert paths_within(GIB, 10 * GIB) == LEAST_PATHS


def test_memory_grows_with_lanes_and_where_lanes_have_series_of_their_own():
    world, policy = random_world(0)
    own = jax.tree.map(lambda leaf: np.stack([np.asarray(leaf)] * 3, axis=-1), world)
    one, two = (path_bytes(world, policy, lanes, np.float32) for lanes in (8, 16))
    assert one < two < 2 * one
    assert path_bytes(world, policy, 16, np.float32, own) > two
    assert path_bytes(world, policy, 16, np.float64) > 1.9 * two


def test_a_device_without_a_limit_gets_the_blocks_of_a_cpu(monkeypatch):
    groups = [(*random_world(0), [0, 1], None), (*random_world(0), [2], None)]
    on_a_cpu = block_paths(groups, 16, np.float32)
    assert on_a_cpu == tile_of(2)
    gpu = SimpleNamespace(platform="gpu", memory_stats=lambda: {"bytes_limit": 64 * GIB})
    monkeypatch.setattr(jax, "local_devices", lambda: [gpu])
    assert block_paths(groups, 16, np.float32) == MOST_PATHS
    gpu.memory_stats = lambda: {"bytes_limit": GIB}
    assert LEAST_PATHS < block_paths(groups, 16, np.float32) < MOST_PATHS
    gpu.memory_stats = lambda: None
    assert block_paths(groups, 16, np.float32) == on_a_cpu
