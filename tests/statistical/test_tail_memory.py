"""Measures of data larger than the memory they may take."""

import subprocess
import sys

import pytest

MEASURED = """
import resource
import dask
import dask.array as da
import numpy as np
import xarray as xr
from deleverage.analysis import tail

def block(i, j):
    draws = np.random.default_rng([i, j]).exponential(size=(16, 1_000_000))
    return draws.astype(np.float32)

parts = [
    [da.from_delayed(dask.delayed(block)(i, j), (16, 1_000_000), np.float32) for j in range(10)]
    for i in range(4)
]
x = xr.DataArray(da.block(parts), dims=("policy", "path"))
found = tail.expected_shortfall(x, 0.99)
exact = np.log(100) + 1
assert (abs(found.estimate - exact) < 5 * found.standard_error).all(), found.estimate.values
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


@pytest.mark.slow
def test_the_shortfall_of_ten_million_paths_and_64_policies_takes_less_than_3_gb():
    done = subprocess.run(
        [sys.executable, "-c", MEASURED], capture_output=True, text=True, timeout=900, check=True
    )
    assert float(done.stdout) < 3000
