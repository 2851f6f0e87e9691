"""The compiled CPU backend: thin calls into the extension."""

from __future__ import annotations


def unavailable() -> str | None:
    """Say why this backend cannot run here, or None when it can."""
    return "the compiled extension is missing; reinstall the package"
