"""Over real sockets: what a request may ask for beside its answer."""

import io
from dataclasses import replace

import orjson
import pytest

from controller.llmd.sim.config import ModelConfig, Omni, SimConfig
from controller.llmd.sim.engine_config import CompatLatency
from controller.llmd.sim.images import IMAGE_BLOCK
from tests.kit.simulator import CONFIG, ENGINE, HI, gauge, serving

LONG = [{"role": "user", "content": "Tell me of the order, please. " * 20}]
BODY = {"model": "big", "messages": HI, "max_tokens": 8}


async def asked(http, path="/v1/chat/completions", headers=None, **changes):
    """Return (status, headers, body) of a request."""
    async with http.post(path, json=BODY | changes, headers=headers) as answer:
        return answer.status, answer.headers, await answer.read()


async def test_the_load_header_comes_when_it_is_asked_for():
    """Whole and streamed, in both formats."""
    async with serving() as (_, _client, http):
        for stream in (False, True):
            _, headers, _ = await asked(http, headers={"endpoint-load-metrics-format": "TEXT"}, stream=stream)
            assert headers["endpoint-load-metrics"].startswith("TEXT named_metrics.kv_cache_usage_perc=")
        _, headers, _ = await asked(http, headers={"endpoint-load-metrics-format": "JSON"})
        assert "named_metrics" in orjson.loads(headers["endpoint-load-metrics"].removeprefix("JSON "))
        _, headers, _ = await asked(http)
        assert "endpoint-load-metrics" not in headers


async def test_per_request_metrics_are_told_when_enabled():
    """On the body and on the usage chunk; null for several choices, absent when off."""
    async with serving(replace(CONFIG, per_request_metrics=True)) as (_, _client, http):
        whole = orjson.loads((await asked(http))[2])
        assert whole["metrics"]["time_to_first_token_ms"] > 0
        assert orjson.loads((await asked(http, n=2))[2])["metrics"] is None
        _, _, raw = await asked(http, stream=True, stream_options={"include_usage": True})
        assert b'"tokens_per_second"' in raw.split(b"\n\n")[-3]
    async with serving() as (_, _client, http):
        assert b"metrics" not in (await asked(http))[2]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_cold_prompt_ends_with_its_reason(stream):
    """By the body's threshold, or forced by the header; what is warm is answered."""
    async with serving() as (_, _client, http):
        forced = {"X-Cache-Threshold-Finish-Reason": "true"}
        for changes, headers in (({"cache_hit_threshold": 0.5}, None), ({}, forced)):
            status, _, raw = await asked(http, headers=headers, stream=stream, messages=LONG, **changes)
            assert status == 200
            assert b'"finish_reason":"cache_threshold"' in raw
        await asked(http, messages=LONG)
        _, _, raw = await asked(http, stream=stream, messages=LONG, cache_hit_threshold=0.5)
        assert b"cache_threshold" not in raw
        assert (await asked(http, cache_hit_threshold=2))[0] == 400
        assert await gauge(http, "vllm:num_requests_running") == 0


async def test_a_prompt_computed_elsewhere_takes_the_transfer():
    """And the server that computes prompts for others says so, whole only."""
    engine = replace(ENGINE, overhead_ms=0, latency=CompatLatency(ttft_ms=300))
    config = SimConfig(models=(ModelConfig(name="big", engine=engine),))
    async with serving(config) as (_, _client, http):
        await asked(http, kv_transfer_params={"do_remote_prefill": True})
        transferred = await gauge(http, "vllm:time_to_first_token_seconds_sum")
        assert transferred < 0.3 / config.time_scale
        status, _, raw = await asked(http, kv_transfer_params={"do_remote_decode": True})
        told = orjson.loads(raw)
        assert (status, told["choices"][0]["finish_reason"]) == (200, "remote_decode")
        assert told["kv_transfer_params"]["do_remote_prefill"] is True
        assert (await asked(http, kv_transfer_params={"do_remote_decode": True}, stream=True))[0] == 400
        assert (await asked(http, kv_transfer_params=5))[0] == 400


async def test_images_come_by_header_or_rate():
    """After the text, before the finish reason; only in chat, only when the server has them."""
    wanted = {"X-Send-Image": "true"}
    async with serving(replace(CONFIG, omni=Omni(enabled=True, image_ms=20))) as (_, _client, http):
        whole = orjson.loads((await asked(http, headers=wanted))[2])
        assert whole["choices"][0]["message"]["content"][1] == IMAGE_BLOCK
        _, _, raw = await asked(http, headers=wanted, stream=True)
        assert raw.index(b'"modality":"image"') < raw.index(b'"finish_reason":"') < raw.index(b"[DONE]")
        assert b"image_url" not in (await asked(http))[2]
        async with http.post("/admin/config", json={"image-emission-rate": 100}) as answer:
            assert answer.status == 200
        assert b"image_url" in (await asked(http))[2]
    async with serving() as (_, _client, http):
        assert b"image_url" not in (await asked(http, headers=wanted))[2]


async def test_token_ids_go_in_and_out():
    """VLLM's generate, whole and streamed; the render endpoints tell the ids of a prompt."""
    async with serving() as (_, client, http):
        body = {"token_ids": [5, 6, 7], "sampling_params": {"max_tokens": 4, "ignore_eos": True}}
        async with http.post("/inference/v1/generate", json=body) as answer:
            whole = await answer.json()
        assert len(whole["choices"][0]["token_ids"]) == 4
        async with http.post("/inference/v1/generate", json=body | {"stream": True}) as answer:
            raw = await answer.read()
        events = [orjson.loads(each[6:]) for each in raw.split(b"\n\n") if each and b"[DONE]" not in each]
        assert [event["choices"][0]["token_ids"][0] for event in events] == whole["choices"][0]["token_ids"]
        for wrong in ({"token_ids": []}, {"token_ids": ["a"]}, {"sampling_params": None}):
            async with http.post("/inference/v1/generate", json=body | wrong) as answer:
                assert answer.status == 400
        usage = (await client.chat.completions.create(**BODY)).usage
        async with http.post("/v1/chat/completions/render", json=BODY) as answer:
            assert len((await answer.json())["token_ids"]) == usage.prompt_tokens
        async with http.post(
            "/v1/completions/render", json={"model": "big", "prompt": ["a b", "c"]}
        ) as answer:
            assert [len(each["token_ids"]) for each in await answer.json()] == [2, 1]
        async with http.post("/v1/completions/render", json={"model": "no", "prompt": "a"}) as answer:
            assert answer.status == 404


async def test_bodies_are_bounded_as_configured():
    """413 in the API's shape."""
    async with serving(replace(CONFIG, body_mb_max=1)) as (_, _client, http):
        body = io.BytesIO(b'{"model": "big", "prompt": "' + b"x" * 1_200_000 + b'"}')
        async with http.post("/v1/completions", data=body) as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (413, 413)
