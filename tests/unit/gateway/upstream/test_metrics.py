"""A metrics page: its text, and one kind of error for whatever keeps it from being read."""

from __future__ import annotations

import pytest

from gateway.kernel.errors import InvalidConfigError
from gateway.upstream.metrics import MetricsPage
from tests.kit.rawpeer import Wire, raw_server


def page_of(port: int) -> MetricsPage:
    """The page of a local server."""
    return MetricsPage(f"http://127.0.0.1:{port}/metrics", where="backends.b.metrics_url")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\na 1\n", "a 1\n"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n\xff", "�"),
        (b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n", None),
        (b"nonsense\r\n\r\n", None),
    ],
)
async def test_a_page(answer: bytes, text: str | None) -> None:
    """The text as it is, asked for at its own path; anything else is an OSError."""
    targets: list[bytes] = []

    async def script(wire: Wire) -> None:
        targets.append((await wire.read_request()).head.split(b" ")[1])
        await wire.send(answer)

    async with raw_server(script) as server:
        page = page_of(server.port)
        try:
            if text is None:
                with pytest.raises(OSError):
                    await page.metrics_text()
            else:
                assert await page.metrics_text() == text
        finally:
            await page.close()
    assert targets == [b"/metrics"]


async def test_nobody_there(caplog: pytest.LogCaptureFixture) -> None:
    """A page that nobody serves is an OSError too, again and again; no backend is said to be out for it."""
    async with raw_server(lambda wire: wire.read_request()) as server:
        port = server.port
    page = page_of(port)
    for _ in range(30):
        with pytest.raises(OSError):
            await page.metrics_text()
    await page.close()
    assert caplog.records == []
    assert page._backend.breaker.closed


def test_what_is_no_url_is_refused_with_its_place() -> None:
    """As any other URL of the configuration."""
    with pytest.raises(InvalidConfigError, match=r"backends\.b\.metrics_url"):
        MetricsPage("ftp://x", where="backends.b.metrics_url")
