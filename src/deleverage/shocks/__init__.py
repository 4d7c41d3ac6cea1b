"""The shocks: random numbers of each path, and the exogenous series every policy shares."""
