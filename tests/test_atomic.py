"""Files are written whole or not at all."""

import errno
import os
from pathlib import Path

import pytest

from expansive import files


def test_atomic_write_keeps_the_old_file_when_the_block_fails(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail_halfway():
        with files.atomic_write(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_atomic_write_follows_the_umask_and_leaves_it(tmp_path):
    before = os.umask(0o027)
    try:
        with files.atomic_write(tmp_path / "a.txt") as temporary:
            temporary.write_text("new")
    finally:
        after = os.umask(before)
    assert after == 0o027
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640


def test_atomic_write_leaves_no_file_open(tmp_path):
    before = os.listdir("/dev/fd")
    with files.atomic_write(tmp_path / "a.txt"):
        assert os.listdir("/dev/fd") == before


def test_atomic_write_goes_through_links_and_keeps_the_permissions(tmp_path):
    (tmp_path / "data").mkdir()
    real, link = tmp_path / "data" / "a.bin", tmp_path / "a.txt"
    real.write_text("old")
    real.chmod(0o600)
    link.symlink_to(Path("data") / "a.bin")
    with files.atomic_write(link) as temporary:
        assert (temporary.parent, temporary.suffix) == (tmp_path / "data", ".txt")
        temporary.write_text("new")
    assert (link.is_symlink(), real.read_text()) == (True, "new")
    assert real.stat().st_mode & 0o777 == 0o600
    assert list(real.parent.iterdir()) == [real]


def test_errors_of_atomic_write_name_the_path_that_was_given(tmp_path):
    for path, name in ((tmp_path, str(tmp_path)), ("/proc/self/a.npz", "'/proc/self/a.npz'")):
        with pytest.raises(OSError) as caught, files.atomic_write(path):
            pass
        assert name in str(caught.value)
        assert "-" not in str(caught.value).replace(str(tmp_path), "")


def test_what_is_no_file_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/null"):
        with pytest.raises(OSError, match="it is a device or a pipe"), files.atomic_write(path):
            pass
    assert not (tmp_path / "pipe").is_file()


def test_a_full_disk_is_named_with_the_file(tmp_path):
    path = tmp_path / "a.bin"
    for number, named in ((errno.ENOSPC, True), (errno.ENOENT, False)):
        with pytest.raises(OSError) as caught, files.atomic_write(path):
            raise OSError(number, "no")
        assert (str(path) in str(caught.value)) is named
        assert list(tmp_path.iterdir()) == []
