"""How the library is configured: one frozen, hashable value, checked where it is made."""

from __future__ import annotations

import os
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Final, Self

from gateway.kernel.errors import InvalidConfigError
from gateway.kernel.types import Mode
from gateway.policy.builtin import SUPPORT

if TYPE_CHECKING:  # reading files needs a library that takes longer to load than all the rest of this one
    from gateway.config import Config

DEFAULT_STORE_PATH: Final = ".lumyn/lumyn.db"
TOP_K_MAX: Final = 100
"""As in the configuration file: a record that names more is not read by anybody."""
_PROFILES: Final = ("default", "strict", "off")


@dataclass(frozen=True, slots=True)
class LumynConfig:
    """Where decisions are kept and what decides. Raises InvalidConfigError for a value that is none."""

    store_path: str | PathLike[str] | None = None
    """A local file; the last directory of the path is made where it is missing."""
    storage_url: str | None = None
    """`sqlite:path` or `postgresql://...`; give this or `store_path`."""
    policy_path: str | PathLike[str] = SUPPORT
    """A file, or the name of a built-in policy."""
    mode: str | None = None
    """`enforce`, `advisory`, or None: as the policy says."""
    redaction_profile: str = "default"
    """`default`, `strict` or `off`: the least that is removed; a request can ask for more."""
    top_k: int = 5
    """How many remembered outcomes a record names; 0 switches memory off."""
    packs: tuple[str, ...] | None = None
    """Further policies. None: the built-in packs, as far as the policy does not decide their actions."""
    advisory_allowed: bool = False
    """Whether a request may ask for advisory mode."""

    def __post_init__(self) -> None:
        if self.store_path is not None and self.storage_url is not None:
            raise InvalidConfigError("store_path and storage_url are both given", hint="give one of them")
        if self.mode is not None and self.mode not in set(Mode):
            raise InvalidConfigError(
                f"mode is {self.mode!r}", hint="use enforce or advisory, or leave it out"
            )
        if self.redaction_profile not in _PROFILES:
            raise InvalidConfigError(
                f"redaction_profile is {self.redaction_profile!r}", hint=f"use one of {', '.join(_PROFILES)}"
            )
        if type(self.top_k) is not int or not 0 <= self.top_k <= TOP_K_MAX:
            raise InvalidConfigError(f"top_k is {self.top_k!r}", hint=f"use a number from 0 to {TOP_K_MAX}")
        path = None if self.store_path is None else os.fspath(self.store_path)
        object.__setattr__(self, "store_path", path)
        object.__setattr__(self, "policy_path", os.fspath(self.policy_path))
        object.__setattr__(self, "packs", None if self.packs is None else tuple(self.packs))

    @property
    def url(self) -> str:
        """The URL of the store."""
        return self.storage_url or f"sqlite:{os.fspath(self.store_path or DEFAULT_STORE_PATH)}"

    @classmethod
    def from_file(cls, path: str | PathLike[str]) -> Self:
        """Read a configuration file (YAML); `LUMYN_*` variables win over it. Raises InvalidConfigError."""
        return cls._load(os.fspath(path))

    @classmethod
    def from_env(cls) -> Self:
        """Read `LUMYN_*` variables, and the file that LUMYN_CONFIG_PATH names. Raises InvalidConfigError."""
        return cls._load(None)

    @classmethod
    def _load(cls, path: str | None) -> Self:
        from gateway.config import load_config

        return cls.of(load_config(path, os.environ))

    @classmethod
    def of(cls, config: Config) -> Self:
        """Return the library's part of a whole configuration."""
        policy = config.policy
        return cls(
            storage_url=config.storage.url,
            policy_path=policy.path,
            mode=policy.mode,
            redaction_profile=config.redaction.profile,
            top_k=config.memory.top_k,
            packs=policy.packs if "packs" in policy.model_fields_set else None,
            advisory_allowed=policy.advisory_allowed,
        )
