"""`controller.evaluate.page`: one file that loads nothing and trusts no text."""

from __future__ import annotations

import base64
import re

from controller.evaluate.page import Picture, Section, Table, page


def test_everything_stands_in_the_page() -> None:
    """Texts, cells and pictures, in order; no address that would be loaded."""
    text = page(
        "Title",
        "Lead.",
        [
            Section(
                "One",
                ("First.", "Second."),
                Table(("policy", "share"), (("none", "0.1"), ("ours", "0.9"))),
                "as printed",
                (Picture("p", "what it shows", b"\x89PNG"),),
            ),
            Section("Two"),
        ],
    )
    assert text.index("Lead.") < text.index("First.") < text.index("<th>none</th><td>0.1</td>")
    assert text.index("as printed") < text.index("<h2>Two</h2>")
    assert re.findall(r'(?:src|href)="([^"]*)"', text) == [
        "data:image/png;base64," + base64.b64encode(b"\x89PNG").decode()
    ]


def test_no_text_becomes_markup() -> None:
    """Names and captions are escaped wherever they stand."""
    bad = '<script>"&'
    text = page(bad, bad, [Section(bad, (bad,), Table((bad,), ((bad,),)), bad, (Picture(bad, bad, b""),))])
    assert "<script" not in text
    assert text.count("&lt;script&gt;&quot;&amp;") == 10
