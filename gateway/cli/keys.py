"""`lumyn keys`: make API keys."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

import typer

from gateway.cli import options
from gateway.cli.render import say_facts, write_json

app = typer.Typer(help="Make API keys.", no_args_is_help=True, rich_markup_mode=None)

PREFIX: Final = "lumyn_"
"""So that scanners for leaked secrets can know one."""
KEY_BYTES: Final = 32
"""256 bits: nobody guesses one, so a plain digest is enough to keep."""


@app.callback()
def keys() -> None:
    """Make API keys."""


@app.command("new")
def new_command(*, as_json: options.AsJson = False) -> None:
    """Print a new key, for the client, and its hash, for `keys` in the configuration. Neither is stored."""
    from base64 import urlsafe_b64encode

    from gateway.system import SystemRandomness

    text = urlsafe_b64encode(SystemRandomness().token_bytes(KEY_BYTES)).rstrip(b"=").decode()
    key = f"{PREFIX}{text}"
    facts = {"key": key, "hash": f"sha256:{sha256(key.encode()).hexdigest()}"}
    if as_json:
        write_json(facts, "-", pretty=False)
    else:
        say_facts(facts)
