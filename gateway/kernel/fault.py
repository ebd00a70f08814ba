"""The root of the error tree; the tree itself stands in `kernel.errors`.

`message` is lower case, says what was wrong and where; `hint` says what to do next.
"""

from __future__ import annotations

from typing import ClassVar


class GatewayError(Exception):
    """Root of the tree. `retryable` becomes `x-should-retry`; `retry_after_s` becomes `Retry-After`."""

    default_code: ClassVar[str] = "INTERNAL"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        pointer: str | None = None,
        hint: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.pointer = pointer
        self.hint = hint
        self.retry_after_s = retry_after_s
