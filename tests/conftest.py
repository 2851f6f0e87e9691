"""Settings that hold for all tests."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("expansive", derandomize=True, deadline=None, max_examples=100)
settings.load_profile("expansive")
