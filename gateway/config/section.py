"""What every section of the configuration is."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A section: frozen, and a key that is not known is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
