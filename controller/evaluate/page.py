"""One self-contained HTML page out of titles, texts, tables and pictures. Knows nothing of what they show."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG with the name of its file, and what it shows in a sentence."""

    name: str
    caption: str
    png: bytes


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as text; the first column is a heading of its row."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, and under it whatever is there: paragraphs, a table, text as printed, pictures."""

    title: str
    paragraphs: tuple[str, ...] = ()
    table: Table | None = None
    printed: str = ""
    pictures: tuple[Picture, ...] = ()


_STYLE: Final = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem;border-bottom:1px solid #d0d7de}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.2rem .7rem;text-align:right;border-bottom:1px solid #eaeef2;font-weight:400}
thead th{border-bottom:1px solid #8c959f;font-weight:600}th:first-child,td:first-child{text-align:left}
pre{background:#f6f8fa;padding:.7rem;overflow-x:auto;font-size:13px}
figure{margin:1rem 0}img{max-width:100%}figcaption{color:#57606a}
"""


def page(title: str, lead: str, sections: Iterable[Section]) -> str:
    """Return the page. It loads nothing: style and pictures stand in it."""
    body = "\n".join(_section(section) for section in sections)
    return (
        "<!doctype html>\n"
        f'<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n"
        f"<h1>{html.escape(title)}</h1>\n<p>{html.escape(lead)}</p>\n{body}\n</body></html>\n"
    )


def _section(section: Section) -> str:
    parts = [f"<h2>{html.escape(section.title)}</h2>"]
    parts += [f"<p>{html.escape(text)}</p>" for text in section.paragraphs]
    if section.table is not None:
        parts.append(_table(section.table))
    if section.printed:
        parts.append(f"<pre>{html.escape(section.printed)}</pre>")
    parts += [_picture(picture) for picture in section.pictures]
    return "\n".join(parts)


def _table(table: Table) -> str:
    def row(cells: Sequence[str], first: str, rest: str) -> str:
        marked = [first, *[rest] * (len(cells) - 1)]
        inner = "".join(f"<{tag}>{html.escape(c)}</{tag}>" for tag, c in zip(marked, cells, strict=True))
        return f"<tr>{inner}</tr>"

    head = row(table.columns, "th", "th")
    rows = "".join(row(cells, "th", "td") for cells in table.rows)
    return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"


def _picture(picture: Picture) -> str:
    data = base64.b64encode(picture.png).decode()
    caption = html.escape(picture.caption)
    return (
        f'<figure><img alt="{caption}" src="data:image/png;base64,{data}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )
