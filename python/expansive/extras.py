"""Optional dependencies: imported where they are used, with a helpful error when missing."""

from __future__ import annotations

import importlib
from types import ModuleType


def import_extra(module: str, extra: str) -> ModuleType:
    """Import `module`, or say which extra of this package brings it.

    Parameters
    ----------
    module : str
        Full name of the module.
    extra : str
        The extra of `expansive` that installs it, such as ``"train"``.

    Raises
    ------
    ImportError
        With the pip command that installs the extra.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or module.split(".")[0] != error.name.split(".")[0]:
            raise
        raise ImportError(
            f"{error.name} is not installed, and this needs it; "
            f"install it with: pip install 'expansive[{extra}]'"
        ) from error
