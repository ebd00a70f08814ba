"""An export asks for page after page and holds no more than one; the formats are fixed."""

from __future__ import annotations

from types import SimpleNamespace

from gateway.kernel.bounds import PAGE_DECISIONS_MAX
from gateway.kernel.types import EVERY_TENANT
from gateway.store.export import ANY, CSV_COLUMNS, export_csv, export_json_lines
from gateway.store.port import DecisionFilter, Page
from tests.kit.entries import decision, event


class Pages(SimpleNamespace):
    """Three pages, and what was asked for."""

    def __init__(self) -> None:
        super().__init__(asked=[])

    async def decisions(self, scope, wanted, *, limit, cursor):
        self.asked.append((scope, wanted, limit, cursor))
        number = int(cursor or 3)
        return Page((decision(number, reason_codes=("A", 'B"')),), None if number == 1 else str(number - 1))

    async def events(self, scope, decision_id):
        assert scope is EVERY_TENANT
        return (
            (event(1, decision_id), event(2, decision_id, "note"))
            if decision_id == decision(2).entry_id
            else ()
        )


async def test_every_page_is_asked_for_once_with_the_filter() -> None:
    """Cursors are followed to the end, with full pages of what is wanted."""
    pages, wanted = Pages(), DecisionFilter(verdict="TRUST")
    lines = [line async for line in export_csv(pages, EVERY_TENANT, wanted)]
    assert len(lines) == 4
    assert pages.asked == [(EVERY_TENANT, wanted, PAGE_DECISIONS_MAX, cursor) for cursor in (None, "2", "1")]


async def test_nothing_is_read_ahead() -> None:
    """The second page is asked for when the first has been taken."""
    pages = Pages()
    lines = export_json_lines(pages, EVERY_TENANT, ANY)
    await anext(lines)
    assert len(pages.asked) == 1
    await lines.aclose()


async def test_a_line_is_the_stored_bytes() -> None:
    """Decision and events stand in the line byte for byte, in the order of the events."""
    lines = [line async for line in export_json_lines(Pages(), EVERY_TENANT)]
    one, two = decision(2, reason_codes=("A", 'B"')), decision(2).entry_id
    bodies = event(1, two).body + b"," + event(2, two, "note").body
    assert lines[1] == b'{"decision":' + one.body + b',"events":[' + bodies + b"]}\n"
    assert lines[0].endswith(b',"events":[]}\n')


async def test_csv_is_rfc_4180() -> None:
    """A head, CRLF, doubled quotes, and nothing for what is absent."""
    head, first, *_ = [line async for line in export_csv(Pages(), EVERY_TENANT)]
    assert head.decode() == ",".join(CSV_COLUMNS) + "\r\n"
    assert b'"[""A"",""B\\""""]"' in first
    assert first.endswith(b"\r\n")
    assert first.split(b",")[1] == b""
