"""Rows of measurements in a csv that grows, and tables in Markdown."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from expansive.files import atomic_write


def read_rows(csv: Path) -> pd.DataFrame:
    """Read what was measured so far; a frame without rows and columns when there is no file."""
    return pd.read_csv(csv, keep_default_na=False) if csv.is_file() else pd.DataFrame()


def write_rows(csv: Path, rows: pd.DataFrame) -> None:
    """Write all rows, whole or not at all."""
    with atomic_write(csv) as temporary:
        rows.to_csv(temporary, index=False, float_format="%.6f")


def write_text(path: Path, text: str) -> None:
    """Write a text, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(text.rstrip() + "\n")


def markdown(frame: pd.DataFrame, corner: str) -> str:
    """Lay out a frame as a Markdown table; `corner` names its index."""
    rows = [
        [str(name), *map(str, row)] for name, row in zip(frame.index, frame.values, strict=True)
    ]
    lines = [[corner, *frame.columns], ["---", *["---:"] * len(frame.columns)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
