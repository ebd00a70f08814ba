"""The metrics of vLLM and of the llm-d endpoint picker, counted from a cluster's events. Pure.

Names, types and units are those of llm-d.md section B: `vllm:*` with `model_name` and `engine` (the number
of the replica), `llm_d_epp_*` for the picker. Real replicas and the picker have a page each; here one page
carries all. Durations are seconds of the client's clock: simulated seconds over the time scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from controller.llmd.sim.cluster import Cluster
from controller.llmd.sim.exposition import Family, exposition
from controller.llmd.sim.types import Dispatched, Dropped, Event, Finished, FirstToken, Tokens

FAIRNESS_LABELS_MAX: Final = 1000
"""Distinct fairness ids that get a series of their own; the rest are `other`, as in the real picker."""

_TTFT: Final = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0),
    *(80.0, 160.0, 640.0, 2560.0),
)
_ITL: Final = (
    *(
        0.01,
        0.025,
        0.05,
        0.075,
        0.1,
        0.15,
        0.2,
        0.3,
        0.4,
        0.5,
        0.75,
        1.0,
        2.5,
        5.0,
        7.5,
        10.0,
        20.0,
        40.0,
        80.0,
    ),
)
_LATENCY: Final = (
    *(
        0.3,
        0.5,
        0.8,
        1.0,
        1.5,
        2.0,
        2.5,
        5.0,
        10.0,
        15.0,
        20.0,
        30.0,
        40.0,
        50.0,
        60.0,
        120.0,
        240.0,
        480.0,
        960.0,
    ),
)
_COUNTS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000)
_STEP: Final = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
_QUEUE: Final = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)


@dataclass(slots=True)
class _Open:
    """What is known of a request in flight."""

    model: str
    arrived_at_s: float
    prompt_tokens: int
    max_tokens: int
    finish_reasons: Sequence[str]
    replica: int = 0
    picker: tuple[str, str, str, str] | None = None
    first_token_at_s: float = -1.0
    left: int = 1


class Telemetry:
    """Counts events; `render` adds the gauges of the moment."""

    def __init__(self, cluster: Cluster, time_scale: float) -> None:
        self._cluster = cluster
        self._scale = time_scale
        self._open: dict[str, _Open] = {}
        self._fairness: set[str] = set()
        self._families: dict[str, Family] = {}
        self._declare_vllm()
        self._declare_picker()

    # --- what happens ----------------------------------------------------------------------------

    def submitted(
        self, request_id: str, model: str, now: float, tokens: tuple[int, int], finish_reasons: Sequence[str]
    ) -> None:
        """A request arrived: its (prompt tokens, max tokens) and how each of its parts will end."""
        self._open[request_id] = _Open(
            model, now, tokens[0], tokens[1], finish_reasons, left=max(len(finish_reasons), 1)
        )

    def cancelled(self, request_id: str, *, queued: bool) -> None:
        """The client went away."""
        known = self._open.pop(request_id, None)
        if known is None:
            return
        if known.picker is not None:
            self._families["llm_d_epp_request_running"].add(known.picker, -1)
        if queued:
            self._queue_outcome(known.model, "EvictedContextCancelled", 0.0)
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

    def render(self) -> bytes:
        """Return the metrics page."""
        for pool in self._cluster.pools.values():
            self._gauges(pool.config.name)
        return exposition(self._families)

    # --- the inside ------------------------------------------------------------------------------

    def _find(self, request_id: str) -> tuple[_Open | None, int]:
        """Return what is known of a part's request, and the part's number."""
        known = self._open.get(request_id)
        if known is not None:
            return known, 0
        root, _, part = request_id.rpartition("/")
        return self._open.get(root), int(part) if part.isdigit() else 0

    def _engine(self, known: _Open) -> tuple[str, str]:
        return known.model, str(known.replica)

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
        families["vllm:iteration_tokens_total"].observe(labels, count + event.prefill_tokens)

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
                waited = (event.at_s - known.arrived_at_s) / self._scale
                self._families["llm_d_epp_request_ttft_seconds"].observe(known.picker, waited)
                self._families["llm_d_epp_request_cached_tokens"].observe(known.picker, event.cached_tokens)

    def _finished(self, event: Finished) -> None:
        known, part = self._find(event.request_id)
        if known is None:
            return
        labels, families, scale = self._engine(known), self._families, self._scale
        reason = known.finish_reasons[part] if part < len(known.finish_reasons) else "stop"
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
            ("request_params_max_tokens", known.max_tokens),
        ):
            families[f"vllm:{name}"].observe(labels, value)
        if event.output_tokens > 1:
            per_token = decode / (event.output_tokens - 1)
            families["vllm:request_time_per_output_token_seconds"].observe(labels, per_token)
            if known.picker is not None:
                families["llm_d_epp_request_streaming_tpot_seconds"].observe(known.picker, per_token)
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
        known.picker = (event.model, known.model, fairness, str(event.priority))
        families = self._families
        families["llm_d_epp_request_total"].add(known.picker)
        families["llm_d_epp_request_running"].add(known.picker)
        families["llm_d_epp_request_input_tokens"].observe(known.picker, known.prompt_tokens)
        if event.queue_s is not None:
            self._queue_outcome(known.model, "Dispatched", event.queue_s)

    def _dropped(self, event: Dropped) -> None:
        known = self._open.pop(event.request_id, None)
        if known is None:
            return
        labels = known.picker or (event.model, known.model, "default-flow", str(event.priority))
        if known.picker is not None:
            self._families["llm_d_epp_request_running"].add(known.picker, -1)
        code = event.reason or str(event.status)
        self._families["llm_d_epp_request_error_total"].add((*labels, code))
        if event.kind == "router" and event.reason is not None and not event.evicted:
            self._queue_outcome(known.model, event.outcome, event.queue_s)
        if event.kind == "engine":
            self._families["vllm:admission_rejections_total"].add((*self._engine(known), "queue_full"))

    def _queue_outcome(self, model: str, outcome: str, queue_s: float) -> None:
        self._families["llm_d_epp_flow_control_requests_total"].add((model, outcome))
        self._families["llm_d_epp_flow_control_request_queue_duration_seconds"].observe(
            (model, outcome), queue_s / self._scale
        )

    def _gauges(self, model: str) -> None:
        pool = self._cluster.pools[model]
        signals, families = pool.signals(), self._families
        for index, load in enumerate(signals.replicas):
            labels = (model, str(index))
            for name, value in (
                ("vllm:num_requests_running", load.running),
                ("vllm:num_requests_waiting", load.waiting),
                ("vllm:kv_cache_usage_perc", load.kv_usage),
                ("vllm:gpu_cache_usage_perc", load.kv_usage),
                ("vllm:num_preemptions_total", load.preemptions),
                ("vllm:prefix_cache_queries_total", load.prefix_queries),
                ("vllm:prefix_cache_hits_total", load.prefix_hits),
            ):
                families[name].set(labels, value)
            engine = pool.config.engine
            sizes = (str(engine.block_tokens), str(engine.kv_blocks))
            families["vllm:cache_config_info"].set((*labels, *sizes), 1)
            families["llm_d_epp_per_endpoint_queue_size"].set((model, f"{model}-{index}"), load.waiting)
        count = max(len(signals.replicas), 1)
        stage = (model, "effective")
        families["llm_d_epp_flow_control_pool_saturation"].set(stage, min(signals.saturation, 1e6))
        families["llm_d_epp_average_kv_cache_utilization"].set((model,), signals.kv_usage)
        families["llm_d_epp_average_queue_size"].set((model,), signals.waiting / count)
        families["llm_d_epp_average_running_requests"].set((model,), signals.running / count)
        families["llm_d_epp_ready_endpoints"].set((model,), pool.router.ready_endpoints)
        families["llm_d_epp_inflight_requests"].set((model,), signals.in_flight)
        self._queue_gauges(model)

    def _queue_gauges(self, model: str) -> None:
        router = self._cluster.pools[model].router
        size = self._families["llm_d_epp_flow_control_queue_size"]
        used = self._families["llm_d_epp_flow_control_capacity_utilization_requests"]
        size.clear_where(model)
        used.clear_where(model)
        bands: dict[int, int] = {}
        for (priority, fairness), count in router.queue_sizes().items():
            size.add((model, fairness if fairness in self._fairness else "other", str(priority)), count)
            bands[priority] = bands.get(priority, 0) + count
        if not bands:
            size.set((model, "default-flow", "0"), 0)
        for priority, count in bands.items():
            used.set((model, str(priority)), count / router.config.band_requests_max)

    def _declare_vllm(self) -> None:
        labels = ("model_name", "engine")
        for name, text in (
            ("num_requests_running", "Number of requests in model execution batches."),
            ("num_requests_waiting", "Number of requests waiting to be processed."),
            ("kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage."),
            ("gpu_cache_usage_perc", "KV-cache usage, under its older name."),
        ):
            self._declare(Family(f"vllm:{name}", "gauge", text, labels))
        info = (*labels, "block_size", "num_gpu_blocks")
        self._declare(Family("vllm:cache_config_info", "gauge", "The cache's configuration.", info))
        for name, text in (
            ("prompt_tokens_total", "Number of prefill tokens processed."),
            ("generation_tokens_total", "Number of generation tokens processed."),
            ("num_preemptions_total", "Cumulative number of preemptions."),
            ("prefix_cache_queries_total", "Prefix cache queries, in tokens."),
            ("prefix_cache_hits_total", "Prefix cache hits, in tokens."),
        ):
            self._declare(Family(f"vllm:{name}", "counter", text, labels))
        self._declare(
            Family(
                "vllm:request_success_total",
                "counter",
                "Requests by how they ended.",
                (*labels, "finished_reason"),
            )
        )
        self._declare(
            Family("vllm:admission_rejections_total", "counter", "Requests refused.", (*labels, "reason"))
        )
        for name, bounds in (
            ("time_to_first_token_seconds", _TTFT),
            ("inter_token_latency_seconds", _ITL),
            ("request_time_per_output_token_seconds", _ITL),
            ("e2e_request_latency_seconds", _LATENCY),
            ("request_queue_time_seconds", _LATENCY),
            ("request_prefill_time_seconds", _LATENCY),
            ("request_decode_time_seconds", _LATENCY),
            ("request_inference_time_seconds", _LATENCY),
            ("request_prompt_tokens", _COUNTS),
            ("request_generation_tokens", _COUNTS),
            ("request_params_max_tokens", _COUNTS),
            ("iteration_tokens_total", _STEP),
        ):
            text = f"Histogram of {name.removesuffix('_seconds').replace('_', ' ')}."
            self._declare(Family(f"vllm:{name}", "histogram", text, labels, bounds))

    def _declare_picker(self) -> None:
        request = ("model_name", "target_model_name", "fairness_id", "priority")
        pool = ("inference_pool",)
        outcome = ("inference_pool", "outcome")
        self._declare(Family("llm_d_epp_request_total", "counter", "Requests of the picker.", request))
        errors = (*request, "error_code")
        self._declare(Family("llm_d_epp_request_error_total", "counter", "Requests refused or cut.", errors))
        for name, bounds in (
            ("request_duration_seconds", _LATENCY),
            ("request_ttft_seconds", _TTFT),
            ("request_streaming_tpot_seconds", _ITL),
            ("request_ntpot_seconds", _ITL),
            ("request_input_tokens", _COUNTS),
            ("request_output_tokens", _COUNTS),
            ("request_cached_tokens", _COUNTS),
        ):
            self._declare(
                Family(f"llm_d_epp_{name}", "histogram", "Of the picker's requests.", request, bounds)
            )
        gauges: dict[str, tuple[str, ...]] = {
            "request_running": request,
            "average_kv_cache_utilization": ("name",),
            "average_queue_size": ("name",),
            "average_running_requests": ("name",),
            "ready_endpoints": ("name",),
            "per_endpoint_queue_size": ("name", "model_server_endpoint"),
            "inflight_requests": pool,
            "flow_control_pool_saturation": ("inference_pool", "stage"),
            "flow_control_queue_size": ("inference_pool", "fairness_id", "priority"),
            "flow_control_capacity_utilization_requests": ("inference_pool", "priority"),
        }
        for name, names in gauges.items():
            self._declare(Family(f"llm_d_epp_{name}", "gauge", "Of the pool, now.", names))
        self._declare(Family("llm_d_epp_flow_control_requests_total", "counter", "By outcome.", outcome))
        name = "llm_d_epp_flow_control_request_queue_duration_seconds"
        self._declare(Family(name, "histogram", "Time in flow control.", outcome, _QUEUE))

    def _declare(self, family: Family) -> None:
        self._families[family.name] = family
