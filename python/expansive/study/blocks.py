"""A report as a list of blocks, written as Markdown and as a self-contained HTML page."""

from __future__ import annotations

import base64
import html
import re
from dataclasses import dataclass
from pathlib import Path
from string import Template

import pandas as pd

from expansive.files import atomic_write
from expansive.report.figures import AFTER, FONTS, INK, MUTED

_PAGE = Template(
    """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
body { margin: 0; background: #f5f7fa; color: $ink; font: 16px/1.55 $fonts; }
main { max-width: 1120px; margin: 0 auto; padding: 48px 24px 64px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 12px; } h2 { margin: 40px 0 8px; }
p { max-width: 50em; } figcaption, .muted { color: $muted; font-size: 14px; }
.table, figure { background: #fff; border: 1px solid #e3e8ee; border-radius: 10px;
  padding: 12px 18px; margin: 14px 0; overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 3px 20px 3px 0; border-bottom: 1px solid #e3e8ee; }
.number { text-align: right; white-space: nowrap; } th { color: $muted; font-weight: 500; }
img { max-width: 100%; height: auto; } a { color: $accent; }
</style>
</head>
<body>
<main>
$body
</main>
</body>
</html>
"""
)


@dataclass(frozen=True)
class Heading:
    """A heading of level 1 (the title) or 2."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    text: str


@dataclass(frozen=True)
class TextTable:
    """A table of texts: the columns as they stand, without the index."""

    content: pd.DataFrame


@dataclass(frozen=True)
class Picture:
    """A PNG file in the folder of the report."""

    path: Path
    caption: str


Block = Heading | Paragraph | TextTable | Picture


def write_markdown(blocks: list[Block], path: Path) -> None:
    """Write blocks as Markdown; pictures by their file names."""
    with atomic_write(path) as temporary:
        text = "\n\n".join(_markdown(block) for block in blocks)
        temporary.write_text(text + "\n", encoding="utf-8")


def write_html(blocks: list[Block], path: Path) -> None:
    """Write blocks as a page with everything inside it: no script, no request to anywhere."""
    title = next(block.text for block in blocks if isinstance(block, Heading))
    page = _PAGE.substitute(
        title=html.escape(title),
        fonts=FONTS,
        ink=INK,
        muted=MUTED,
        accent=AFTER,
        body="\n".join(_html(block) for block in blocks),
    )
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _markdown(block: Block) -> str:
    if isinstance(block, Heading):
        return f"{'#' * block.level} {block.text}"
    if isinstance(block, Paragraph):
        return block.text
    if isinstance(block, Picture):
        return f"![{_title(block)}]({block.path.name})\n\n{block.caption}"
    names, rows = _texts(block.content)
    rule = ["---:" if number else "---" for number in _numbers(block.content)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [names, rule, *rows])


def _html(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<h{block.level}>{html.escape(block.text)}</h{block.level}>"
    if isinstance(block, Paragraph):
        return f"<p>{html.escape(block.text)}</p>"
    if isinstance(block, Picture):
        data = base64.b64encode(block.path.read_bytes()).decode()
        return (
            f'<figure><img alt="{html.escape(_title(block))}" src="data:image/png;base64,{data}">'
            f"<figcaption>{html.escape(block.caption)}</figcaption></figure>"
        )
    return f'<div class="table">{_html_table(block.content)}</div>'


def _title(picture: Picture) -> str:
    """Give the first words of the caption."""
    return re.split("[,:;.]", picture.caption)[0]


def _html_table(content: pd.DataFrame) -> str:
    names, rows = _texts(content)
    classes = [' class="number"' if number else "" for number in _numbers(content)]

    def line(kind: str, row: list[str]) -> str:
        cells = zip(classes, row, strict=True)
        return "".join(f"<{kind}{own}>{html.escape(text)}</{kind}>" for own, text in cells)

    body = "\n".join(f"<tr>{line('td', row)}</tr>" for row in rows)
    return (
        f"<table>\n<thead><tr>{line('th', names)}</tr></thead>\n<tbody>\n{body}\n</tbody></table>"
    )


def _texts(content: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Give the names of the columns and the rows."""
    rows = [[str(value) for value in row] for row in content.itertuples(index=False)]
    return [str(name) for name in content.columns], rows


def _numbers(content: pd.DataFrame) -> list[bool]:
    """Tell which columns hold numbers, or nothing, throughout: these are aligned to the right."""
    numeric = content.astype(str).apply(lambda column: column.str.match(r"[-+<]?\s*\d|$").all())
    return list(numeric)
