"""The command line as the tests run it, and rows to give to it."""

from __future__ import annotations

import numpy as np
import pytest

from expansive import cli
from expansive.cli import commands


def run(capsys, *arguments):
    """Run `expansive` in this process, in a wide terminal; gives status, output and errors."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(cli.TRACEBACK, raising=False)
        patch.setattr(commands.console, "_width", 200)
        status = cli.main([str(argument) for argument in arguments])
    shown = capsys.readouterr()
    return status, shown.out, shown.err


def imbalanced():
    """Make 40 rows of three classes: 25, 10 and 5."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3)).astype(np.float32)
    return x, np.array([0] * 25 + [1] * 10 + [2] * 5)
