"""Figures from a result dataset; nothing here simulates."""

from deleverage.report.figures import policy_figure, timeline_figure

__all__ = ["policy_figure", "timeline_figure"]
