"""What a run leaves, and clear words where it cannot be left."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import pytest

from controller.evaluate.page import Picture
from loadtest import files
from loadtest.files import prepare, show, write
from loadtest.stage import StageError
from tests.kit.arms import arm, comparison, offered

RUN = comparison(arm("none", offered(1, 1.0)))


@pytest.fixture(autouse=True)
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """One picture, quickly: that all of them are drawn is tested where they are."""
    monkeypatch.setattr(files, "draw", lambda run: (Picture("ttft", "first tokens", b"png"),))


def test_a_run_is_written(tmp_path: Path) -> None:
    """The page, its figures and its plots; nothing else is left in the directory."""
    out = tmp_path / "a/b"
    prepare(out)
    assert list(out.iterdir()) == []
    page = write(RUN, out)
    names = {file.name for file in out.iterdir()}
    assert names == {"report.html", "report.json", "ttft.png"}
    assert page == out / "report.html"


def test_without_matplotlib_there_are_no_plots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page and the figures come all the same."""
    monkeypatch.setattr(files.importlib.util, "find_spec", lambda name: None)
    write(RUN, tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"report.html", "report.json"}


def test_plots_can_be_left_out(tmp_path: Path) -> None:
    """They take longer than all the rest."""
    write(RUN, tmp_path, plots=False)
    assert not (tmp_path / "ttft.png").exists()


def test_a_directory_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """Before a minute is spent, and at the end."""
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(StageError, match="cannot write into") as caught:
        prepare(blocked)
    assert "--out" in caught.value.hint
    with pytest.raises(StageError, match="cannot write into"):
        write(RUN, tmp_path / "gone")


def test_a_browser_that_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the page's path, so that it can be opened elsewhere."""
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: bool(opened.append(url)) or True)
    show(tmp_path / "report.html")
    assert opened[0].startswith("file://")
    monkeypatch.setattr(webbrowser, "open", lambda url: False)
    with pytest.raises(StageError, match="no browser") as caught:
        show(tmp_path / "report.html")
    assert "report.html" in caught.value.hint

    def broken(url: str) -> bool:
        raise webbrowser.Error("none")

    monkeypatch.setattr(webbrowser, "open", broken)
    with pytest.raises(StageError, match="no browser"):
        show(tmp_path / "report.html")
