"""What a run directory is: the schema of its dataset, its plan, markers, and how to open it."""

from deleverage.results.checks import Damage, Status, Verification, finalize, status, verify
from deleverage.results.groups import keep_group, write_group
from deleverage.results.opening import Run, open_run
from deleverage.results.plan import Plan, Unit, load_plan
from deleverage.results.schema import SCHEMA_VERSION, STATUS_FLAGS, VARIABLES, Variable

__all__ = [
    "SCHEMA_VERSION",
    "STATUS_FLAGS",
    "VARIABLES",
    "Damage",
    "Plan",
    "Run",
    "Status",
    "Unit",
    "Variable",
    "Verification",
    "finalize",
    "keep_group",
    "load_plan",
    "open_run",
    "status",
    "verify",
    "write_group",
]
