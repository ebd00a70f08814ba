"""The reference implementation's own encoding and digests, to verify records and packs that it wrote.

It promises RFC 8785 and writes what CPython's JSON encoder writes: keys in code point order, `12` and
`12.0` apart, exponents with two digits, NaN and big integers as they come (contract 2.1). So its
documents are read here without the number rule, and digested in that spelling. Nothing new is ever
written this way.
"""

from __future__ import annotations

import json
import math
from json.decoder import JSONDecodeError, JSONDecoder
from typing import Final

from gateway.kernel.bounds import CANON_DEPTH_MAX
from gateway.kernel.canon import sha256_digest
from gateway.kernel.errors import GatewayError, RecordError
from gateway.kernel.parse import check_depth
from gateway.kernel.types import JSON, JSONObject

_DECODER: Final = JSONDecoder()
_HINT: Final = "the document is not one that the reference implementation could have written"


def read_legacy(data: bytes) -> JSON:
    """Read a JSON document of the reference: floats stay floats, NaN passes, the last twin wins.

    RecordError for what is no JSON, nests too deep, or has integers of thousands of digits.
    """
    try:
        text = data.decode()
        check_depth(text, CANON_DEPTH_MAX)
        return _DECODER.decode(text)
    except JSONDecodeError as error:
        raise _broken(f"no JSON at line {error.lineno}, column {error.colno}") from None
    except UnicodeDecodeError as error:
        raise _broken(f"no UTF-8 at byte {error.start}") from None
    except GatewayError as error:
        raise _broken(error.message) from None
    except ValueError:
        raise _broken("it holds an integer of thousands of digits") from None


def legacy_bytes(value: JSON) -> bytes:
    """Return the reference's canonical spelling of a value from `read_legacy` or from its YAML reader."""
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise _broken(f"it has no spelling ({type(error).__name__})") from None


def legacy_digest(value: JSON) -> str:
    """Return the digest over `legacy_bytes`: a `policy_hash`, where `value` is a policy document."""
    return sha256_digest(legacy_bytes(value))


def legacy_derived(request: JSONObject) -> JSONObject:
    """Return the values that the reference derived from a request (contract 1.5), as floats."""
    action = _object(request.get("action"))
    amount = _object(action.get("amount"))
    currency = amount.get("currency")
    rate = _number(_object(request.get("evidence")).get("fx_rate_to_usd"))
    value = _number(amount.get("value"))
    usd = None
    if value is not None and isinstance(currency, str):
        if currency == "USD":
            usd = value
        elif rate is not None:
            usd = value * rate
    return {
        "action_type": action.get("type"),
        "amount_currency": currency if isinstance(currency, str) else None,
        "amount_usd": usd,
        "amount_value": value,
        "fx_rate_to_usd_present": rate is not None,
    }


def legacy_inputs_digest(request: JSONObject) -> str:
    """Return the `inputs_digest` that the reference took of a request as its record holds it."""
    return legacy_digest({"derived": legacy_derived(request), "request": request})


def differences(record: JSON, policy: JSON = None) -> tuple[str, ...]:
    """Return what in a record of the reference is not what its digests say; empty where all is well.

    `policy` is the parsed policy document of its pack, or None to leave the policy out.
    """
    found: list[str] = []
    whole = _object(record)
    computed = legacy_inputs_digest(_object(whole.get("request")))
    recorded = _object(whole.get("determinism")).get("inputs_digest")
    if recorded != computed:
        found.append(f"inputs_digest mismatch: record={recorded} computed={computed}")
    if policy is not None:
        computed = legacy_digest(policy)
        recorded = _object(whole.get("policy")).get("policy_hash")
        if recorded != computed:
            found.append(f"policy_hash mismatch: record={recorded} computed={computed}")
    return tuple(found)


def _object(value: JSON) -> JSONObject:
    return value if isinstance(value, dict) else {}


def _number(value: JSON) -> float | None:
    # To the reference True is 1.0, and what overflows it crashed on: infinity equals nothing it wrote.
    if not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _broken(reason: str) -> RecordError:
    return RecordError(f"the document cannot be read: {reason}", hint=_HINT)
