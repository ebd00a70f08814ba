"""One YAML file and the environment become one frozen, validated `Config`.

Precedence: command-line flags, then `LUMYN_*` variables, then the file, then the defaults. Every
key is described in `config.example.yaml`, which a test holds against this schema.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from gateway.config.parts import Config
from gateway.kernel.errors import InvalidConfigError, InvalidPolicyError
from gateway.kernel.types import JSON, JSONObject
from gateway.policy.document import read_document

_VARIABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "LUMYN_STORAGE_URL": ("storage", "url"),
    "LUMYN_POLICY_PATH": ("policy", "path"),
    "LUMYN_MODE": ("policy", "mode"),
    "LUMYN_REDACTION_PROFILE": ("redaction", "profile"),
    "LUMYN_TOP_K": ("memory", "top_k"),
    "LUMYN_SIGNING_SECRET": ("service", "signing_secret"),
    "LUMYN_LOG_LEVEL": ("log", "level"),
}
"""The names of the contract, and where each one goes. A blank variable is an unset one."""

_BACKEND_VARIABLE: Final = "LUMYN_BACKEND_URL"
_ONE_BACKEND: Final = "default"
_PATH_VARIABLE: Final = "LUMYN_CONFIG_PATH"
_REFERENCE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def load_config(
    path: str | None,
    environment: Mapping[str, str],
    overrides: Mapping[str, Any] | None = None,
) -> Config:
    """Return the configuration. `overrides` are the flags, as nested mappings.

    Without a path `LUMYN_CONFIG_PATH` names the file; without that the defaults hold. A file that is
    named and not there is an error: a gateway that starts with other rules than asked is worse than
    one that does not start. Raises InvalidConfigError.
    """
    named = path or environment.get(_PATH_VARIABLE) or None
    value = {} if named is None else _read_file(named)
    value = _resolve(value, environment, where="")
    for variable, keys in _VARIABLES.items():
        if text := environment.get(variable, "").strip():
            _set(value, keys, text.lower() if variable == "LUMYN_LOG_LEVEL" else text)
    if url := environment.get(_BACKEND_VARIABLE, "").strip():
        _use_one_backend(value, url)
    value = _merge(value, overrides or {})
    try:
        return Config.model_validate(value).read_from(named)
    except ValidationError as error:
        raise _explain(error, named or "configuration") from None


def _read_file(path: str) -> JSONObject:
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise InvalidConfigError(f"{path} cannot be read: {_reason(error)}") from None
    if all(line.strip() == b"" or line.lstrip().startswith(b"#") for line in text.splitlines()):
        # An example of which nothing has been taken yet.
        return {}
    try:
        value = read_document(text, source=path).value
    except InvalidPolicyError as error:
        lines = "\n".join(f"- {problem}" for problem in error.problems)
        raise InvalidConfigError(f"{path} is not a configuration:\n{lines}") from None
    if not isinstance(value, dict):
        raise InvalidConfigError(f"{path} must hold a mapping of keys to values")
    return value


def _resolve(value: JSON, environment: Mapping[str, str], *, where: str) -> Any:
    """Replace `${NAME}` by the variable; a secret that is not there is an error and never an empty string."""
    if isinstance(value, dict):
        return {key: _resolve(item, environment, where=f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [_resolve(item, environment, where=f"{where}[{index}]") for index, item in enumerate(value)]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        if (text := environment.get(match.group(1))) is None:
            raise InvalidConfigError(f"{where.lstrip('.')}: the variable {match.group(1)} is not set")
        return text

    return _REFERENCE.sub(replace, value)


def _set(value: JSONObject, keys: tuple[str, ...], text: str) -> None:
    part = value.setdefault(keys[0], {})
    if isinstance(part, dict):
        part[keys[1]] = text


def _use_one_backend(value: JSONObject, url: str) -> None:
    """Put one backend in the place of those of the file; its models stay, and are served by that one.

    Nothing else is taken over: a credential of the file was meant for another origin.
    """
    value["backends"] = [{"name": _ONE_BACKEND, "url": url}]
    models = value.get("models")
    if isinstance(models, list):
        value["models"] = [
            {**model, "backend": _ONE_BACKEND} if isinstance(model, dict) else model for model in models
        ]


def _merge(base: JSONObject, over: Mapping[str, Any]) -> JSONObject:
    merged = dict(base)
    for key, item in over.items():
        below = merged.get(key)
        merged[key] = _merge(below, item) if isinstance(below, dict) and isinstance(item, Mapping) else item
    return merged


def _explain(error: ValidationError, source: str) -> InvalidConfigError:
    """Say each thing that is wrong in one line; never quote a value, which may be a secret."""
    lines = [
        f"- {'.'.join(str(part) for part in problem['loc']) or 'configuration'}: "
        f"{_lower_first(problem['msg'].removeprefix('Value error, '))}"
        for problem in error.errors(include_input=False, include_url=False)
    ]
    return InvalidConfigError(f"{source} is not valid:\n" + "\n".join(lines), hint="see config.example.yaml")


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
