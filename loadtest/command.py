"""`lumyn loadtest`: a load shape against a gateway, baseline and controller on one schedule, and a report.

A composition root: it hands in clock, signals, environment and terminal.
"""

from __future__ import annotations

import asyncio
import os
import platform
import secrets
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import orjson
import typer
import uvloop

from controller.evaluate.arms.data import Comparison, Spans
from controller.evaluate.arms.sheet import plain
from controller.evaluate.arms.verdict import BASELINE_MAX, verdict
from controller.evaluate.arms.virtual import services_of
from controller.evaluate.arms.words import results, timeline_text
from controller.evaluate.world import PRICES
from loadtest import twin, world
from loadtest.classes import Classes, ClassesError, classes_of, default_entries, read_entries
from loadtest.client import Client, read_origin, trouble
from loadtest.files import prepare, show, write
from loadtest.generate import Users
from loadtest.run import ALONE, OURS, Plan, Run
from loadtest.schedule import TOOLS_RPS, Load, make_schedule
from loadtest.shapes import SHAPES
from loadtest.stage import Place, Ports, StageError
from loadtest.view import Screen, print_table

EXIT_REPORTED: Final = 1
EXIT_USAGE: Final = 2
EXIT_MISSED: Final = 3
EXIT_PARTIAL: Final = 4
TIMELINE_SHOWN: Final = 12
"""Lines of the timeline on the terminal; the page has them all."""


def _seconds(text: str) -> Any:
    return typer.Option(min=0.1, max=86_400, help=text)


@dataclass(frozen=True, slots=True)
class Asked:
    """The flags, as one value."""

    shape: str
    arms: tuple[str, ...]
    out: Path
    seed: int
    spans: Spans
    times: float
    rate: float | None
    tools: float
    retries: int
    url: str | None
    admin_url: str | None
    model: str | None
    classes: Path | None
    ports: Ports
    short: bool


