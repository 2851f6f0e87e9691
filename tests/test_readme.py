"""The examples of the README and of the guide run as they stand."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]


def run_examples(page: Path) -> dict[str, Any]:
    """Run a page's blocks of Python one after the other; gives their names."""
    examples = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert examples
    names: dict[str, Any] = {}
    for example in examples:
        exec(compile(example, str(page), "exec"), names)
    return names


def test_the_example_of_the_readme_does_what_it_says() -> None:
    names = run_examples(ROOT / "README.md")
    assert names["idx"].shape == (1000, 10)
    assert (names["y"][names["idx"]] != names["y"][:, None]).all()
    assert names["rows"].shape == (100, 64)
    assert set(names["labels"]) <= {"axolotl", "dog"}
    assert np.unique(names["y_balanced"], return_counts=True)[1].tolist() == [600, 600, 600]


@pytest.mark.train
def test_the_examples_of_the_guide_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = run_examples(ROOT / "docs" / "guide.md")
    assert names["other"].plan.n_samples == names["trainer"].plan.n_samples > 0
    assert names["predicted"].shape == (400,)


@pytest.mark.parametrize("page", ["README.md", "docs/guide.md", "docs/cpp.md", "docs/gpu.md"])
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text(encoding="utf-8"))
    for link in links:
        assert link.startswith("https://") or (path.parent / link).exists(), link
