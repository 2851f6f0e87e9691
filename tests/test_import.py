"""Importing is quick and pulls in NumPy alone."""

from __future__ import annotations

import statistics

import pytest

from cases import run_python

SECONDS = """
import time
import numpy
start = time.process_time()
import expansive
print(time.process_time() - start)
"""

MODULES = """
import sys
import expansive
heavy = ("torch sklearn imblearn scipy pandas polars pyarrow rich typer matplotlib datasets PIL "
         "accelerate safetensors triton ml_dtypes faiss").split()
print([name for name in heavy if name in sys.modules])
"""

NAMES = """
import expansive
print({*expansive.__all__, "__version__", "synthesis"} <= {*dir(expansive)})
"""

PUBLIC = """
import expansive
for name in expansive.__all__:
    assert getattr(expansive, name) is not None, name
try:
    expansive.nothing
except AttributeError as error:
    print(error)
"""


def test_import_takes_less_time_than_importing_numpy() -> None:
    """That takes about 0.25 s of a core, and is counted apart."""
    assert statistics.median(float(run_python(SECONDS)) for _ in range(5)) < 0.2


def test_import_loads_none_of_the_optional_libraries() -> None:
    assert run_python(MODULES).strip() == "[]"


def test_names_imported_late_are_listed() -> None:
    assert run_python(NAMES).strip() == "True"


@pytest.mark.train
def test_every_public_name_is_there() -> None:
    assert "has no attribute 'nothing'" in run_python(PUBLIC)
