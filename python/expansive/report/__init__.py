"""An evaluation as a table, as JSON, and as a self-contained HTML page."""

from expansive.report.numbers import (
    MINUS,
    UNDEFINED,
    Line,
    lines,
    reading,
    table,
    to_json,
    write_json,
)
from expansive.report.page import write_html

__all__ = [
    "MINUS",
    "UNDEFINED",
    "Line",
    "lines",
    "reading",
    "table",
    "to_json",
    "write_html",
    "write_json",
]
