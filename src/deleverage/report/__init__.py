"""Figures from a result dataset; nothing here simulates."""

from deleverage.report.attribution import attribution_figure
from deleverage.report.figures import policy_figure, timeline_figure
from deleverage.report.frontier import frontier_figure
from deleverage.report.trajectory import trajectory_figure

__all__ = [
    "attribution_figure",
    "frontier_figure",
    "policy_figure",
    "timeline_figure",
    "trajectory_figure",
]
