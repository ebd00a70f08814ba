"""`lumyn sim`, and `python -m controller.llmd.sim`: run the simulated llm-d alone, until a signal.

A composition root: the only file of the simulator that names the real clock, files and signals.
"""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop

from controller.llmd.sim.config import SimConfig, SimConfigError
from controller.llmd.sim.flags import Flags, config_from_flags
from controller.llmd.sim.server import EmbeddedSim


def sim(
    preset: Annotated[
        str | None, typer.Option(help="A cluster by name: llmd-demo, llmd-demo-small. [default: llmd-demo]")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="A YAML file with the keys of SimConfig, instead of a preset.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; the simulator asks for no key.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8200,
    seed: Annotated[int | None, typer.Option(help="Decides every draw: texts, lengths, faults.")] = None,
    time_scale: Annotated[
        float | None,
        typer.Option(help="Simulated seconds in one second: 5 makes everything five times faster."),
    ] = None,
    mode: Annotated[str | None, typer.Option(help="random text, or echo of the last user message.")] = None,
    lengths: Annotated[
        str | None,
        typer.Option(help="Answer lengths: azure-conv (a real trace's), or llm-d-sim (that simulator's)."),
    ] = None,
    tool_call_rate: Annotated[
        float | None, typer.Option(help="How often tool_choice auto leads to a tool call, 0 to 1.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(envvar="SIM_MODEL", help="Serve one model of this name, instead of a preset."),
    ] = None,
    served_model_name: Annotated[
        list[str] | None,
        typer.Option(help="Names to serve --model under; the first is its own, others aliases."),
    ] = None,
    hardware: Annotated[
        str | None,
        typer.Option(
            help="Step times of --model: 8b-h100, 70b-h100-tp4, 70b-h100-tp8, 1b-h100. [default: 8b-h100]"
        ),
    ] = None,
    replicas: Annotated[
        int | None, typer.Option("--replicas", "--data-parallel-size", help="Replicas of every model.")
    ] = None,
    slowdown: Annotated[
        float | None, typer.Option(help="Multiplies every step time: 4 is a quarter of the accelerator.")
    ] = None,
    max_model_len: Annotated[int | None, typer.Option(help="Context length. [compat: 1024]")] = None,
    max_num_seqs: Annotated[
        int | None, typer.Option(help="Running sequences of a replica. [compat: 5]")
    ] = None,
    max_num_batched_tokens: Annotated[int | None, typer.Option(help="Tokens of one step.")] = None,
    max_waiting_queue_length: Annotated[
        int | None, typer.Option(help="Requests that may wait in a replica; 0 is unbounded. [compat: 1000]")
    ] = None,
    scheduling_policy: Annotated[
        str | None, typer.Option(help="fcfs, or priority: the body's priority, lower is earlier.")
    ] = None,
    enable_kvcache: Annotated[
        bool | None,
        typer.Option("--enable-kvcache/--disable-kvcache", help="Share prefixes of prompts in the cache."),
    ] = None,
    kv_cache_size: Annotated[int | None, typer.Option(help="KV cache of a replica, in blocks.")] = None,
    block_size: Annotated[int | None, typer.Option(help="Tokens of one KV block.")] = None,
    latency_calculator: Annotated[
        str | None,
        typer.Option(help="constant or per-token: latencies by llm-d-inference-sim's formula (compat mode)."),
    ] = None,
    time_to_first_token: Annotated[
        str | None, typer.Option(help="Compat mode: mean TTFT; 100ms, or a number of milliseconds.")
    ] = None,
    time_to_first_token_std_dev: Annotated[
        str | None, typer.Option(help="Compat mode: its standard deviation, at most 30 %.")
    ] = None,
    inter_token_latency: Annotated[
        str | None, typer.Option(help="Compat mode: mean time between tokens.")
    ] = None,
    inter_token_latency_std_dev: Annotated[
        str | None, typer.Option(help="Compat mode: its standard deviation, at most 30 %.")
    ] = None,
    prefill_overhead: Annotated[
        str | None, typer.Option(help="Compat mode, per-token: fixed part of TTFT.")
    ] = None,
    prefill_time_per_token: Annotated[
        str | None, typer.Option(help="Compat mode, per-token: TTFT for each token of the prompt.")
    ] = None,
    prefill_time_std_dev: Annotated[
        str | None, typer.Option(help="Compat mode, per-token: standard deviation of TTFT.")
    ] = None,
    time_factor_under_load: Annotated[
        float | None,
        typer.Option(help="Compat mode: multiplies latencies when all sequences run; at least 1.0."),
    ] = None,
    failure_injection_rate: Annotated[
        float | None, typer.Option(help="Percentage of requests that fail on purpose, 0 to 100.")
    ] = None,
    failure_types: Annotated[
        list[str] | None,
        typer.Option(
            help="How they fail: rate_limit, invalid_api_key, context_length, server_error, invalid_request, "
            "model_not_found. Repeat the flag for several. [default: all]"
        ),
    ] = None,
    router: Annotated[
        bool | None, typer.Option("--router/--no-router", help="Put the llm-d endpoint picker in front.")
    ] = None,
    router_version: Annotated[
        str | None, typer.Option(help="Whose header names and refusals: 0.11, 0.10, 0.9 or gaie.")
    ] = None,
    flow_control: Annotated[
        bool | None,
        typer.Option(
            "--flow-control/--no-flow-control", help="Queue in the picker by priority while saturated."
        ),
    ] = None,
    startup_duration: Annotated[str | None, typer.Option(help="Time until /ready answers 200.")] = None,
    default_embedding_dimensions: Annotated[int | None, typer.Option(help="Length of vectors.")] = None,
    enable_request_id_headers: Annotated[
        bool | None,
        typer.Option(
            "--enable-request-id-headers/--disable-request-id-headers", help="Answer with X-Request-Id."
        ),
    ] = None,
    pod_name: Annotated[
        str, typer.Option(envvar="POD_NAME", help="Answer with x-inference-pod, -port and -namespace.")
    ] = "",
    pod_namespace: Annotated[
        str, typer.Option(envvar="POD_NAMESPACE", help="The namespace of --pod-name.")
    ] = "",
) -> None:
    """Run a simulated llm-d: vLLM replicas behind the endpoint picker, with honest behaviour under load.

    Any of the compat flags replaces the step model by the latency formula of llm-d-inference-sim.
    """
    given: dict[str, Any] = dict(locals())
    names = (
        *("time_to_first_token", "time_to_first_token_std_dev", "inter_token_latency"),
        *(
            "inter_token_latency_std_dev",
            "prefill_overhead",
            "prefill_time_per_token",
            "prefill_time_std_dev",
        ),
    )
    latencies = {name: given.pop(name) for name in names}
    for name in ("host", "port", "config"):
        del given[name]
    given |= {
        "served_model_name": tuple(served_model_name or ()),
        "failure_types": tuple(failure_types or ()),
        "pod": given.pop("pod_name"),
        "namespace": given.pop("pod_namespace"),
    }
    try:
        document = config.read_text(encoding="utf-8") if config is not None else None
        built = config_from_flags(Flags(**given, latencies=latencies, document=document))
    except (SimConfigError, OSError, UnicodeDecodeError) as error:
        typer.echo(f"lumyn sim: {error}", err=True)
        raise typer.Exit(2) from error
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(built, host, port))


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
    await stop.wait()
    await server.stop()
