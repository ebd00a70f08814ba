"""`python -m gateway.cli` is `lumyn`, for a checkout that is not installed."""

from gateway.cli.main import main

main()
