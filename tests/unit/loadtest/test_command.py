"""`lumyn loadtest`: usage, exit codes, what is said where a gateway or its backend is not there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from controller.evaluate.arms.data import Comparison, Told
from loadtest import command
from loadtest.classes import classes_of, default_entries
from loadtest.command import Asked, answers, first_model
from loadtest.stage import StageError
from tests.kit.arms import arm, comparison, offered
from tests.kit.loads import answering, plain, refused, streamed
from tests.kit.rawpeer import Message, raw_server

GOOD = comparison(arm("controlled", *(offered(index, 12.0) for index in range(30))))
BAD = comparison(arm("controlled", *(offered(index, 12.0, met=False) for index in range(30))))


@pytest.fixture
def lumyn_loadtest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The command, with a run that is given instead of played."""
    asked: list[Asked] = []

    def run(*words: str, found: Comparison | StageError = GOOD) -> Any:
        def play(flags: Asked, screen: object) -> Comparison:
            asked.append(flags)
            if isinstance(found, StageError):
                raise found
            return found

        monkeypatch.setattr(command, "play", play)
        monkeypatch.setattr(command, "write", lambda run, out, plots: out / "report.html")
        app = typer.Typer()
        app.command()(command.loadtest_command)
        done = CliRunner().invoke(app, ["--out", str(tmp_path), *words])
        done.asked = asked[-1] if asked else None  # type: ignore[attr-defined]
        return done

    return run


def test_a_run_that_passes_exits_with_0(lumyn_loadtest) -> None:
    """The table, the verdict, the page; a spike of four times the base is what is played by default."""
    done = lumyn_loadtest()
    assert done.exit_code == 0
    assert "PASS: 1.000 of the requests met their targets" in done.stdout
    assert "report.html" in done.stdout
    assert (done.asked.shape, done.asked.times, done.asked.arms) == ("spike", 4.0, ("none", "controlled"))
    assert (done.asked.spans.base_s, done.asked.spans.peak_s, done.asked.spans.after_s) == (15, 20, 20)


@pytest.mark.parametrize(
    ("found", "code"),
    [(BAD, 3), (replace(GOOD, partial="ended by SIGINT"), 4), (StageError("no gateway", hint="start it"), 1)],
)
def test_exit_codes(lumyn_loadtest, found: Any, code: int) -> None:
    """3 a bar was missed, 4 it ended early, 1 it could not be run."""
    assert lumyn_loadtest(found=found).exit_code == code


def test_an_error_says_what_to_do(lumyn_loadtest) -> None:
    """One line, and a hint."""
    done = lumyn_loadtest(found=StageError("no gateway answers", hint="start it"))
    assert done.stderr == "error: no gateway answers\nhint: start it\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("wave",), "no shape 'wave'"),
        (("--arms", "none,other"), "no arm 'other'"),
        (("--arms", " , "), "no arm"),
        (("--model", "m"), "--model goes with --url"),
        (("--admin-url", "http://x"), "--admin-url goes with --url"),
        (("--url", "http://127.0.0.1:1/v1"), "--url needs --rate"),
        (("--url", "nowhere", "--rate", "1"), "no base URL"),
        (("--url", "http://x/v1", "--rate", "1", "--classes", "/nowhere.yaml"), "cannot be read"),
        (
            ("--url", "http://x/v1", "--admin-url", "http://x", "--arms", "aimd", "--rate", "1"),
            "arm aimd needs",
        ),
    ],
)
def test_wrong_usage(lumyn_loadtest, words: tuple[str, ...], said: str) -> None:
    """Exit code 2, before anything is started."""
    done = lumyn_loadtest(*words)
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.asked is None


def test_without_an_admin_url_the_gateway_is_taken_as_it_is(lumyn_loadtest) -> None:
    """There is nothing that could switch its controller."""
    assert lumyn_loadtest("--url", "http://x/v1", "--rate", "1").asked.arms == ("gateway",)


