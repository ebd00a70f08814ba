"""Discrete-event runs of the very same controller against the simulated llm-d, under a virtual clock."""
