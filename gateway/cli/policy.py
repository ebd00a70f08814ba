"""`lumyn policy`: validate, hash, lint, test, compare and backtest policies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli import options
from gateway.cli.instants import instant_ms
from gateway.cli.render import EXIT_REPORTED, fail, refuse, say, say_facts, table, verdict, write_json
from gateway.cli.workspace import load_settings, use_desk
from gateway.kernel.errors import GatewayError, InvalidConfigError, InvalidPolicyError

if TYPE_CHECKING:
    from gateway.embed.config import LumynConfig
    from gateway.embed.desk import Desk
    from gateway.engine.backtest import Backtest
    from gateway.policy.compile import CompiledPolicy

app = typer.Typer(help="Work on policies.", no_args_is_help=True, rich_markup_mode=None)
PolicyFile = Annotated[
    str | None, typer.Argument(help="Policy file or built-in; else the configured one.", metavar="[POLICY]")
]


@app.command("validate")
def validate_command(
    policy: PolicyFile = None,
    path: options.PolicyPath = None,
    *,
    as_json: options.AsJson = False,
    workspace: options.Workspace = None,
    config: options.Config = None,
) -> None:
    """Check a policy: every problem with its line and column. Exit code 1 where there is one."""
    compiled = _load(policy, path, workspace, config)
    facts = {
        "policy_id": compiled.policy_id,
        "policy_version": compiled.policy_version,
        "policy_hash": compiled.policy_hash,
    }
    if as_json:
        write_json({"ok": True} | facts, "-", pretty=False)
    else:
        say("ok")
        say_facts(facts)


@app.command("hash")
def hash_command(
    policy: PolicyFile = None,
    path: options.PolicyPath = None,
    *,
    workspace: options.Workspace = None,
    config: options.Config = None,
) -> None:
    """Print a policy's hash, which layout, comments and the order of keys do not change."""
    say(_load(policy, path, workspace, config).policy_hash)


@app.command("lint")
def lint_command(
    policy: PolicyFile = None,
    path: options.PolicyPath = None,
    *,
    as_json: options.AsJson = False,
    workspace: options.Workspace = None,
    config: options.Config = None,
) -> None:
    """List what is legal and probably not meant. Exit code 1 where a finding is an error."""
    from gateway.policy.lint import Severity, lint_policy

    findings = lint_policy(_load(policy, path, workspace, config))
    if as_json:
        rows = [
            {
                "severity": one.severity.value,
                "check": one.check,
                "message": one.problem.message,
                "line": one.problem.line,
                "column": one.problem.column,
            }
            for one in findings
        ]
        write_json(rows, "-", pretty=True)
    else:
        for one in findings:
            say(f"{one.severity.value} {one.check}: {one.problem}")
        say(f"{len(findings)} findings" if findings else "ok")
    if any(one.severity is Severity.ERROR for one in findings):
        raise typer.Exit(EXIT_REPORTED)


@app.command("test")
def cases_command(
    cases: Annotated[list[str], typer.Argument(help="Files of cases, as in vectors/v0.")],
    path: options.PolicyPath = None,
    *,
    workspace: options.Workspace = None,
    config: options.Config = None,
) -> None:
    """Decide cases and compare with what they expect. Exit code 1 where one differs."""
    from gateway.engine.cases import case_faults

    compiled = _load(None, path, workspace, config)
    count = 0
    faults: list[str] = []
    for file in cases:
        found = _cases(file)
        count += len(found)
        faults += [fault for case in found for fault in case_faults(case, compiled)]
    for fault in faults:
        typer.echo(fault, err=True)
    say(f"{count} cases, {len(faults)} differences")
    if faults:
        raise typer.Exit(EXIT_REPORTED)


@app.command("diff")
def diff_command(
    old: Annotated[str, typer.Argument(help="Policy file or built-in.")],
    new: Annotated[str, typer.Argument(help="Policy file or built-in.")],
    *,
    as_json: options.AsJson = False,
) -> None:
    """List what changed from one policy to another, rule by rule."""
    from gateway.policy.difference import changes

    found = changes(_load(old, None, None, None), _load(new, None, None, None))
    if as_json:
        write_json([change.value() for change in found], "-", pretty=True)
        return
    for change in found:
        say(f"{change.what} {change.where}")
        for sign, text in (("-", change.before), ("+", change.after)):
            if text is not None:
                say(f"  {sign} {text}")
    if not found:
        say("no difference")


