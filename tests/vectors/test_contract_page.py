"""The examples on docs/contract.md are what the reader does."""

import re
from pathlib import Path

import pytest

from gateway.kernel.bounds import AMOUNT_SCALE_MAX, JSON_DEPTH_MAX
from gateway.kernel.canon import canonical_bytes
from gateway.kernel.errors import InvalidRequestError
from gateway.kernel.parse import parse_json
from gateway.records.redact import SECRET_NAMES

PAGE = (Path(__file__).parents[2] / "docs" / "contract.md").read_text()
ROWS = re.findall(r"^\| (`.+?`) \| (.+?) \| .+ \|$", PAGE.partition("## What else")[0], re.MULTILINE)
CASES = [(literal, outcome) for literals, outcome in ROWS for literal in re.findall(r"`(.+?)`", literals)]


@pytest.mark.parametrize(("literal", "outcome"), CASES)
def test_number_table(literal, outcome):
    """Each number of the table is read as the value beside it, or refused."""
    if outcome == "refused":
        with pytest.raises(InvalidRequestError):
            parse_json(literal)
    else:
        expected = literal if outcome == "as written" else outcome
        assert canonical_bytes(parse_json(literal)) == expected.encode()


def test_page_is_not_empty():
    """The table was found, with numbers of both kinds."""
    assert len(CASES) >= 15
    assert {"refused", "201", "as written"} <= {outcome for _, outcome in CASES}


def test_limits_and_names_on_the_page():
    """The limits and the redacted names that the page prints are those in force."""
    assert f"more than {JSON_DEPTH_MAX} levels" in PAGE
    assert f"at most {AMOUNT_SCALE_MAX} decimal places" in PAGE
    row = PAGE.partition("| `default` |")[2].partition("\n")[0]
    assert set(re.findall(r"`(.+?)`", row)) == SECRET_NAMES
