"""Tail measures with errors, and the summary table: a Dataset in, a Dataset out."""
