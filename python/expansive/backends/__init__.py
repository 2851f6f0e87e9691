"""Backends: the same search and synthesis, bit for bit, on different machines."""
