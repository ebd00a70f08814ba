"""`python -m controller.llmd.sim`: the same command as `lumyn sim`."""

from __future__ import annotations

import typer

from controller.llmd.sim.command import sim

if __name__ == "__main__":
    typer.run(sim)
