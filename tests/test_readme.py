"""The README's example runs as it stands."""

import re
from pathlib import Path
from typing import Any

import numpy as np

README = Path(__file__).parents[1] / "README.md"


def test_the_example_runs_and_does_what_it_says() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(example, str(README), "exec"), names)
    assert names["idx"].shape == (1000, 10)
    assert (names["y"][names["idx"]] != names["y"][:, None]).all()
    assert names["rows"].shape == (100, 64)
    assert set(names["labels"]) <= {"axolotl", "dog"}
    assert np.unique(names["y_balanced"], return_counts=True)[1].tolist() == [600, 600, 600]


def test_the_picture_is_there() -> None:
    assert (README.parent / "docs" / "picture.png").is_file()
