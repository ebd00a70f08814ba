"""The flags of `lumyn sim`: one annotated type each, with the help that documents it."""

from pathlib import Path
from typing import Annotated

import typer

Preset = Annotated[
    str | None, typer.Option(help="A cluster by name: llmd-demo, llmd-demo-small. [default: llmd-demo]")
]
Config = Annotated[
    Path | None, typer.Option(help="A YAML file with the keys of SimConfig, instead of a preset.")
]
Host = Annotated[str, typer.Option(help="Address to listen on; the simulator asks for no key.")]
Port = Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")]
Seed = Annotated[int | None, typer.Option(help="Decides every draw: texts, lengths, faults.")]
TimeScale = Annotated[
    float | None, typer.Option(help="Simulated seconds in one second: 5 makes everything five times faster.")
]
Mode = Annotated[str | None, typer.Option(help="random text, or echo of the last user message.")]
Lengths = Annotated[
    str | None,
    typer.Option(help="Answer lengths: azure-conv (a real trace's), or llm-d-sim (that simulator's)."),
]
ToolCallRate = Annotated[
    float | None, typer.Option(help="How often tool_choice auto leads to a tool call, 0 to 1.")
]
Model = Annotated[
    str | None, typer.Option(envvar="SIM_MODEL", help="Serve one model of this name, instead of a preset.")
]
ServedModelName = Annotated[
    list[str] | None, typer.Option(help="Names to serve --model under; the first is its own, others aliases.")
]
Hardware = Annotated[
    str | None,
    typer.Option(
        help="Step times of --model: 8b-h100, 70b-h100-tp4, 70b-h100-tp8, 1b-h100. [default: 8b-h100]"
    ),
]
Replicas = Annotated[
    int | None, typer.Option("--replicas", "--data-parallel-size", help="Replicas of every model.")
]
Slowdown = Annotated[
    float | None, typer.Option(help="Multiplies every step time: 4 is a quarter of the accelerator.")
]
MaxModelLen = Annotated[int | None, typer.Option(help="Context length. [compat: 1024]")]
MaxNumSeqs = Annotated[int | None, typer.Option(help="Running sequences of a replica. [compat: 5]")]
MaxNumBatchedTokens = Annotated[int | None, typer.Option(help="Tokens of one step.")]
MaxWaitingQueueLength = Annotated[
    int | None, typer.Option(help="Requests that may wait in a replica; 0 is unbounded. [compat: 1000]")
]
SchedulingPolicy = Annotated[
    str | None, typer.Option(help="fcfs, or priority: the body's priority, lower is earlier.")
]
EnableKvcache = Annotated[
    bool | None,
    typer.Option("--enable-kvcache/--disable-kvcache", help="Share prefixes of prompts in the cache."),
]
KvCacheSize = Annotated[int | None, typer.Option(help="KV cache of a replica, in blocks.")]
BlockSize = Annotated[int | None, typer.Option(help="Tokens of one KV block.")]
LatencyCalculator = Annotated[
    str | None,
    typer.Option(help="constant or per-token: latencies by llm-d-inference-sim's formula (compat mode)."),
]
TimeToFirstToken = Annotated[
    str | None, typer.Option(help="Compat mode: mean TTFT; 100ms, or a number of milliseconds.")
]
TimeToFirstTokenStdDev = Annotated[
    str | None, typer.Option(help="Compat mode: its standard deviation, at most 30 %.")
]
InterTokenLatency = Annotated[str | None, typer.Option(help="Compat mode: mean time between tokens.")]
InterTokenLatencyStdDev = Annotated[
    str | None, typer.Option(help="Compat mode: its standard deviation, at most 30 %.")
]
PrefillOverhead = Annotated[str | None, typer.Option(help="Compat mode, per-token: fixed part of TTFT.")]
PrefillTimePerToken = Annotated[
    str | None, typer.Option(help="Compat mode, per-token: TTFT for each token of the prompt.")
]
PrefillTimeStdDev = Annotated[
    str | None, typer.Option(help="Compat mode, per-token: standard deviation of TTFT.")
]
TimeFactorUnderLoad = Annotated[
    float | None, typer.Option(help="Compat mode: multiplies latencies when all sequences run; at least 1.0.")
]
FailureInjectionRate = Annotated[
    float | None, typer.Option(help="Percentage of requests that fail on purpose, 0 to 100.")
]
FailureTypes = Annotated[
    list[str] | None,
    typer.Option(
        help="How they fail: rate_limit, invalid_api_key, context_length, server_error, invalid_request, "
        "model_not_found. Repeat the flag for several. [default: all]"
    ),
]
Router = Annotated[
    bool | None, typer.Option("--router/--no-router", help="Put the llm-d endpoint picker in front.")
]
RouterVersion = Annotated[
    str | None, typer.Option(help="Whose header names and refusals: 0.11, 0.10, 0.9 or gaie.")
]
FlowControl = Annotated[
    bool | None,
    typer.Option("--flow-control/--no-flow-control", help="Queue in the picker by priority while saturated."),
]
StartupDuration = Annotated[str | None, typer.Option(help="Time until /ready answers 200.")]
DefaultEmbeddingDimensions = Annotated[int | None, typer.Option(help="Length of vectors.")]
EnableRequestIdHeaders = Annotated[
    bool | None,
    typer.Option(
        "--enable-request-id-headers/--disable-request-id-headers", help="Answer with X-Request-Id."
    ),
]
PodName = Annotated[
    str, typer.Option(envvar="POD_NAME", help="Answer with x-inference-pod, -port and -namespace.")
]
PodNamespace = Annotated[str, typer.Option(envvar="POD_NAMESPACE", help="The namespace of --pod-name.")]