def loadtest_command(
    shape: Annotated[str, typer.Argument(help=f"One of {', '.join(SHAPES)}.", metavar="SHAPE")] = "spike",
    arms: Annotated[
        str, typer.Option(help=f"Comma-separated, in this order: {', '.join(twin.ARMS)}.")
    ] = "none,controlled",
    out: Annotated[Path, typer.Option(help="Directory for the report, its plots, figures and rows.")] = Path(
        "loadtest-report"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Of all draws: the same seed is the same load.")] = 1,
    base: Annotated[float, _seconds("Seconds at the base rate, before.")] = 15.0,
    peak: Annotated[float, _seconds("Seconds of the disturbance.")] = 20.0,
    after: Annotated[float, _seconds("Seconds at the base rate, after.")] = 20.0,
    times: Annotated[float, typer.Option(min=0.1, max=100, help="The peak, in multiples of the base.")] = 4.0,
    rate: Annotated[
        float | None,
        typer.Option(min=0.01, max=10_000, help="Base requests a second; else 75 % of the measured knee."),
    ] = None,
    tools: Annotated[
        float, typer.Option(min=0, max=1_000, help="Base tool actions a second, asked at /v0/decide.")
    ] = TOOLS_RPS,
    retries: Annotated[
        int,
        typer.Option(min=0, max=10, help="How often clients come back when refused, as Retry-After says."),
    ] = 0,
    url: Annotated[
        str | None, typer.Option(help="Aim at this gateway's OpenAI base URL instead of starting one.")
    ] = None,
    admin_url: Annotated[
        str | None, typer.Option(help="Its admin listener, to switch the controller and read the records.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="With --url: what is asked for; else the first that it lists.")
    ] = None,
    classes: Annotated[
        Path | None, typer.Option(help="With --url: YAML file of the classes, see docs/loadtest.md.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Of the gateway that is started.")] = 0,
    admin_port: Annotated[int, typer.Option(min=0, max=65_535, help="Of its admin listener.")] = 0,
    sim_port: Annotated[int, typer.Option(min=0, max=65_535, help="Of the simulated llm-d.")] = 0,
    *,
    short: Annotated[
        bool, typer.Option("--short", help="Twenty seconds: both arms at the same time, each on its gateway.")
    ] = False,
    open_page: Annotated[bool, typer.Option("--open", help="Open the report in a browser.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Play a load shape on a gateway, first with its controller in bypass, then with it on, and compare.

    Exit codes: 0 every bar was met; 1 it could not be run; 2 wrong usage; 3 a bar was missed; 4 it was ended
    early, and the report has what there is.
    """
    spans = SHORT if short else Spans(base, peak, after)
    asked = Asked(
        shape, _arms(arms, url, admin_url), out, seed, spans, times, rate, tools, retries, url, admin_url,
        model, classes, Ports(port, admin_port, sim_port), short=short,
    )  # fmt: skip
    _check_usage(asked)
    try:
        prepare(out)
        run = play(asked, Screen())
        page = write(run, out)
    except StageError as error:
        _stop(str(error), error.hint)
    _tell(run, page, as_json=as_json)
    found = verdict(run)
    if open_page:
        try:
            show(page)
        except StageError as error:
            _stop(str(error), error.hint)
    if not found.passed:
        raise typer.Exit(EXIT_PARTIAL if found.word == "PARTIAL" else EXIT_MISSED)


FOURFOLD: Final = 4.0
"""The spike that the promise is about: a smaller one need not overload anything."""
DRAIN_S: Final = 20.0
"""The longest target of a whole answer: what is not there by then has missed it."""
SHORT_DRAIN_S: Final = 4.0
"""Of a demonstration: whoever waits longer than this after its end was lost in its middle."""
SHORT: Final = Spans(5.0, 7.0, 2.0)


def play(asked: Asked, screen: Screen) -> Comparison:
    """Run a comparison to its end, or to Ctrl-C. Raise StageError."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_play(asked, screen))


async def _play(asked: Asked, screen: Screen) -> Comparison:
    with screen:
        plan = await (_external(asked) if asked.url is not None else _own(asked, screen))
        run = Run(plan, screen)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, run.interrupt, f"ended by {signal.Signals(number).name}")
        try:
            return await run.play()
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


async def _own(asked: Asked, screen: Screen) -> Plan:
    """Return the plan for a stage of our own."""
    load = Load(
        asked.shape, asked.spans, asked.times, 1.0, asked.tools, world.kinds(), world.MAX_TOKENS
    )  # fmt: skip
    knee, split = world.KNEE_RPS, None
    if asked.rate is None and not asked.short:
        screen.say("sweep of the preferred model in virtual time ...")
        knee = await asyncio.to_thread(twin.knee_rps, load)
        screen.say(f"its knee: {knee:.2f} requests a second with {twin.KNEE_ATTAINED:.0%} attained")
    load = replace(load, base_rps=asked.rate or world.BASE_SHARE * knee)
    if "static" in asked.arms:
        screen.say("search of the best fixed split in virtual time ...")
        split = await asyncio.to_thread(twin.search_split, load)
        screen.say(f"its shares: {dict(split.shares)}, {split.large_limit} in flight on the preferred model")
    schedule = make_schedule(load, asked.seed, world.cluster())
    facts = _facts(asked, load, schedule.digest)
    if asked.rate is None:
        facts["knee of the preferred model"] = f"{knee:.2f} requests a second; a sweep in virtual time"
    if split is not None:
        facts["best fixed split"] = f"{dict(split.shares)}, limit {split.large_limit}"
    return Plan(
        load=load,
        schedule=schedule,
        services=world.services(),
        arms=asked.arms,
        out=asked.out,
        users=Users(headers={}, retries=asked.retries, drain_s=SHORT_DRAIN_S if asked.short else DRAIN_S),
        prices=PRICES,
        facts=facts,
        wall_s=time.time,  # noqa: TID251 - a composition root hands the clock in
        cluster=world.cluster(),
        ports=asked.ports,
        knee_rps=knee,
        split=split,
        together=asked.short,
        baseline_max=BASELINE_MAX if asked.shape == "spike" and asked.times >= FOURFOLD else None,
        agree=not asked.short and not asked.retries,
    )


async def _external(asked: Asked) -> Plan:
    """Return the plan against a gateway that runs already."""
    assert asked.url is not None
    assert asked.rate is not None
    origin = read_origin(asked.url)
    key = os.environ.get("OPENAI_API_KEY", "")
    headers = {"authorization": f"Bearer {key}"} if key else {}
    model = await first_model(asked.url, asked.model, headers)
    entries = default_entries() if asked.classes is None else read_entries(asked.classes)
    found: Classes = classes_of(entries, model, os.environ)
    load = Load(
        asked.shape, asked.spans, asked.times, asked.rate, asked.tools, found.kinds, world.MAX_TOKENS
    )  # fmt: skip
    schedule = make_schedule(load, asked.seed)
    await answers(asked.url, schedule.asks[0].body() if schedule.asks else b"", found)
    facts = _facts(asked, load, schedule.digest) | {"gateway": origin.url, "model asked for": model}
    return Plan(
        load=load,
        schedule=schedule,
        services=services_of(found.kinds),
        arms=asked.arms,
        out=asked.out,
        users=Users(headers=found.headers, run_id=f"{secrets.token_hex(4)}-", retries=asked.retries),
        prices={},
        facts=facts,
        wall_s=time.time,  # noqa: TID251 - a composition root hands the clock in
        place=Place(asked.url, asked.admin_url),
        agree=False,
    )


async def first_model(url: str, wanted: str | None, headers: Mapping[str, str]) -> str:
    """Return the model to ask for. Raise StageError where nobody answers at `url`."""
    origin = read_origin(url)
    client = Client(origin)
    try:
        async with asyncio.timeout(10.0):
            head, body = await client.read("GET", f"{origin.path}/models", headers=headers)
    except (OSError, TimeoutError) as error:
        raise StageError(
            f"no gateway answers at {url}: {trouble(error)}",
            hint="start it with `lumyn serve`",
        ) from None
    finally:
        client.close()
    if head.status in {401, 403}:
        raise StageError(f"the gateway at {url} refuses the key: {head.status}", hint="set OPENAI_API_KEY")
    try:
        listed = [str(entry["id"]) for entry in orjson.loads(body)["data"]]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise StageError(f"{url}/models is no list of models: is it an OpenAI base URL?") from None
    if wanted is None and not listed:
        raise StageError(f"the gateway at {url} serves no model", hint="is its backend up?")
    return wanted or listed[0]


async def answers(url: str, body: bytes, classes: Classes) -> None:
    """See that the backend behind a gateway answers a request. Raise StageError."""
    if not body:
        raise StageError("the schedule is empty", hint="a higher --rate or a longer run")
    origin = read_origin(url)
    client = Client(origin)
    headers = next(iter(classes.headers.values()), {})
    try:
        async with asyncio.timeout(60.0):
            head, said = await client.read("POST", f"{origin.path}/chat/completions", body, headers)
    except (OSError, TimeoutError) as error:
        raise StageError(f"the gateway at {url} gave no answer: {trouble(error)}") from None
    finally:
        client.close()
    if head.status != 200:
        raise StageError(
            f"a first request was answered {head.status}: {said[:300].decode(errors='replace')}",
            hint="is the gateway's backend up, and the model one of its own?",
        )


def _facts(asked: Asked, load: Load, digest: str) -> dict[str, str]:
    spans = asked.spans
    return {
        "shape": f"{asked.shape}: {spans.base_s:g} s, {spans.peak_s:g} s, {spans.after_s:g} s",
        "base load": f"{load.base_rps:.2f} requests a second, {load.tools_rps:g} tool actions a second",
        "peak": f"{asked.times:g} times the base",
        "sizes": f"Azure 2023 chat (CC-BY), answers of at most {load.max_tokens} tokens",
        "classes": "; ".join(
            f"{kind.name} {kind.share:.0%}, first token {_ms(kind.intent.latency.ttft_ms)}, answer "
            f"{_ms(kind.intent.latency.e2e_ms)}"
            for kind in load.kinds
        ),
        "seed": str(asked.seed),
        "schedule": digest,
        "clients": f"{asked.retries} retries" if asked.retries else "no retries",
        "machine": f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start, "
        f"Python {platform.python_version()}, niceness {os.nice(0)}",
    }


def _ms(value: float | None) -> str:
    return "no target" if value is None else f"{value / 1000:g} s"


def _tell(run: Comparison, page: Path, *, as_json: bool) -> None:
    found = verdict(run)
    if as_json:
        typer.echo(orjson.dumps(plain(run), option=orjson.OPT_INDENT_2).decode())
        return
    table = results(run)
    print_table(table.columns, table.rows, {})
    for arm in run.arms:
        lines = timeline_text(arm).splitlines()
        if lines:
            typer.echo(f"\n{arm.name}, its decisions in words ({len(lines)} lines in the report):")
            typer.echo("\n".join(f"  {line}" for line in lines[:TIMELINE_SHOWN]))
    typer.echo("")
    colour = typer.colors.GREEN if found.passed else typer.colors.RED
    typer.secho(found.line, fg=colour, bold=True)
    typer.echo(f"report: {page}")


def _arms(text: str, url: str | None, admin_url: str | None) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in twin.ARMS]
    if unknown or not names:
        _usage(f"no arm {(unknown or [text])[0]!r}; known: {', '.join(twin.ARMS)}")
    if url is not None:
        if admin_url is None:
            return (ALONE,)
        if other := [name for name in names if name not in {"none", OURS}]:
            _usage(f"the arm {other[0]} needs the simulated stage: leave --url out")
    return names


def _check_usage(asked: Asked) -> None:
    if asked.shape not in SHAPES:
        _usage(f"no shape {asked.shape!r}; known: {', '.join(SHAPES)}")
    if asked.url is None:
        for name in ("admin_url", "model", "classes"):
            if getattr(asked, name) is not None:
                _usage(f"--{name.replace('_', '-')} goes with --url")
        return
    if asked.rate is None:
        _usage("--url needs --rate: the knee of your backend is not known here")
    try:
        read_origin(asked.url)
        read_origin(asked.admin_url or asked.url)
        if asked.classes is not None:
            read_entries(asked.classes)
    except (ValueError, ClassesError) as error:
        _usage(str(error))
    except OSError as error:
        _usage(f"{asked.classes} cannot be read: {(error.strerror or 'failed').lower()}")


def _usage(message: str) -> NoReturn:
    typer.echo(f"lumyn loadtest: {message}", err=True)
    raise typer.Exit(EXIT_USAGE)


def _stop(message: str, hint: str = "") -> NoReturn:
    typer.secho(f"error: {message}", err=True, fg=typer.colors.RED)
    if hint:
        typer.echo(f"hint: {hint}", err=True)
    raise typer.Exit(EXIT_REPORTED)
