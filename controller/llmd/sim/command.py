"""`lumyn sim`, and `python -m controller.llmd.sim`: run the simulated llm-d alone, until a signal.

A composition root: the only file of the simulator that names the real clock, files and signals.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import time
from pathlib import Path
from typing import Any

import typer
import uvloop

from controller.llmd.sim import options
from controller.llmd.sim.config import SimConfig, SimConfigError
from controller.llmd.sim.flags import LATENCY_FLAGS, Flags, config_from_flags
from controller.llmd.sim.server import EmbeddedSim


def sim(
    preset: options.Preset = None,
    config: options.Config = None,
    host: options.Host = "127.0.0.1",
    port: options.Port = 8200,
    seed: options.Seed = None,
    time_scale: options.TimeScale = None,
    mode: options.Mode = None,
    lengths: options.Lengths = None,
    tool_call_rate: options.ToolCallRate = None,
    model: options.Model = None,
    served_model_name: options.ServedModelName = None,
    hardware: options.Hardware = None,
    replicas: options.Replicas = None,
    slowdown: options.Slowdown = None,
    max_model_len: options.MaxModelLen = None,
    max_num_seqs: options.MaxNumSeqs = None,
    max_num_batched_tokens: options.MaxNumBatchedTokens = None,
    max_waiting_queue_length: options.MaxWaitingQueueLength = None,
    scheduling_policy: options.SchedulingPolicy = None,
    enable_kvcache: options.EnableKvcache = None,
    kv_cache_size: options.KvCacheSize = None,
    block_size: options.BlockSize = None,
    latency_calculator: options.LatencyCalculator = None,
    time_to_first_token: options.TimeToFirstToken = None,
    time_to_first_token_std_dev: options.TimeToFirstTokenStdDev = None,
    inter_token_latency: options.InterTokenLatency = None,
    inter_token_latency_std_dev: options.InterTokenLatencyStdDev = None,
    prefill_overhead: options.PrefillOverhead = None,
    prefill_time_per_token: options.PrefillTimePerToken = None,
    prefill_time_std_dev: options.PrefillTimeStdDev = None,
    time_factor_under_load: options.TimeFactorUnderLoad = None,
    failure_injection_rate: options.FailureInjectionRate = None,
    failure_types: options.FailureTypes = None,
    router: options.Router = None,
    router_version: options.RouterVersion = None,
    flow_control: options.FlowControl = None,
    startup_duration: options.StartupDuration = None,
    default_embedding_dimensions: options.DefaultEmbeddingDimensions = None,
    enable_request_id_headers: options.EnableRequestIdHeaders = None,
    pod_name: options.PodName = "",
    pod_namespace: options.PodNamespace = "",
) -> None:
    """Run a simulated llm-d: vLLM replicas behind the endpoint picker, with honest behaviour under load.

    Any of the compat flags replaces the step model by the latency formula of llm-d-inference-sim.
    """
    given = dict(locals())
    try:
        built = _configured(given)
    except (SimConfigError, OSError, UnicodeDecodeError) as error:
        typer.echo(f"lumyn sim: {error}", err=True)
        raise typer.Exit(2) from error
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(built, host, port))


def _configured(given: dict[str, Any]) -> SimConfig:
    """Return the configuration of the parameters of `sim`. Raise `SimConfigError`, OSError."""
    path: Path | None = given.pop("config")
    document = path.read_text(encoding="utf-8") if path is not None else None
    latencies = {name: given.pop(name) for name in LATENCY_FLAGS}
    for name in ("host", "port"):
        del given[name]
    for name in ("served_model_name", "failure_types"):
        given[name] = tuple(given[name] or ())
    given |= {"pod": given.pop("pod_name"), "namespace": given.pop("pod_namespace")}
    return config_from_flags(Flags(**given, latencies=latencies, document=document))


async def _serve(config: SimConfig, host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    server = EmbeddedSim(config, time.time)  # noqa: TID251 - a composition root hands the clock in
    try:
        base = await server.start(host, port)
    except OSError as error:
        typer.echo(f"lumyn sim: cannot listen on {host} port {port}: {error.strerror}; try --port", err=True)
        raise typer.Exit(1) from error
    models = ", ".join(f"{model.name} ({model.replicas})" for model in config.models)
    typer.echo(f"simulated llm-d at {base}/v1, models (replicas): {models}")
    # what is here now lives as long as the process: full collections need not walk it and stall the streams
    gc.freeze()
    await stop.wait()
    await server.stop()
