"""Sweeps: units planned from a config, run by workers, resumed after anything.

What plans, and what opens a run, is imported when it is first used: workers need neither.
"""

from typing import TYPE_CHECKING

from deleverage.lazy import lazily
from deleverage.sweep.execute import execute
from deleverage.sweep.interruption import InterruptedRunError
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
    "continue_plan": "deleverage.sweep.plan",
    "plan_run": "deleverage.sweep.plan",
    "prepare_run": "deleverage.sweep.runs",
    "run": "deleverage.sweep.runs",
    "simulate": "deleverage.sweep.memory",
}

__getattr__ = lazily(__name__, _HOMES)
