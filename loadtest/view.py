"""What a person sees while it runs: progress and sparklines on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

from controller.evaluate.arms.data import COMPLETE, Moment, Service, Spans, percentile
from loadtest.generate import Progress
from loadtest.rows import Row

BLOCKS: Final = "▁▂▃▄▅▆▇█"
REFRESH_S: Final = 0.5
"""Drawing takes milliseconds of the loop that sends: twice a second is enough for eyes."""
PLAIN_S: Final = 5.0
_WIDTH: Final = 60
_BAR: Final = 24


def sparkline(values: Iterable[float], top: float | None = None, width: int = _WIDTH) -> str:
    """Return the last `width` values as a line of blocks; infinite is a full block, unknown a gap."""
    shown = list(values)[-width:]
    finite = [value for value in shown if math.isfinite(value)]
    highest = max(top or 0.0, max(finite, default=0.0)) or 1.0
    return "".join(_block(value, highest) for value in shown)


def _block(value: float, highest: float) -> str:
    if math.isnan(value):
        return " "
    share = 1.0 if math.isinf(value) else min(max(value / highest, 0.0), 1.0)
    return BLOCKS[min(int(share * len(BLOCKS)), len(BLOCKS) - 1)]


class Picture:
    """One arm as it runs: rows by second, ready to be drawn."""

    def __init__(self, arm: str, spans: Spans, services: Sequence[Service], progress: Progress) -> None:
        self.arm = arm
        self._spans = spans
        self._services = {service.name: service for service in services}
        self._progress = progress

    def lines(self, now_s: float, moment: Moment | None) -> list[str]:
        """Return what is to be seen, line by line."""
        progress = self._progress
        asks = [row for row in progress.rows if row.kind == "ask"]
        seconds = range(max(1, min(math.ceil(now_s), math.ceil(self._spans.end_s))))
        by_second: dict[int, list[Row]] = {}
        for row in asks:
            by_second.setdefault(int(row.at_s), []).append(row)
        met = [sum(map(self._met, by_second.get(second, ()))) for second in seconds]
        done = [len(by_second.get(second, ())) for second in seconds]
        late = [percentile(map(_ttft, by_second.get(second, ())), 0.95) for second in seconds]
        share = sum(met) / len(asks) if asks else math.nan
        count = f"{progress.done} of {progress.sent} answered, {progress.open} open"
        return [
            f"{self.arm:<10} {self._bar(now_s)} {now_s:5.1f} s  {self._phase(now_s)}  {count}",
            f"  answered/s  {sparkline(done)}",
            f"  in time/s   {sparkline(met, max(done, default=0))}  {_percent(share)} of the answered",
            f"  TTFT p95    {sparkline(late, 4.0)}  {_latest(late)}",
            f"  {self._control(moment)}",
        ]

    def line(self, now_s: float, moment: Moment | None) -> str:
        """Return the same in one line."""
        asks = [row for row in self._progress.rows if row.kind == "ask"]
        met = sum(map(self._met, asks))
        share = _percent(met / len(asks) if asks else math.nan)
        counts = f"{self._progress.done} answered, {self._progress.open} open"
        where = f"{now_s:.0f} of {self._spans.end_s:.0f} s"
        return f"{self.arm}: {where}, {counts}, {share} in time; {self._control(moment)}"

    def _met(self, row: Row) -> bool:
        return row.status == COMPLETE and self._services[row.service].meets(row.ttft_s, row.e2e_s)

    def _bar(self, now_s: float) -> str:
        full = min(1.0, now_s / self._spans.end_s) if self._spans.end_s else 1.0
        return "█" * round(full * _BAR) + "░" * (_BAR - round(full * _BAR))

    def _phase(self, now_s: float) -> str:
        up, down = self._spans.windows()["spike"]
        if now_s >= self._spans.end_s:
            return "drain"
        return "before" if now_s < up else "SPIKE " if now_s < down else "after "

    def _control(self, moment: Moment | None) -> str:
        if moment is None:
            return "controller: not seen yet"
        prices = ", ".join(f"{model} {price:.2f}" for model, price in moment.prices.items())
        return (
            f"controller {moment.mode}, in flight {moment.in_flight}, queued {moment.queued}, prices {prices}"
        )


def _ttft(row: Row) -> float:
    return math.inf if row.ttft_s is None else row.ttft_s


def _percent(share: float) -> str:
    return "--" if math.isnan(share) else f"{share:.1%}"


def _latest(values: Sequence[float]) -> str:
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return ""
    return "never" if math.isinf(known[-1]) else f"{known[-1]:.2f} s"


class Screen:
    """Where it is shown: drawn in place on a terminal, else a line every `PLAIN_S` on standard error."""

    def __init__(self, *, terminal: bool | None = None, write: Callable[[str], None] | None = None) -> None:
        self._terminal = sys.stderr.isatty() if terminal is None else terminal
        self._write = write or (lambda text: print(text, file=sys.stderr, flush=True))
        self._live: Any = None
        self._drawn: dict[str, list[str]] = {}
        self._said_s: dict[str, float] = {}

    def __enter__(self) -> Self:
        if self._terminal:
            from rich.console import Console
            from rich.live import Live

            self._live = Live(
                console=Console(stderr=True, highlight=False), auto_refresh=False, transient=True
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def show(self, picture: Picture, now_s: float, moment: Moment | None) -> None:
        """Show an arm as it is now."""
        if self._live is not None:
            from rich.text import Text

            self._drawn[picture.arm] = picture.lines(now_s, moment)
            lines = [line for drawn in self._drawn.values() for line in drawn]
            self._live.update(Text("\n".join(lines), no_wrap=True), refresh=True)
        elif now_s - self._said_s.get(picture.arm, -math.inf) >= PLAIN_S:
            self._said_s[picture.arm] = now_s
            self._write(picture.line(now_s, moment))

    def say(self, text: str) -> None:
        """Print a line that stays."""
        if self._live is not None:
            self._live.console.print(text, markup=False)
        else:
            self._write(text)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], marks: Mapping[str, str]) -> None:
    """Print a table on standard output: drawn on a terminal, aligned text elsewhere; `marks` colour cells."""
    if not sys.stdout.isatty():
        from controller.evaluate.arms.words import text_table
        from controller.evaluate.page import Table

        print(text_table(Table(tuple(columns), tuple(map(tuple, rows)))))
        return
    from rich.console import Console
    from rich.table import Table as Drawn
    from rich.text import Text

    drawn = Drawn(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        drawn.add_row(*(Text(cell, style=marks.get(cell, "")) for cell in row))
    Console(highlight=False).print(drawn)
