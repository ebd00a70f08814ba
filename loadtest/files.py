"""What a run leaves: one page, its plots and its figures. The only file of the kit that writes reports."""

from __future__ import annotations

import importlib.util
import webbrowser
from pathlib import Path

from controller.evaluate.arms.data import Comparison
from controller.evaluate.arms.pictures import draw
from controller.evaluate.arms.sheet import PAGE, files
from loadtest.stage import StageError


def prepare(out: Path) -> None:
    """Make the directory and see that it can be written, before a minute is spent. Raise StageError."""
    probe = out / ".writable"
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise StageError(
            f"cannot write into {out}: {(error.strerror or type(error).__name__).lower()}",
            hint="name another directory with --out",
        ) from None


def write(run: Comparison, out: Path) -> Path:
    """Write page, plots and figures; return the page's path. Raise StageError."""
    pictures = draw(run) if importlib.util.find_spec("matplotlib") is not None else ()
    try:
        for name, data in files(run, pictures).items():
            (out / name).write_bytes(data)
    except OSError as error:
        raise StageError(f"cannot write into {out}: {(error.strerror or 'failed').lower()}") from None
    return out / PAGE


def show(page: Path) -> None:
    """Open the page in a browser. Raise StageError where there is none."""
    try:
        opened = webbrowser.open(page.resolve().as_uri())
    except webbrowser.Error:
        opened = False
    if not opened:
        raise StageError("there is no browser here", hint=f"open {page} yourself: it needs no network")
