"""Responses and messages are governed like chats: each is capped in the field that its API has for that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.kit.toolgates import MODEL, gated
from tests.kit.toolstreams import message, response, text

INTENT = {
    "name": "short",
    "match": {"model": MODEL},
    "service_class": "standard",
    "output": {"max_tokens": 20},
    "quality": {"models": [MODEL], "floor": MODEL},
}
HELLO: Any = [{"role": "user", "content": "hello"}]
CASES = {
    "responses": (response([text("Hi")]), {"input": "hello"}, "max_output_tokens"),
    "messages": (message([text("Hi")]), {"messages": HELLO}, "max_tokens"),
}


@pytest.mark.parametrize("api", CASES)
@pytest.mark.parametrize("given", [None, 500, 7])
async def test_an_answer_is_capped_in_the_words_of_its_api(
    tmp_path: Path, api: str, given: int | None
) -> None:
    """The intent's ceiling is set where there is none or a higher one; a lower one stays as it is."""
    frames, asked, ceiling = CASES[api]
    models = [{"name": MODEL, "backend": "raw"}]
    async with gated(tmp_path, intents=[INTENT], models=models) as (one, backend):
        backend.says(frames)
        body = {"model": MODEL, "stream": True, **asked, **({} if given is None else {ceiling: given})}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{one.url}/{api}", json=body) as answer,
        ):
            assert answer.status == 200
            assert await answer.read() == b"".join(frames)
        [sent] = backend.heard
        assert sent[ceiling] == min(20, given or 20)
        [record] = await one.decisions()
        assert record["extensions"]["control"]["intent"] == "short"
        assert record["request"]["evidence"]["planned_max_tokens"] == min(20, given or 20)
        [outcome] = await one.outcomes()
        assert outcome["fate"] == "complete"
        assert outcome["usage"] == {"prompt_tokens": 3, "completion_tokens": 9}
