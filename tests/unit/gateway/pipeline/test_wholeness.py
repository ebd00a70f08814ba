"""Whether an answer is whole."""

from __future__ import annotations

import pytest

from gateway.pipeline.exchange import Event
from gateway.pipeline.sighting import Sighting
from gateway.pipeline.wholeness import how_it_ended
from gateway.wire.sse import StreamWatch
from tests.kit.playbook import Head, verdict

USAGE = b'{"usage":{"prompt_tokens":3}}'


def ended(*kept: bytes, watch: StreamWatch | None = None, **head: object) -> tuple[Event, Sighting]:
    """The event, and what was noted."""
    sighting = Sighting(0.0)
    return how_it_ended(Head(**head), verdict(), watch, kept, sighting), sighting  # type: ignore[arg-type]


def watched(data: bytes) -> StreamWatch:
    """A watch that has seen this."""
    watch = StreamWatch()
    watch.feed(data)
    return watch


@pytest.mark.parametrize(
    ("kept", "head", "event"),
    [
        (USAGE, {}, Event.BODY_COMPLETED),
        (USAGE, {"status": 500}, Event.BACKEND_REFUSED),
        (USAGE, {"complete": False}, Event.BODY_COMPLETED),
        (b"{", {"complete": False}, Event.BODY_BROKE_OFF),
        (b"{", {}, Event.BODY_COMPLETED),
    ],
)
def test_a_body_is_whole_by_its_framing_or_its_json(kept: bytes, head: dict, event: Event) -> None:
    """Either says so; a status of 400 and above says that it was not done."""
    assert ended(kept, **head)[0] is event


def test_the_usage_of_a_body_is_noted() -> None:
    """Put together from its pieces."""
    assert ended(USAGE[:9], USAGE[9:])[1].usage == {"prompt_tokens": 3}


def test_a_stream_is_whole_by_its_end_mark_alone() -> None:
    """However its transport ended; an error inside it is a failure."""
    assert ended(watch=watched(b"data: [DONE]\n\n"), complete=False)[0] is Event.BODY_COMPLETED
    event, sighting = ended(watch=watched(b"data: {}\n\n"))
    assert event is Event.BODY_BROKE_OFF
    assert sighting.error is not None
    assert sighting.error.code == "UPSTREAM_BROKEN"
    assert ended(watch=watched(b'data: {"error":{"x":1}}\n\n'))[0] is Event.BACKEND_REFUSED
