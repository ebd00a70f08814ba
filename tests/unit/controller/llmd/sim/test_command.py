"""The command runs alone, documents its flags, and says what is wrong with them."""

import contextlib
import os
import signal
import subprocess
import sys
import urllib.request

import orjson
import pytest
import typer
from typer.testing import CliRunner

from controller.llmd.sim.command import app

RUN = [sys.executable, "-m", "controller.llmd.sim"]


def test_it_serves_until_told_to_stop():
    """On a free port it prints its address, answers, and ends cleanly on SIGTERM."""
    with subprocess.Popen(
        [*RUN, "--preset", "llmd-demo", "--port", "0"], stdout=subprocess.PIPE, text=True
    ) as process:
        line = process.stdout.readline()
        assert "llama-70b (1), llama-8b (2), llama-1b (1)" in line
        base = line.split()[3].rstrip(",")
        with contextlib.closing(urllib.request.urlopen(f"{base}/models")) as answer:
            assert b"llama-70b" in answer.read()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_every_flag_is_documented():
    """No option without help."""
    command = typer.main.get_command(app)
    assert len(command.params) > 70
    assert all(parameter.help for parameter in command.params)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "nope"], "unknown preset"),
        (["--model", "x", "--preset", "llmd-demo"], "one of --config, --preset and --model"),
        (["--config", "/does/not/exist.yaml"], "No such file"),
        (["--max-num-seqs", "0"], "seqs_max"),
        (["--time-to-first-token", "soon"], "no duration"),
        (["--ssl-certfile", "/x"], "both of --ssl-certfile and --ssl-keyfile"),
        (["--lora-modules", '{"name": "a"}', "nope"], "is no JSON"),
    ],
)
def test_wrong_flags_end_with_one_line_and_status_2(arguments, message):
    """The line names what is wrong."""
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert result.output.startswith("lumyn sim: ")
    assert message in result.output


def test_a_taken_port_is_told(tmp_path):
    """Status 1, and the port's number."""
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [*RUN, "--port", port], capture_output=True, text=True, env=dict(os.environ), check=False
        )
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1 port {port}" in done.stderr


def test_a_file_of_the_go_simulator_is_served(tmp_path):
    """Its model, its adapters and its port; a flag on the command line comes first."""
    path = tmp_path / "config.yaml"
    path.write_text('model: qwen\nport: 0\nlora-modules:\n  - \'{"name": "lora1"}\'\nmax-num-seqs: 3\n')
    command = [
        *RUN,
        "--config",
        str(path),
        "--served-model-name",
        "shown",
        "alias",
        "--enable-kvcache",
        "true",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        base = process.stdout.readline().split()[3].rstrip(",")
        with contextlib.closing(urllib.request.urlopen(f"{base}/models")) as answer:
            names = [card["id"] for card in orjson.loads(answer.read())["data"]]
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert names == ["shown", "alias", "lora1"]
