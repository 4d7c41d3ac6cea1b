"""Sweeps: units planned from a config, run by workers, resumed after anything."""

from deleverage.sweep.execute import InterruptedRunError, execute
from deleverage.sweep.memory import simulate
from deleverage.sweep.plan import continue_plan, plan_run
from deleverage.sweep.runs import prepare_run, run
from deleverage.sweep.worker import Prepared, Simulator

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
