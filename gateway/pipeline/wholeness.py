"""Whether an answer is whole: the end of a file is not the end of a stream, whatever the transport says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.kernel.errors import UpstreamBrokenError
from gateway.pipeline.exchange import Event
from gateway.pipeline.ports import Admitted
from gateway.pipeline.relayed import Answer, Watch
from gateway.pipeline.sighting import Sighting

BODY_KEPT_BYTES_MAX: Final = 256 * 1024
"""Of an answer that is not streamed this much is kept to read its usage; larger ones go unread."""


def how_it_ended(
    answer: Answer, admitted: Admitted, watch: Watch | None, kept: Sequence[bytes], sighting: Sighting
) -> Event:
    """Return what the end of an answer is; note its usage, and the error where it is not whole."""
    if watch is not None and answer.status < 400:
        if watch.error_seen:
            return Event.BACKEND_REFUSED
        whole = watch.done
    else:
        usage, readable = admitted.api.usage_of_body(b"".join(kept))
        sighting.usage = None if admitted.opaque else usage
        whole = answer.complete or readable
    if whole:
        return Event.BODY_COMPLETED if answer.status < 400 else Event.BACKEND_REFUSED
    sighting.error = UpstreamBrokenError("the backend ended its answer without its end mark")
    return Event.BODY_BROKE_OFF
