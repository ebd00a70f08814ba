"""`python -m controller.llmd.sim`: the same command as `lumyn sim`."""

from __future__ import annotations

from controller.llmd.sim.command import app

if __name__ == "__main__":
    app()
