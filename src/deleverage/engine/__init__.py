"""The only place that compiles: tiles of paths x all policies on one device."""

from deleverage.engine.simulator import LANES, Simulator

__all__ = ["LANES", "Simulator"]
