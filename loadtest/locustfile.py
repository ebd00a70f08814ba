"""Locust against any gateway: LLM users and tool-action users, open loop, under one of six shapes.

    locust -f loadtest/locustfile.py                                   # the web UI; its form has the options
    locust -f loadtest/locustfile.py --headless --load-shape spike --base-rps 3

OPENAI_BASE_URL (or --host) names the gateway, OPENAI_API_KEY the key. Locust rounds what it shows: the
figures that count are made from the rows, and stand in the report that the run leaves in --report-dir. One
process is enough, and the only way: two would keep two schedules.
"""

from __future__ import annotations

import os
import secrets
import sys
import time
from pathlib import Path
from typing import Any, ClassVar, Final

from locust import LoadTestShape, User, events, task
from locust.env import Environment
from locust.exception import StopUser
from locust.runners import MasterRunner, WorkerRunner

from controller.evaluate.arms.data import COMPLETE, Arm, Comparison, Spans
from controller.evaluate.arms.verdict import Verdict, verdict
from controller.evaluate.arms.virtual import services_of
from controller.evaluate.arms.words import results, text_table
from loadtest import world
from loadtest.classes import ClassesError, classes_of, default_entries, read_entries
from loadtest.client import read_origin
from loadtest.files import prepare, write
from loadtest.rows import Row, called, offered
from loadtest.schedule import TOOLS_RPS, Load, make_schedule
from loadtest.shapes import SHAPES
from loadtest.stage import StageError
from loadtest.swarm import Swarm

BASE_URL: Final = os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8080/v1")
DRAIN_S: Final = 20.0
EXIT_USAGE: Final = 2
EXIT_MISSED: Final = 3
RUN: dict[str, Any] = {}
"""The run that is on: locust makes its users itself and hands them nothing."""


@events.init_command_line_parser.add_listener
def options(parser: Any) -> None:
    """Add what a schedule is made from; the web UI shows it in its form."""
    group = parser.add_argument_group("schedule")
    group.add_argument("--load-shape", choices=list(SHAPES), default="spike", help="of the load over time")
    group.add_argument("--base-rps", type=float, default=1.0, help="LLM requests a second at the base")
    group.add_argument("--tools-rps", type=float, default=TOOLS_RPS, help="tool actions a second at the base")
    group.add_argument("--peak-times", type=float, default=4.0, help="the peak, in multiples of the base")
    group.add_argument("--base-s", type=float, default=15.0, help="seconds before the disturbance")
    group.add_argument("--peak-s", type=float, default=20.0, help="seconds of it")
    group.add_argument("--after-s", type=float, default=20.0, help="seconds after it")
    group.add_argument("--seed", type=int, default=1, help="the same seed is the same load")
    group.add_argument("--retries", type=int, default=0, help="how often refused clients come back")
    group.add_argument("--model", default="llama-70b", help="the model that is asked for")
    group.add_argument("--classes", default="", help="YAML file of the classes, see docs/loadtest.md")
    group.add_argument("--report-dir", default="loadtest-report", help="where the report is written")


@events.init.add_listener
def started(environment: Environment, **_: Any) -> None:
    """Refuse what would send two schedules."""
    if isinstance(environment.runner, MasterRunner | WorkerRunner):
        print("error: run it in one process: two would keep two schedules", file=sys.stderr)
        sys.exit(EXIT_USAGE)


