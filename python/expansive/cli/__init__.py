"""The `expansive` command: errors of the package become one line, everything else a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from expansive.extras import import_extra

TRACEBACK = "EXPANSIVE_TRACEBACK"
INTERRUPTED = 130
CONTINUED = {
    "train": "; the same command with --resume continues",
    "bench": "; the same command continues",
}
"""What an interrupted command is told."""
OURS = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    RuntimeError,
    ArithmeticError,
    OSError,
    ImportError,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the process.

    Returns
    -------
    int
        Exit status: 0, 2 for an error in what was asked, 130 when interrupted. With the
        environment variable ``EXPANSIVE_TRACEBACK`` set, errors are raised instead.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        import_extra("rich", "train")
        typer = import_extra("typer", "train")
        from expansive.cli.commands import app

        typer.main.get_command(app).main(args=arguments, prog_name="expansive")
    except SystemExit as stop:
        # Always raised: with 0 when all went well, with 2 after a usage error, which is shown, and
        # for Ctrl-C in a command, which is not.
        status = int(stop.code or 0)
        return _interrupted(arguments) if status == INTERRUPTED else status
    except KeyboardInterrupt:
        return _interrupted(arguments)
    except OURS as error:
        if os.environ.get(TRACEBACK):
            raise
        print(f"expansive: {_one_line(error)}", file=sys.stderr)
        return 2
    return 0


def _interrupted(arguments: Sequence[str]) -> int:
    print(f"interrupted{CONTINUED.get(''.join(arguments[:1]), '')}", file=sys.stderr)
    return INTERRUPTED


def _one_line(error: BaseException) -> str:
    # str() of a KeyError is the repr of its message.
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    return " ".join(str(text).split()) or type(error).__name__
