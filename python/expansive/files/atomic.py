"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

PathLike: TypeAlias = str | os.PathLike[str]


@contextmanager
def atomic_write(path: PathLike) -> Iterator[Path]:
    """Give a temporary path to write to, and rename it to `path` once the block has ended well.

    Parameters
    ----------
    path : path-like
        Where the finished file belongs. Its folder must exist.

    Yields
    ------
    Path
        A file in the same folder with the same suffix; removed if the block raises, so `path`
        is never half-written and an older file there stays as it was.

    Raises
    ------
    OSError
        Before the block runs, when the folder is missing or not writable.
    """
    target = Path(path)
    require_folder(target)
    handle, name = tempfile.mkstemp(
        prefix=f".{target.stem}-", suffix=target.suffix, dir=target.parent
    )
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def check_folder(folder: PathLike) -> None:
    """Make sure that files can be made in a folder; an OSError says why not."""
    tempfile.TemporaryFile(dir=folder).close()


def require_folder(target: Path) -> None:
    """Make sure that the folder of a file to be written exists (FileNotFoundError)."""
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"cannot write {str(target)!r}: the folder {str(target.parent)!r} does not exist; "
            "create it first"
        )
