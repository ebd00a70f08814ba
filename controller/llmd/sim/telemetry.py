"""The metrics of vLLM and of the llm-d endpoint picker, counted from a cluster's events. Pure.

Names, types and units are those of `metric_names.py`. Real replicas and the picker have a page each; here one
page carries all. Durations are seconds of the client's clock: simulated seconds over the time scale.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from controller.llmd.sim.cluster import Cluster
from controller.llmd.sim.exposition import exposition
from controller.llmd.sim.fake_metrics import FakeMetrics
from controller.llmd.sim.intent import DEFAULT_FLOW, LlmdIntent
from controller.llmd.sim.metric_names import picker_families, vllm_families
from controller.llmd.sim.pool import Pool
from controller.llmd.sim.types import NO_INTENT, Dispatched, Dropped, Event, Finished, FirstToken, Tokens

FAIRNESS_LABELS_MAX: Final = 1000
"""Distinct fairness ids that get a series of their own; the rest are `other`, as in the real picker."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What telemetry must know of a request that begins.

    `model` is the pool's name, `asked` and `target` the names before and after the picker's rewrite;
    `finish_reasons` tell how each of its parts will end.
    """

    model: str
    prompt_tokens: int
    max_tokens: int
    finish_reasons: Sequence[str]
    asked: str = ""
    target: str = ""
    intent: LlmdIntent = NO_INTENT


@dataclass(slots=True)
class _Open:
    """What is known of a request in flight."""

    arrival: Arrival
    arrived_at_s: float
    replica: int = 0
    picker: tuple[str, str, str, str] | None = None
    predicted: bool = False
    first_token_at_s: float = -1.0
    left: int = 1


class Telemetry:
    """Counts events; `render` adds the gauges of the moment."""

    def __init__(self, cluster: Cluster, time_scale: float, rank: int = 0) -> None:
        self._cluster = cluster
        self._scale = time_scale
        self._rank = rank
        self._open: dict[str, _Open] = {}
        self._fairness: set[str] = set()
        self._context_max = max(pool.config.engine.context_max for pool in cluster.pools.values())
        self._families = vllm_families(self._context_max) | picker_families(self._context_max)

    # --- what happens ----------------------------------------------------------------------------

    def submitted(self, request_id: str, arrival: Arrival, now: float) -> None:
        """A request arrived."""
        self._open[request_id] = _Open(arrival, now, left=max(len(arrival.finish_reasons), 1))

    def cancelled(self, request_id: str, *, queued: bool) -> None:
        """The client went away."""
        known = self._open.pop(request_id, None)
        if known is None:
            return
        if known.picker is not None:
            self._families["llm_d_epp_request_running"].add(known.picker, -1)
        if queued:
            self._queue_outcome(known.arrival.model, "EvictedContextCancelled", 0.0)
        else:
            self._families["vllm:request_success_total"].add((*self._engine(known), "abort"))

    def observe(self, event: Event) -> None:
        """Count one event."""
        match event:
            case Tokens():
                self._tokens(event)
            case FirstToken():
                self._first_token(event)
            case Finished():
                self._finished(event)
            case Dispatched():
                self._dispatched(event)
            case Dropped():
                self._dropped(event)
            case _:
                pass  # preemptions are counted by the engine itself

    def render(self, wall_s: float = 0.0, fake: tuple[FakeMetrics, float] | None = None) -> bytes:
        """Return the metrics page; `wall_s` dates what is dated.

        `fake`, with the seconds since they are told, stand for all that vLLM says; the picker's are real.
        """
        for pool in self._cluster.pools.values():
            self._engine_gauges(pool, wall_s)
            self._pool_gauges(pool)
            self._queue_gauges(pool)
        families = dict(self._families)
        if fake is not None:
            metrics, elapsed_s = fake
            models = list(self._cluster.pools)
            families |= metrics.families(models, str(self._rank), (elapsed_s, wall_s), self._context_max)
        return exposition(families)

    # --- the inside ------------------------------------------------------------------------------

    def _find(self, request_id: str) -> tuple[_Open | None, int]:
        """Return what is known of a part's request, and the part's number."""
        known = self._open.get(request_id)
        if known is not None:
            return known, 0
        root, _, part = request_id.rpartition("/")
        return self._open.get(root), int(part) if part.isdigit() else 0

    def _engine(self, known: _Open) -> tuple[str, str]:
        return known.arrival.model, str(self._rank + known.replica)

    def _tokens(self, event: Tokens) -> None:
        count = len(event.request_ids)
        if not count:
            return
        known, _ = self._find(event.request_ids[0])
        if known is None:
            return
        labels = self._engine(known)
        gap = event.gap_s / self._scale
        families = self._families
        families["vllm:generation_tokens_total"].add(labels, count)
        families["vllm:inter_token_latency_seconds"].observe(labels, gap, count)
        families["vllm:time_per_output_token_seconds"].observe(labels, gap, count)
        families["vllm:iteration_tokens_total"].observe(labels, count + event.prefill_tokens)
        for picker, times in Counter(map(self._picker_of, event.request_ids)).items():
            if picker is not None:
                families["llm_d_epp_request_streaming_itl_seconds"].observe(picker, gap, times)

    def _picker_of(self, request_id: str) -> tuple[str, str, str, str] | None:
        known, _ = self._find(request_id)
        return known.picker if known is not None else None

    def _first_token(self, event: FirstToken) -> None:
        known, _ = self._find(event.request_id)
        if known is None:
            return
        labels = self._engine(known)
        self._families["vllm:generation_tokens_total"].add(labels)
        self._families["vllm:time_to_first_token_seconds"].observe(
            labels, (event.at_s - event.arrived_at_s) / self._scale
        )
        if known.first_token_at_s < 0:
            known.first_token_at_s = event.at_s
            if known.picker is not None:
                waited = event.at_s - known.arrived_at_s
                self._families["llm_d_epp_request_ttft_seconds"].observe(known.picker, waited / self._scale)
                self._families["llm_d_epp_request_cached_tokens"].observe(known.picker, event.cached_tokens)
                self._violation(known, "ttft", waited, known.arrival.intent.ttft_ms)

    def _violation(self, known: _Open, kind: str, took_s: float, objective_ms: int | None) -> None:
        """Count an objective that a predicted request did not keep."""
        if known.predicted and known.picker and objective_ms is not None and took_s * 1000 > objective_ms:
            self._families["llm_d_epp_request_slo_violation_total"].add((*known.picker[:2], kind))

    def _finished(self, event: Finished) -> None:
        known, part = self._find(event.request_id)
        if known is None:
            return
        labels, families, scale = self._engine(known), self._families, self._scale
        reasons = known.arrival.finish_reasons
        reason = reasons[part] if part < len(reasons) else "stop"
        if event.cold:
            reason = "cache_threshold"
        families["vllm:request_success_total"].add((*labels, "stop" if reason == "tool_calls" else reason))
        families["vllm:prompt_tokens_total"].add(labels, event.prompt_tokens)
        decode = (event.at_s - event.first_token_at_s) / scale
        for name, value in (
            ("e2e_request_latency_seconds", (event.at_s - event.arrived_at_s) / scale),
            ("request_queue_time_seconds", (event.scheduled_at_s - event.arrived_at_s) / scale),
            ("request_prefill_time_seconds", (event.first_token_at_s - event.scheduled_at_s) / scale),
            ("request_decode_time_seconds", decode),
            ("request_inference_time_seconds", (event.at_s - event.scheduled_at_s) / scale),
            ("request_prompt_tokens", event.prompt_tokens),
            ("request_generation_tokens", event.output_tokens),
            ("request_max_num_generation_tokens", event.output_tokens),
            ("request_params_max_tokens", known.arrival.max_tokens),
        ):
            families[f"vllm:{name}"].observe(labels, value)
        if event.output_tokens > 1:
            per_token = decode / (event.output_tokens - 1)
            families["vllm:request_time_per_output_token_seconds"].observe(labels, per_token)
            if known.picker is not None:
                families["llm_d_epp_request_streaming_tpot_seconds"].observe(known.picker, per_token)
                self._violation(known, "tpot", per_token * scale, known.arrival.intent.tpot_ms)
        known.left -= 1
        if known.picker is not None:
            families["llm_d_epp_request_output_tokens"].observe(known.picker, event.output_tokens)
            normalised = (event.at_s - known.arrived_at_s) / scale / max(event.output_tokens, 1)
            families["llm_d_epp_request_ntpot_seconds"].observe(known.picker, normalised)
            if not known.left:
                families["llm_d_epp_request_running"].add(known.picker, -1)
                duration = (event.at_s - known.arrived_at_s) / scale
                families["llm_d_epp_request_duration_seconds"].observe(known.picker, duration)
        if not known.left:
            request_id = (
                event.request_id if event.request_id in self._open else event.request_id.rpartition("/")[0]
            )
            del self._open[request_id]

    def _dispatched(self, event: Dispatched) -> None:
        known = self._open.get(event.request_id)
        if known is None:
            return
        fairness = event.fairness_id
        if fairness not in self._fairness and len(self._fairness) >= FAIRNESS_LABELS_MAX:
            fairness = "other"
        self._fairness.add(fairness)
        known.replica = event.replica
        known.picker = (*_names(known.arrival), fairness, str(event.priority))
        families = self._families
        families["llm_d_epp_request_total"].add(known.picker)
        families["llm_d_epp_request_running"].add(known.picker)
        families["llm_d_epp_request_input_tokens"].observe(known.picker, known.arrival.prompt_tokens)
        if event.queue_s is not None:
            self._queue_outcome(event.model, "Dispatched", event.queue_s)
        if event.predicted is not None:
            known.predicted = True
            for name, seconds in zip(("ttft", "tpot"), event.predicted, strict=True):
                family = families[f"llm_d_epp_request_predicted_{name}_seconds"]
                family.observe(known.picker[:2], seconds / self._scale)

    def _dropped(self, event: Dropped) -> None:
        known = self._open.pop(event.request_id, None)
        if known is None:
            return
        labels = known.picker or (*_names(known.arrival), DEFAULT_FLOW, str(event.priority))
        if known.picker is not None:
            self._families["llm_d_epp_request_running"].add(known.picker, -1)
        code = event.reason or str(event.status)
        self._families["llm_d_epp_request_error_total"].add((*labels, code))
        if event.kind == "router" and event.reason is not None and not event.evicted:
            self._queue_outcome(event.model, event.outcome, event.queue_s)
        if event.kind == "engine":
            self._families["vllm:admission_rejections_total"].add((*self._engine(known), "queue_full"))

    def _queue_outcome(self, model: str, outcome: str, queue_s: float) -> None:
        self._families["llm_d_epp_flow_control_requests_total"].add((model, outcome))
        self._families["llm_d_epp_flow_control_request_queue_duration_seconds"].observe(
            (model, outcome), queue_s / self._scale
        )

    def _engine_gauges(self, pool: Pool, wall_s: float) -> None:
        model, engine, families = pool.config.name, pool.config.engine, self._families
        families["vllm:lora_requests_info"].clear_where(model)
        for index, replica in enumerate(pool.replicas):
            load = replica.load()
            labels = (model, str(self._rank + index))
            for name, value in (
                ("num_requests_running", load.running),
                ("num_requests_waiting", load.waiting),
                ("kv_cache_usage_perc", load.kv_usage),
                ("gpu_cache_usage_perc", load.kv_usage),
                ("num_preemptions_total", load.preemptions),
                ("prefix_cache_queries_total", load.prefix_queries),
                ("prefix_cache_hits_total", load.prefix_hits),
            ):
                families[f"vllm:{name}"].set(labels, value)
            sizes = (str(engine.block_tokens), str(engine.kv_blocks))
            families["vllm:cache_config_info"].set((*labels, *sizes), 1)
            families["llm_d_epp_per_endpoint_queue_size"].set((model, f"{model}-{index}"), load.waiting)
            if pool.loras:
                running, waiting = (",".join(names) for names in replica.loras())
                lora = (str(engine.max_loras), waiting, running)
                families["vllm:lora_requests_info"].set((*labels, *lora), wall_s)

    def _pool_gauges(self, pool: Pool) -> None:
        signals, model = pool.signals(), pool.config.name
        count = max(len(signals.replicas), 1)
        for name, labels, value in (
            ("flow_control_pool_saturation", (model, "effective"), min(signals.saturation, 1e6)),
            ("flow_control_stale_endpoints", (model,), pool.router.stale_endpoints),
            ("average_kv_cache_utilization", (model,), signals.kv_usage),
            ("average_queue_size", (model,), signals.waiting / count),
            ("average_running_requests", (model,), signals.running / count),
            ("ready_endpoints", (model,), pool.router.ready_endpoints),
            ("inflight_requests", (model,), signals.in_flight),
            ("inflight_tokens", (model,), pool.in_flight_tokens()),
        ):
            self._families[f"llm_d_epp_{name}"].set(labels, value)

    def _queue_gauges(self, pool: Pool) -> None:
        router, model = pool.router, pool.config.name
        size = self._families["llm_d_epp_flow_control_queue_size"]
        used = self._families["llm_d_epp_flow_control_capacity_utilization_requests"]
        size.clear_where(model)
        used.clear_where(model)
        bands: dict[int, int] = {}
        for (priority, fairness), count in router.queue_sizes().items():
            size.add((model, fairness if fairness in self._fairness else "other", str(priority)), count)
            bands[priority] = bands.get(priority, 0) + count
        if not bands:
            size.set((model, DEFAULT_FLOW, "0"), 0)
        for priority, count in bands.items():
            used.set((model, str(priority)), count / router.config.band_requests_max)


def _names(arrival: Arrival) -> tuple[str, str]:
    """Return the names asked for and served, as the picker labels them."""
    return arrival.asked or arrival.model, arrival.target or arrival.model
