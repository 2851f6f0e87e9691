"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

PathLike: TypeAlias = str | os.PathLike[str]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Numbers of errors of a disk, a quota or a limit that is full."""


@contextmanager
def atomic_write(path: PathLike) -> Iterator[Path]:
    """Give a temporary path to write to, and rename it to `path` once the block has ended well.

    Parameters
    ----------
    path : path-like
        Where the finished file belongs. Its folder must exist. A symbolic link is written through;
        the permissions of an existing file are kept.

    Yields
    ------
    Path
        A file in the folder of the finished one, with the suffix of `path`; removed if the block
        raises, so `path` is never half-written and an older file there stays as it was.

    Raises
    ------
    OSError
        Before the block runs, when the path is a folder, a device or a pipe, or its folder is
        missing or not writable.
    """
    target = finished(path)
    with _naming(path):
        handle, name = tempfile.mkstemp(
            prefix=f".{target.stem}-", suffix=Path(path).suffix, dir=target.parent
        )
    os.close(handle)
    temporary = Path(name)
    try:
        with _naming(path, _FULL):
            yield temporary
        temporary.chmod(_mode(target))
        with _naming(path):
            os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def check_folder(folder: PathLike) -> None:
    """Make sure that files can be made in a folder; an OSError says why not."""
    with _naming(folder):
        tempfile.TemporaryFile(dir=folder).close()


def finished(path: PathLike) -> Path:
    """Where a file written to `path` ends up, behind links; an OSError when it cannot be there."""
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(f"cannot write {os.fspath(path)!r}: it is a folder; name a file")
    if target.exists() and not target.is_file():
        raise OSError(
            f"cannot write {os.fspath(path)!r}: it is a device or a pipe, which a finished file "
            "would replace; name a file"
        )
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"cannot write {os.fspath(path)!r}: the folder {str(target.parent)!r} does not exist; "
            "create it first"
        )
    return target


def _mode(target: Path) -> int:
    """Permissions of a file that exists, else those that the umask leaves."""
    if target.exists():
        return stat.S_IMODE(target.stat().st_mode)
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask


@contextmanager
def _naming(path: PathLike, only: Collection[int] | None = None) -> Iterator[None]:
    """Let an error of the system name the path that was asked for, not a temporary one or none.

    Of some numbers alone, where the block does other things too.
    """
    try:
        yield
    except OSError as error:
        if only is not None and error.errno not in only:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error
