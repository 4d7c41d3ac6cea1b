"""The cascade: one file a mechanism, `step` in order."""
