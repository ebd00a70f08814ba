"""`python -m controller.evaluate --scenario spike4 --policies all`: the same as `lumyn evaluate`."""

import typer

from controller.evaluate.command import evaluate

if __name__ == "__main__":
    typer.run(evaluate)
