"""The synthetic set as a pure function of (data, plan, seed, row number)."""

from expansive.synthesis.plan import ENEMIES, METHODS, Recipe, SynthesisPlan

__all__ = ["ENEMIES", "METHODS", "Recipe", "SynthesisPlan"]
