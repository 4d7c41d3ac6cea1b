"""Sweeps: units planned from a config, run by workers, resumed after anything.

What plans, and what opens a run, is imported when it is first used: workers need neither.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from deleverage.sweep.execute import InterruptedRunError, execute
from deleverage.sweep.worker import Prepared, Simulator

if TYPE_CHECKING:
    from deleverage.sweep.memory import simulate
    from deleverage.sweep.plan import continue_plan, plan_run
    from deleverage.sweep.runs import prepare_run, run

__all__ = [
    "InterruptedRunError",
    "Prepared",
    "Simulator",
    "continue_plan",
    "execute",
    "plan_run",
    "prepare_run",
    "run",
    "simulate",
]

_HOMES = {
    "continue_plan": "plan",
    "plan_run": "plan",
    "prepare_run": "runs",
    "run": "runs",
    "simulate": "memory",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'deleverage.sweep' has no attribute {name!r}")
    value = getattr(import_module(f"deleverage.sweep.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