def test_short_is_short(lumyn_loadtest) -> None:
    """Both arms at the same time, fourteen seconds."""
    asked = lumyn_loadtest("--short").asked
    assert (asked.short, asked.spans.end_s) == (True, 14.0)


def test_json_is_json(lumyn_loadtest) -> None:
    """Nothing else on standard output, in whatever way it ended."""
    done = lumyn_loadtest("--json", found=BAD)
    assert json.JSONDecoder().decode(done.stdout)["verdict"]["word"] == "FAIL"
    assert done.exit_code == 3


def test_the_timeline_is_shown_and_cut(lumyn_loadtest) -> None:
    """A dozen lines on the terminal; the page has the rest."""
    told = tuple(Told(10.0 * index, "premium", "SHED", f"refused: {index}") for index in range(20))
    done = lumyn_loadtest(found=comparison(replace(GOOD.arms[0], told=told)))
    assert "controlled, its decisions in words (20 lines in the report)" in done.stdout
    assert done.stdout.count("premium: refused") == command.TIMELINE_SHOWN


def test_a_directory_that_cannot_be_written(lumyn_loadtest, tmp_path: Path) -> None:
    """Is said before anything is started."""
    (tmp_path / "file").write_text("in the way")
    done = lumyn_loadtest("--out", str(tmp_path / "file"))
    assert (done.exit_code, done.asked) == (1, None)
    assert "cannot write into" in done.stderr


def test_a_browser_that_is_not_there(lumyn_loadtest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report is written all the same, and the exit code says that it was not opened."""

    def absent(page: Path) -> None:
        raise StageError("there is no browser here", hint=f"open {page} yourself")

    monkeypatch.setattr(command, "show", absent)
    done = lumyn_loadtest("--open")
    assert done.exit_code == 1
    assert "PASS" in done.stdout
    assert "no browser" in done.stderr


async def test_the_model_is_the_first_that_is_listed() -> None:
    """Unless one is named; what is no list of models is said."""
    async with raw_server(answering(lambda _: plain({"data": [{"id": "a"}, {"id": "b"}]}))) as server:
        assert await first_model(server.url, None, {}) == "a"
        assert await first_model(server.url, "b", {}) == "b"
    async with raw_server(answering(lambda _: plain({"data": []}))) as server:
        with pytest.raises(StageError, match="serves no model"):
            await first_model(server.url, None, {})
    async with raw_server(answering(lambda _: plain({"other": 1}))) as server:
        with pytest.raises(StageError, match="no list of models"):
            await first_model(server.url, None, {})
    async with raw_server(answering(lambda _: plain({}, 401))) as server:
        with pytest.raises(StageError, match="refuses the key"):
            await first_model(server.url, None, {})
    with pytest.raises(StageError, match=r"no gateway answers at .*: connection refused"):
        await first_model(server.url, None, {})


async def test_a_backend_that_is_down_is_found_first() -> None:
    """By one request, before a minute is spent; the gateway's own words are shown."""
    found = classes_of(default_entries(), "m", {})
    async with raw_server(answering(lambda _: streamed())) as server:
        await answers(server.url, b"{}", found)
    async with raw_server(answering(lambda _: refused(502, "UPSTREAM_UNREACHABLE"))) as server:
        with pytest.raises(StageError, match=r"answered 502.*UPSTREAM_UNREACHABLE") as caught:
            await answers(server.url, b"{}", found)
    assert "backend" in caught.value.hint
    with pytest.raises(StageError, match="schedule is empty"):
        await answers(server.url, b"", found)


async def test_the_first_request_is_of_the_first_class() -> None:
    """With its headers, so that a wrong key is found too."""
    seen: list[Message] = []

    def answer(message: Message) -> bytes:
        seen.append(message)
        return streamed()

    async with raw_server(answering(answer)) as server:
        await answers(server.url, b"{}", classes_of(default_entries(), "m", {"OPENAI_API_KEY": "k"}))
    assert seen[0].header("x-lumyn-intent") == "premium"
    assert seen[0].header("authorization") == "Bearer k"
