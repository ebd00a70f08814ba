"""The flags of `lumyn sim`, each with its type and the help that documents it; None is not given.

Where llm-d-inference-sim v0.10.2 has the flag, name, unit and meaning are its own; its defaults hold in
compat mode, and are named where they differ. `flags.py` makes a configuration of them, `command.py` a
command.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from typer import Option

Text = str | None
Number = int | None
Decimal = float | None
Switch = bool | None
Texts = list[str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """What was given on the command line, or in a file with the same names. Durations are text."""

    # --- what is simulated ---
    preset: Annotated[
        Text, Option(help="A cluster by name: llmd-demo, llmd-demo-small. [default: llmd-demo]")
    ] = None
    seed: Annotated[Number, Option(help="Decides every draw: texts, lengths, faults.")] = None
    time_scale: Annotated[
        Decimal, Option(help="Simulated seconds in one second: 5 makes everything five times faster.")
    ] = None
    mode: Annotated[Text, Option(help="random text, or echo of the last user message.")] = None
    lengths: Annotated[
        Text, Option(help="Answer lengths: azure-conv (a real trace's), or llm-d-sim (that simulator's).")
    ] = None
    model: Annotated[
        Text, Option(envvar="SIM_MODEL", help="Serve one model of this name, instead of a preset.")
    ] = None
    served_model_name: Annotated[
        Texts,
        Option(help="Names to serve --model under, one or several; the first is its own, others aliases."),
    ] = None
    hardware: Annotated[
        Text,
        Option(
            help="Step times of --model: 8b-h100, 70b-h100-tp4, 70b-h100-tp8, 1b-h100. [default: 8b-h100]"
        ),
    ] = None
    engine: Annotated[
        Text, Option(help="vllm, or sglang: there a higher body priority is earlier. [default: vllm]")
    ] = None
    replicas: Annotated[
        Number,
        Option(
            "--replicas", "--data-parallel-size", help="Replicas of every model. [default: 1 with --model]"
        ),
    ] = None
    data_parallel_rank: Annotated[
        Number, Option(help="Be this rank alone, 0 to 7: one replica, numbered so in metrics.")
    ] = None
    slowdown: Annotated[
        Decimal, Option(help="Multiplies every step time: 4 is a quarter of the accelerator.")
    ] = None

    # --- the engine ---
    max_model_len: Annotated[Number, Option(help="Context length. [compat: 1024]")] = None
    max_num_seqs: Annotated[Number, Option(help="Running sequences of a replica. [compat: 5]")] = None
    max_num_batched_tokens: Annotated[Number, Option(help="Tokens of one step.")] = None
    max_waiting_queue_length: Annotated[
        Number, Option(help="Requests that may wait in a replica; 0 is unbounded. [compat: 1000]")
    ] = None
    scheduling_policy: Annotated[
        Text, Option(help="fcfs, or priority: the body's priority, lower is earlier.")
    ] = None
    enable_kvcache: Annotated[
        Switch,
        Option(
            "--enable-kvcache/--disable-kvcache",
            "--enable-prefix-caching/--no-enable-prefix-caching",
            help="Share prefixes of prompts in the cache. [default: on, compat: off]",
        ),
    ] = None
    kv_cache_size: Annotated[Number, Option(help="KV cache of a replica, in blocks. [compat: 1024]")] = None
    block_size: Annotated[Number, Option(help="Tokens of one KV block. [default: 16]")] = None
    hash_seed: Annotated[
        Text, Option(envvar="PYTHONHASHSEED", help="Enters the hashes of blocks: other seeds share nothing.")
    ] = None
    global_cache_hit_threshold: Annotated[
        Decimal,
        Option(
            help="End prompts at once (cache_threshold) of which a smaller share is cached, 0 to 1; the "
            "body's cache_hit_threshold comes first. [default: 0]"
        ),
    ] = None
    lora_modules: Annotated[
        Texts,
        Option(
            help='LoRA adapters to serve, one or several of {"name": "n", "path": "p", '
            '"base_model_name": "m"}.'
        ),
    ] = None
    max_loras: Annotated[Number, Option(help="Adapters that run in one batch. [default: 1]")] = None
    max_cpu_loras: Annotated[
        Number, Option(help="Adapters kept in memory, at least --max-loras. [default: --max-loras]")
    ] = None
    lora_load_time: Annotated[
        Text, Option(help="How much longer a step takes that loads an adapter from disk. [default: 0s]")
    ] = None

    # --- latencies ---
    latency_calculator: Annotated[
        Text,
        Option(
            help="constant or per-token: latencies by llm-d-inference-sim's formula (compat mode). Empty: "
            "constant where --time-to-first-token is given, else per-token."
        ),
    ] = None
    time_to_first_token: Annotated[
        Text, Option(help="Compat mode: mean TTFT; 100ms, or a number of milliseconds. [default: 0]")
    ] = None
    time_to_first_token_std_dev: Annotated[
        Text, Option(help="Compat mode: its standard deviation, at most 30 %.")
    ] = None
    inter_token_latency: Annotated[
        Text, Option(help="Compat mode: mean time between tokens. [default: 0]")
    ] = None
    inter_token_latency_std_dev: Annotated[
        Text, Option(help="Compat mode: its standard deviation, at most 30 %.")
    ] = None
    prefill_overhead: Annotated[Text, Option(help="Compat mode, per-token: fixed part of TTFT.")] = None
    prefill_time_per_token: Annotated[
        Text, Option(help="Compat mode, per-token: TTFT for each token of the prompt that is not cached.")
    ] = None
    prefill_time_std_dev: Annotated[
        Text, Option(help="Compat mode, per-token: standard deviation of TTFT.")
    ] = None
    time_factor_under_load: Annotated[
        Decimal, Option(help="Compat mode: multiplies latencies when all sequences run. [default: 1.0]")
    ] = None
    whole_milliseconds: Annotated[
        Switch,
        Option(
            "--whole-milliseconds/--exact-latencies",
            help="Compat mode: cut latencies to whole milliseconds, as the Go program does. [default: exact]",
        ),
    ] = None
    kv_cache_transfer_latency: Annotated[
        Text,
        Option(help="Time in which a prompt's cache comes from elsewhere (do_remote_prefill). [default: 0]"),
    ] = None
    kv_cache_transfer_latency_std_dev: Annotated[
        Text, Option(help="Its standard deviation, at most 30 %.")
    ] = None
    kv_cache_transfer_time_per_token: Annotated[
        Text, Option(help="The same for each token of the prompt, where no fixed time is given. [default: 0]")
    ] = None
    kv_cache_transfer_time_std_dev: Annotated[Text, Option(help="Standard deviation of that sum.")] = None

    # --- answers ---
    tool_call_rate: Annotated[
        Decimal, Option(help="How often tool_choice auto leads to a tool call, 0 to 1. [default: 0.5]")
    ] = None
    max_tool_call_integer_param: Annotated[
        Number, Option(help="Largest integer in a tool call that its schema leaves open. [default: 100]")
    ] = None
    min_tool_call_integer_param: Annotated[Number, Option(help="Smallest such integer. [default: 0]")] = None
    max_tool_call_number_param: Annotated[Decimal, Option(help="Largest such number. [default: 100]")] = None
    min_tool_call_number_param: Annotated[Decimal, Option(help="Smallest such number. [default: 0]")] = None
    max_tool_call_array_param_length: Annotated[
        Number, Option(help="Longest array in a tool call without maxItems. [default: 5]")
    ] = None
    min_tool_call_array_param_length: Annotated[
        Number, Option(help="Shortest array in a tool call without minItems. [default: 1]")
    ] = None
    tool_call_not_required_param_probability: Annotated[
        Number, Option(help="Percentage of parameters given that are not required. [default: 50]")
    ] = None
    object_tool_call_not_required_field_probability: Annotated[
        Number, Option(help="The same for fields inside of objects. [default: 50]")
    ] = None
    default_embedding_dimensions: Annotated[Number, Option(help="Length of vectors. [default: 384]")] = None
    omni: Annotated[
        Switch,
        Option(
            "--omni/--no-omni", help="Give images too, in chat completions: with X-Send-Image, or by rate."
        ),
    ] = None
    image_emission_rate: Annotated[
        Decimal, Option(help="With --omni: percentage of chat completions with an image. [default: 0]")
    ] = None
    time_to_generate_image: Annotated[
        Text, Option(help="With --omni: time that an image takes after the text. [default: 0]")
    ] = None
    time_to_generate_image_std_dev: Annotated[
        Text, Option(help="With --omni: its standard deviation, at most 30 %.")
    ] = None

    # --- faults and metrics ---
    failure_injection_rate: Annotated[
        Decimal, Option(help="Percentage of requests that fail on purpose, 0 to 100. [default: 0]")
    ] = None
    failure_types: Annotated[
        Texts,
        Option(
            help="How they fail, any of rate_limit, invalid_api_key, context_length, server_error, "
            "invalid_request, model_not_found. [default: all]"
        ),
    ] = None
    fake_metrics: Annotated[
        Text,
        Option(
            help='Tell these instead of vLLM\'s metrics: {"running-requests": 5, "kv-cache-usage": '
            '"oscillate:0:1:10s"}. Also ramp, rampreset, squarewave; buckets as lists.'
        ),
    ] = None
    fake_metrics_refresh_interval: Annotated[
        Text, Option(help="How often functions among them are calculated anew. [default: 100ms]")
    ] = None
    enable_per_request_metrics: Annotated[
        Switch,
        Option(
            "--enable-per-request-metrics/--disable-per-request-metrics",
            help="Tell vLLM's metrics of a request in its answer. [default: off]",
        ),
    ] = None

    # --- the endpoint picker ---
    router: Annotated[
        Switch, Option("--router/--no-router", help="Put the llm-d endpoint picker in front. [default: on]")
    ] = None
    router_version: Annotated[
        Text, Option(help="Whose header names and refusals: 0.11, 0.10, 0.9 or gaie. [default: 0.11]")
    ] = None
    flow_control: Annotated[
        Switch,
        Option(
            "--flow-control/--no-flow-control",
            help="Queue in the picker by priority while saturated. [default: on]",
        ),
    ] = None

    # --- the server ---
    startup_duration: Annotated[Text, Option(help="Time until /ready answers 200. [default: 0]")] = None
    enable_sleep_mode: Annotated[
        Switch,
        Option(
            "--enable-sleep-mode/--no-enable-sleep-mode",
            help="Let /sleep discard the prefix caches; needs VLLM_SERVER_DEV_MODE=1 too. [default: off]",
        ),
    ] = None
    enable_request_id_headers: Annotated[
        Switch,
        Option(
            "--enable-request-id-headers/--disable-request-id-headers",
            help="Answer with X-Request-Id. [default: on]",
        ),
    ] = None
    max_request_body_size_mb: Annotated[Number, Option(help="Bound on a body in MiB. [default: 20]")] = None
    pod_name: Annotated[
        Text, Option(envvar="POD_NAME", help="Answer with x-inference-pod, -port and -namespace.")
    ] = None
    pod_namespace: Annotated[Text, Option(envvar="POD_NAMESPACE", help="The namespace of --pod-name.")] = None