@events.test_start.add_listener
def begin(environment: Environment, **_: Any) -> None:
    """Make the schedule of a test that begins."""
    asked: Any = environment.parsed_options
    try:
        prepare(Path(asked.report_dir))
        entries = read_entries(Path(asked.classes)) if asked.classes else default_entries()
        classes = classes_of(entries, asked.model, os.environ)
        spans = Spans(float(asked.base_s), float(asked.peak_s), float(asked.after_s))
        load = Load(
            asked.load_shape, spans, float(asked.peak_times), float(asked.base_rps), float(asked.tools_rps),
            classes.kinds, world.MAX_TOKENS,
        )  # fmt: skip
        schedule = make_schedule(load, int(asked.seed))
        origin = read_origin(environment.host or BASE_URL)
    except (ClassesError, StageError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        environment.process_exit_code = EXIT_USAGE
        RUN["over"] = True
        if environment.runner is not None:
            environment.runner.quit()
        return
    swarm = Swarm(origin, schedule, classes.headers, lambda row: tell(environment, row), int(asked.retries))
    swarm.run_id = f"{secrets.token_hex(4)}-"
    swarm.began_s = time.perf_counter()
    RUN.update(swarm=swarm, load=load, out=Path(asked.report_dir), began=time.strftime("%H:%M:%S"))


def tell(environment: Environment, row: Row) -> None:
    """Tell locust of a row: whole answers, and first tokens under a name of their own."""
    failure = (
        None if row.status == COMPLETE else RuntimeError(f"{row.status} {row.http_status or ''}".strip())
    )
    name = row.service or "tool action"
    fire = environment.events.request.fire
    fire(
        request_type="ask" if row.kind == "ask" else "act",
        name=name,
        response_time=1000 * (row.e2e_s or 0.0),
        response_length=row.tokens_out,
        exception=failure,
        context={},
    )
    if row.ttft_s is not None:
        fire(
            request_type="first token",
            name=name,
            response_time=1000 * row.ttft_s,
            response_length=0,
            exception=None,
            context={},
        )


@events.test_stop.add_listener
def finish(environment: Environment, **_: Any) -> None:
    """Write the report, and fail the run whose schedule was not kept."""
    if "swarm" not in RUN:
        return
    swarm: Swarm = RUN["swarm"]
    out: Path = RUN["out"]
    run = comparison(swarm, RUN["load"], RUN["began"])
    RUN.clear()
    RUN["over"] = True
    try:
        (out / "requests-locust.jsonl").write_bytes(b"".join(row.line() for row in swarm.rows))
        page = write(run, out)
    except (StageError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        environment.process_exit_code = EXIT_MISSED
        return
    found: Verdict = verdict(run)
    print(f"{text_table(results(run))}\n\n{found.line}\nreport: {page}")
    if not found.passed:
        environment.process_exit_code = EXIT_MISSED


def comparison(swarm: Swarm, load: Load, began: str) -> Comparison:
    """Return a run as a comparison of one arm."""
    rows = sorted(swarm.rows, key=lambda row: (row.at_s, row.request_id))
    services = services_of(load.kinds)
    missing = len(swarm.schedule.asks) + len(swarm.schedule.acts) - len(rows)
    arm = Arm(
        name="gateway",
        about=f"{swarm.origin.url}, as it is",
        offered=offered(rows, services, {}, {}),
        called=called(rows),
        began=began,
        chunks=tuple(swarm.chunks.get(second, 0) for second in range(max(swarm.chunks, default=-1) + 1)),
        partial=f"{missing} requests of the schedule were not answered or not sent" if missing else "",
    )
    facts = {
        "shape": f"{load.shape}, {load.times:g} times {load.base_rps:g} requests a second",
        "schedule": swarm.schedule.digest,
    }
    return Comparison("Lumyn Gateway under load: locust", "live", load.spans, services, (arm,), facts)


class _Dispatcher(User):
    abstract = True
    fixed_count = 1
    sends: ClassVar[str]
    """What of the schedule this user sends."""

    @task
    def dispatch(self) -> None:
        """Send this user's part of the schedule, once."""
        if "swarm" in RUN:
            swarm: Swarm = RUN["swarm"]
            swarm.dispatch(getattr(swarm.schedule, self.sends))
        raise StopUser


class LlmUsers(_Dispatcher):
    """Everybody who asks a model."""

    sends = "asks"


class ToolUsers(_Dispatcher):
    """Every agent that asks before it acts."""

    sends = "acts"


class Schedule(LoadTestShape):
    """Keeps the dispatchers until the schedule is through, whatever its shape."""

    abstract: ClassVar[bool] = False
    use_common_options: ClassVar[bool] = False

    def reset_time(self) -> None:
        """Begin anew: locust calls this before each run."""
        super().reset_time()
        RUN.clear()

    def tick(self) -> tuple[int, float] | None:
        """Return the number of dispatchers, or None when the run is over. The first tick starts the run."""
        swarm: Swarm | None = RUN.get("swarm")
        if "over" in RUN:
            return None
        if swarm is not None and (swarm.done or swarm.now_s() > swarm.schedule.spans.end_s + DRAIN_S):
            return None
        return 2, 2.0
