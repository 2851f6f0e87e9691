"""Files: whole or not at all, and arrays of rows with their labels in four formats."""

from expansive.files.array_files import (
    array_writer,
    check_labels_file,
    check_output,
    feature_columns,
    load_arrays,
    same_file,
    save_arrays,
)
from expansive.files.atomic import PathLike, atomic_write, check_folder
from expansive.files.layout import KNOWN_FILES, SUFFIXES, Layout

__all__ = [
    "KNOWN_FILES",
    "SUFFIXES",
    "Layout",
    "PathLike",
    "array_writer",
    "atomic_write",
    "check_folder",
    "check_labels_file",
    "check_output",
    "feature_columns",
    "load_arrays",
    "same_file",
    "save_arrays",
]
