"""The page and the JSON of a comparison: whole, offline, without anything that JSON has not."""

from __future__ import annotations

import json

from controller.evaluate.arms.data import Called, Check, Told
from controller.evaluate.arms.sheet import FIGURES, PAGE, files, plain, report
from controller.evaluate.page import Picture
from tests.kit.arms import arm, comparison, missed, offered

RUN = comparison(
    arm("none", missed(1, 12.0)),
    arm(
        "controlled",
        offered(2, 12.0),
        told=(Told(12.0, "premium", "SHED", "refused: <why>"),),
        called=(Called(1.0, 0.001, "TRUST"),),
    ),
    facts={"seed": "1"},
    checks=(Check("records", "0", "2", ok=False),),
)


def test_the_page_holds_everything_and_loads_nothing() -> None:
    """Verdict, checks, tables, decisions and pictures; text is escaped, and no address is named."""
    page = report(RUN, (Picture("ttft", "first tokens", b"png"),))
    for shown in ("FAIL: records is 2", "MISSED", "refused: &lt;why&gt;", "data:image/png;base64,", "seed"):
        assert shown in page
    assert "http://" not in page
    assert "https://" not in page
    assert 'src="data:' in page


def test_the_json_is_json() -> None:
    """Never is null: no NaN and no infinity reach it, and the figures of each window are there."""
    text = json.dumps(plain(RUN), allow_nan=False)
    data = json.JSONDecoder().decode(text)
    assert data["arms"][0]["windows"]["spike"]["ttft_p95_s"] is None
    assert data["verdict"]["word"] == "FAIL"
    assert data["arms"][1]["told"][0]["text"] == "refused: <why>"


def test_the_files_of_a_run() -> None:
    """The page, its figures and one file a picture."""
    found = files(RUN, (Picture("ttft", "first tokens", b"png"),))
    assert set(found) == {PAGE, FIGURES, "ttft.png"}
    assert found["ttft.png"] == b"png"
    assert found[PAGE].startswith(b"<!doctype html>")
