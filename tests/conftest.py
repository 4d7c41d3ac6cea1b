"""Settings that every test shares; they are made before JAX is imported."""

import os

import hypothesis

# One backend for all tests, also where there is a GPU: xdist's workers would fight for its memory.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

# Compilation dwarfs an example, so no deadline; the same examples every time, so that a failure
# is not luck.
hypothesis.settings.register_profile("deleverage", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("deleverage")