@app.command("backtest")
def backtest_command(
    policy: Annotated[
        str, typer.Option("--policy", help="The policy to decide under: a file or a built-in.")
    ],
    since: options.Since = None,
    *,
    as_json: options.AsJson = False,
    workspace: options.Workspace = None,
    config: options.Config = None,
) -> None:
    """Decide stored decisions again under another policy and list every verdict that would flip."""
    since_ms = instant_ms(since, "--since")
    new = _load(policy, None, workspace, config)
    try:
        settings = load_settings(workspace, config)
    except GatewayError as error:
        fail(error)

    async def work(desk: Desk, chosen: LumynConfig) -> Backtest:
        return await _backtest(desk, chosen, new, since_ms)

    result = use_desk(settings, work)
    if as_json:
        counts = [
            {"was": was, "now": now, "reason_code": code, "count": count}
            for was, now, code, count in result.by_reason()
        ]
        value = {
            "policy_hash": new.policy_hash,
            "decided": result.decided,
            "unreadable": result.unreadable,
            "flips": [flip.value() for flip in result.flips],
            "by_reason": counts,
        }
        write_json(value, "-", pretty=True)
    else:
        _print_backtest(result)


async def _backtest(desk: Desk, chosen: LumynConfig, new: CompiledPolicy, since_ms: int | None) -> Backtest:
    import orjson

    from gateway.engine.backtest import Backtest, with_policy
    from gateway.kernel.bounds import PAGE_DECISIONS_MAX
    from gateway.kernel.types import EVERY_TENANT
    from gateway.store.port import DecisionFilter

    policies = with_policy(desk.policies(chosen), new)
    store = await desk.store()
    result = Backtest()
    cursor = None
    while True:
        page = await store.decisions(
            EVERY_TENANT, DecisionFilter(since_ms=since_ms), limit=PAGE_DECISIONS_MAX, cursor=cursor
        )
        result.add((orjson.loads(entry.body) for entry in page.decisions), policies)
        cursor = page.next_cursor
        if cursor is None:
            return result


def _print_backtest(result: Backtest) -> None:
    say(f"{result.decided} decisions decided again, {len(result.flips)} verdicts would flip")
    if result.unreadable:
        say(f"{len(result.unreadable)} could not be decided again: run `lumyn verify`")
    if not result.flips:
        return
    say()
    rows = result.by_reason()
    table(("was", "now", "reason_code", "count"), [(was, now, code, str(n)) for was, now, code, n in rows])
    say()
    for flip in result.flips:
        say(
            f"{flip.decision_id} {flip.created_at} {flip.action_type} "
            f"{verdict(flip.was)} -> {verdict(flip.now)} [{', '.join(flip.now_codes)}]"
        )


def _load(policy: str | None, path: str | None, workspace: str | None, config: str | None) -> CompiledPolicy:
    """Return a policy, or report every problem of it and leave."""
    from gateway.pipeline.policies import load_policy

    if policy is not None and path is not None:
        raise typer.BadParameter("name the policy once: as an argument or with --path")
    try:
        named = policy or path or load_settings(workspace, config).policy.path
        return load_policy(named)
    except InvalidPolicyError as error:
        typer.echo(error.message, err=True)
        raise typer.Exit(EXIT_REPORTED) from None
    except InvalidConfigError as error:
        fail(error)


def _cases(path: str) -> list[dict[str, object]]:
    from gateway.kernel.parse import parse_json

    try:
        value = parse_json(Path(path).read_bytes())
    except OSError as error:
        refuse(f"cannot read {path}: {(error.strerror or type(error).__name__).lower()}")
    except GatewayError as error:
        refuse(f"invalid json in {path}: {error.message}")
    found = value.get("cases") if isinstance(value, dict) else None
    if not isinstance(found, list) or not all(isinstance(case, dict) for case in found):
        refuse(
            f"{path} holds no cases", hint='write {"cases": [{"name": ..., "request": ..., "expect": ...}]}'
        )
    return found
