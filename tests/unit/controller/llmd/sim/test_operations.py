"""Over real sockets: what a test run changes on a server that is running."""

from dataclasses import replace

import pytest

from controller.llmd.sim.config import Lora, ModelConfig, SimConfig
from controller.llmd.sim.engine_config import CompatLatency
from controller.llmd.sim.fake_metrics import FakeMetrics
from tests.kit.simulator import CONFIG, ENGINE, HI, gauge, posted, serving

COMPAT = SimConfig(
    models=(ModelConfig(name="c", engine=replace(ENGINE, overhead_ms=0, latency=CompatLatency(ttft_ms=40))),)
)


async def changed(http, **changes):
    """Return (status, body) of a change."""
    async with http.post("/admin/config", json=changes) as answer:
        return answer.status, await answer.json()


async def test_latencies_change_at_run_time_in_compat_mode():
    """The next request is drawn by them; a wrong one changes nothing; a step model has none."""
    async with serving(COMPAT) as (_, client, http):
        status, shown = await changed(
            http, **{"time-to-first-token": "1ms", "kv-cache-transfer-latency": "9ms"}
        )
        assert status == 200
        engine = shown["models"][0]["engine"]
        assert (engine["latency"]["ttft_ms"], engine["transfer"]["latency_ms"]) == (1, 9)
        await client.chat.completions.create(model="c", messages=HI, max_tokens=1)
        assert await gauge(http, "vllm:time_to_first_token_seconds_sum") < 0.03
        status, told = await changed(http, **{"inter-token-latency": "5ms", "time-factor-under-load": 0.5})
        assert (status, told["error"]["type"]) == (400, "BadRequestError")
        async with http.get("/admin/config") as answer:
            assert (await answer.json())["models"][0]["engine"]["latency"]["itl_ms"] == 0
    async with serving() as (_, _client, http):
        assert (await changed(http, **{"inter-token-latency": "5ms"}))[0] == 400
        assert (await changed(http, **{"kv-cache-transfer-latency": "5ms"}))[0] == 200


async def test_fake_metrics_stand_for_the_real_ones():
    """Traffic does not move them, a change does, by either way; without them there is nothing to change."""
    fake = FakeMetrics(running_requests=7, kv_cache_usage=0.5)
    async with serving(replace(CONFIG, fake_metrics=fake)) as (_, client, http):
        await client.chat.completions.create(model="big", messages=HI, max_tokens=2)
        assert await gauge(http, "vllm:num_requests_running") == 14  # of each of two models
        assert await gauge(http, "vllm:e2e_request_latency_seconds_count") == 0
        assert await gauge(http, "llm_d_epp_request_total") == 1
        assert (await changed(http, **{"fake-metrics": {"running-requests": 3}}))[0] == 200
        assert await gauge(http, "vllm:num_requests_running") == 6
        assert await posted(http, "/fake_metrics", json={"running-requests": 1}) == 204
        assert await gauge(http, "vllm:num_requests_running") == 2
        assert await posted(http, "/fake_metrics", json={"running-requests": -1}) == 400
        assert await gauge(http, "vllm:kv_cache_usage_perc") == 1.0
    async with serving() as (_, _client, http):
        assert (await changed(http, **{"fake-metrics": {"running-requests": 3}}))[0] == 400


async def test_adapters_are_loaded_used_told_and_unloaded():
    """As a model of their own, with its parent; blocks are not shared with the base; errors as vLLM's."""
    model = replace(CONFIG.models[0], loras=(Lora(name="first", path="/first"),))
    long = [{"role": "user", "content": "Tell me of the order, please. " * 20}]
    async with serving(replace(CONFIG, models=(model,))) as (_, client, http):
        load = {"lora_name": "second", "lora_path": "/second"}
        assert await posted(http, "/v1/load_lora_adapter", json=load) == 200
        assert await posted(http, "/v1/load_lora_adapter", json=load) == 400
        assert await posted(http, "/v1/load_lora_adapter", json={"lora_name": "x"}) == 400
        assert (
            await posted(
                http, "/v1/load_lora_adapter", json=load | {"lora_name": "x", "base_model_name": "n"}
            )
            == 404
        )
        cards = {card.id: card async for card in client.models.list()}
        assert (cards["second"].parent, cards["second"].root) == ("big", "/second")
        assert cards["big"].parent is None
        cached = {}
        for name in ("big", "first", "first", "second"):
            answer = await client.chat.completions.create(model=name, messages=long, max_tokens=2)
            assert answer.model == name
            cached[name] = answer.usage.prompt_tokens_details.cached_tokens
        assert cached["first"] > 0
        assert cached["big"] == cached["second"] == 0
        async with http.get("/metrics") as page:
            text = await page.text()
        assert 'vllm:lora_requests_info{model_name="big",engine="0",max_lora="1"' in text
        assert 'llm_d_epp_request_total{model_name="first",target_model_name="first"' in text
        assert await posted(http, "/v1/unload_lora_adapter", json={"lora_name": "first"}) == 200
        assert await posted(http, "/v1/unload_lora_adapter", json={"lora_name": "first"}) == 404
        assert await posted(http, "/v1/unload_lora_adapter", json={}) == 400
        body = {"model": "first", "messages": HI}
        assert await posted(http, "/v1/chat/completions", json=body) == 404


@pytest.mark.parametrize("enabled", [True, False])
async def test_sleep_is_taken_when_it_is_enabled(enabled):
    """Otherwise accepted and ignored; waking up is always possible."""
    async with serving(replace(CONFIG, sleep_mode=enabled)) as (_, _client, http):
        for path, expected in (("/sleep", enabled), ("/wake_up?tags=weights", False)):
            assert await posted(http, path) == 200
            async with http.get("/is_sleeping") as answer:
                assert await answer.json() == {"is_sleeping": expected}


async def test_wrong_changes_change_nothing():
    """A body with one wrong field is refused whole."""
    async with serving() as (_, _client, http):
        for wrong in ({"slowdown": 2, "unknown": 1}, {"image-emission-rate": 101}, {"failure-types": "all"}):
            assert (await changed(http, **wrong))[0] == 400
        async with http.get("/admin/config") as answer:
            assert (await answer.json())["faults"]["big"]["slowdown"] == 1.0
