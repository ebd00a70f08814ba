"""The one error tree. Every error that leaves the gateway is one of these, with a stable code.

GatewayError
  RequestError            the caller can mend it: 4xx
    InvalidRequestError     422  INVALID_REQUEST_SCHEMA   a value is wrong; `pointer` says which
    MalformedRequestError   400  MALFORMED_REQUEST        the bytes are no request
    ProtocolError           400  MCP_MESSAGE_INVALID      the message breaks a rule of its revision
                                 MCP_HEADER_MISMATCH | MCP_METHOD_UNKNOWN | MCP_PARAMS_INVALID |
                                 MCP_STATE_INVALID | MCP_TOOL_UNKNOWN | MCP_VERSION_UNSUPPORTED
    UnauthorizedError       401  AUTH_REQUIRED | AUTH_INVALID_KEY | AUTH_INVALID_SIGNATURE
    ForbiddenError          403  FORBIDDEN
    NotFoundError           404  NOT_FOUND | MODEL_NOT_FOUND
    MethodNotAllowedError   405  METHOD_NOT_ALLOWED;  RequestTimeoutError  408  REQUEST_TIMEOUT
    ConflictError           409  IDEMPOTENCY_CONFLICT | IDEMPOTENCY_SPENT | OUTCOME_CONFLICT
      DuplicateKeyError            the store's own word for it, caught where the twin is looked up
      ClaimTakenError              the same for a claim, caught where the claim's meaning is known
      UnknownOutcomeError        IDEMPOTENCY_UNKNOWN  it may have been done: it is not done again
    TooLargeError           413  BODY_TOO_LARGE;  UnsupportedMediaError  415  UNSUPPORTED_MEDIA_TYPE
  RefusedError            403  the policy said no; `code` is the deciding reason code
    ToolCallRefusedError      TOOL_CALL_REFUSED       a model's answer was withheld for a tool call in it
    NotTrustedError             of a gated function that therefore did not run; it carries the record
    QueryError            422  EVIDENCE_NEEDED         the policy asks; the code is its reason code
    PendingError          202  APPROVAL_PENDING        a person is asked; `approval_id` says where to look
    DeniedError                APPROVAL_DENIED         the person said no
    TooManyApprovalsError 429  APPROVALS_FULL          too many questions of this key wait for a person
    ApprovalError         409  APPROVAL_MISMATCH | APPROVAL_USED | APPROVAL_EXPIRED |
                               APPROVAL_POLICY_CHANGED | APPROVAL_NOT_PENDING
  LoadError               the controller did not let it through; nothing was forwarded
    ShedError             429  SHED                     refused at once: no permitted way to serve it now
    ExpiredError          503  EXPIRED                  it waited until it could no longer be in time
  InFlightError           409  IDEMPOTENCY_IN_FLIGHT    the same action is under way
  StoreError              503
    StoreUnavailableError   STORAGE_UNAVAILABLE           nothing was recorded, nothing forwarded
    StoreBusyError          STORAGE_BUSY | IDEMPOTENCY_FULL   a bound is reached: back-pressure
  UpstreamError
    UpstreamUnreachableError 502  UPSTREAM_UNREACHABLE
      UpstreamBusyError             our own bound of connections to it, no fault of its own
      UpstreamOpenError      503  UPSTREAM_OPEN            its breaker is open, and nobody else serves
    UpstreamBrokenError      502  UPSTREAM_BROKEN          it answered, and not in HTTP or not to the end
      AnswerUnreadableError       ANSWER_UNREADABLE        it may hold tool calls, and cannot be read
      UpstreamClosedError           it closed the connection before it had answered
    UpstreamAddressError     502  UPSTREAM_ADDRESS_REFUSED   its name leads where we may not go
    UpstreamTimeoutError     504  UPSTREAM_TIMEOUT
      UpstreamConnectTimeoutError   no connection in time
  SetupError                exit 2: the gateway refuses to start
    InvalidConfigError      INVALID_CONFIG
    InvalidPolicyError      INVALID_POLICY
    StoreSetupError         STORAGE_SETUP
  RecordError               VERIFY_FAILED | REPLAY_DIFFERS  what is stored is not what was written
  InternalError           500  INTERNAL                   a fault of ours; nothing internal leaks
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from gateway.kernel.fault import GatewayError as GatewayError  # noqa: PLC0414 - the root is told from here
from gateway.kernel.problem import Problem


class RequestError(GatewayError):
    """The caller can mend it; nothing was recorded as decided and nothing was forwarded."""

    default_code = "MALFORMED_REQUEST"
    status = 400


class InvalidRequestError(RequestError, ValueError):
    """A value in a well-formed request is wrong. `pointer` is an RFC 6901 pointer to it."""

    default_code = "INVALID_REQUEST_SCHEMA"
    status = 422

    @property
    def reason_code(self) -> str:
        """The name that the library's contract gives to `code`."""
        return self.code


class MalformedRequestError(RequestError):
    """The bytes are not a request: no JSON, bad framing, a header that may not be."""


class ProtocolError(RequestError):
    """The message breaks a rule of its protocol's revision. `data` goes to the client beside the message."""

    default_code = "MCP_MESSAGE_INVALID"

    def __init__(
        self, message: str, *, code: str | None = None, data: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message, code=code)
        self.data = data


class UnauthorizedError(RequestError):
    """No credential, or not a valid one."""

    default_code = "AUTH_REQUIRED"
    status = 401


class ForbiddenError(RequestError):
    """The credential is valid and does not cover this."""

    default_code = "FORBIDDEN"
    status = 403


class NotFoundError(RequestError):
    """No such path, decision or model."""

    default_code = "NOT_FOUND"
    status = 404


class MethodNotAllowedError(RequestError):
    """The path exists, with other methods."""

    default_code = "METHOD_NOT_ALLOWED"
    status = 405

    def __init__(self, allowed: Sequence[str]) -> None:
        self.allowed = tuple(allowed)
        super().__init__("this method is not allowed here", hint=f"use {', '.join(allowed)}")


class RequestTimeoutError(RequestError):
    """The client was too slow in sending its request."""

    default_code = "REQUEST_TIMEOUT"
    status = 408


class ConflictError(RequestError):
    """The same idempotency key with another request."""

    default_code = "IDEMPOTENCY_CONFLICT"
    status = 409


class DuplicateKeyError(ConflictError):
    """The store already holds this idempotency key; `decision_id` names its decision."""

    def __init__(self, decision_id: str) -> None:
        super().__init__("the idempotency key is taken")
        self.decision_id = decision_id


class ClaimTakenError(ConflictError):
    """What was to be claimed stands otherwise: in `state`, held by `decision_id`; empty where nothing is."""

    def __init__(self, space: str, state: str, decision_id: str) -> None:
        super().__init__("another request was faster")
        self.space = space
        self.state = state
        self.decision_id = decision_id


class UnknownOutcomeError(ConflictError):
    """The same action was forwarded before, and nobody knows what came of it."""

    default_code = "IDEMPOTENCY_UNKNOWN"


class TooLargeError(RequestError):
    """Over a bound of `kernel.bounds`."""

    default_code = "BODY_TOO_LARGE"
    status = 413


class UnsupportedMediaError(RequestError):
    """A content type or coding that this route does not read."""

    default_code = "UNSUPPORTED_MEDIA_TYPE"
    status = 415


class RefusedError(GatewayError):
    """The policy did not trust the request; `code` is the reason code that decided."""

    default_code = "POLICY_DENIED"
    status = 403
    facts: Mapping[str, Any] | None = None
    """Further members of the answer, where its API has room for them: decision, verdict, questions."""


class NotTrustedError(RefusedError):
    """A gated function did not run; `record` is the Decision Record that says why."""

    def __init__(self, record: Mapping[str, Any]) -> None:
        self.record = record
        super().__init__(
            f"{record['request']['action']['type']} is not trusted: {record['verdict']} "
            f"({', '.join(record['reason_codes'])})",
            code=record["reason_codes"][0],
            hint=f"see decision {record['decision_id']}",
        )


class QueryError(RefusedError):
    """The policy needs more evidence; `facts` holds what is missing, and the question for each."""

    default_code = "EVIDENCE_NEEDED"
    status = 422


class ToolCallRefusedError(RefusedError):
    """A tool call in a model's answer was not permitted, and answers are withheld for that."""

    default_code = "TOOL_CALL_REFUSED"


class PendingError(RefusedError):
    """A person must approve it, and has been asked. The very same request may be repeated."""

    default_code = "APPROVAL_PENDING"
    status = 202

    def __init__(self, approval_id: str, *, follows: str | None = None) -> None:
        self.approval_id = approval_id
        before = "" if follows is None else f" once more ({follows})"
        super().__init__(
            f"a person must approve this request{before}",
            hint=f"ask for approval {approval_id}, and repeat the very same request once it is approved",
        )


class DeniedError(RefusedError):
    """The person who was asked said no."""

    default_code = "APPROVAL_DENIED"


class ApprovalError(RefusedError):
    """An approval does not let this request through; `code` says why."""

    default_code = "APPROVAL_MISMATCH"
    status = 409


class TooManyApprovalsError(RefusedError):
    """So many questions of one key wait for a person that nobody would come to this one."""

    default_code = "APPROVALS_FULL"
    status = 429


class LoadError(GatewayError):
    """There is no room for the request as its intent declares it; it may come again."""

    default_code = "SHED"
    status = 429
    retryable = True


class ShedError(LoadError):
    """Refused at once."""


class ExpiredError(LoadError):
    """Refused after it had waited."""

    default_code = "EXPIRED"
    status = 503


class InFlightError(GatewayError):
    """The very same action is under way."""

    default_code = "IDEMPOTENCY_IN_FLIGHT"
    status = 409
    retryable = True


class StoreError(GatewayError):
    """The record could not be kept, so nothing was forwarded."""

    default_code = "STORAGE_UNAVAILABLE"
    status = 503
    retryable = True


class StoreUnavailableError(StoreError):
    """The store failed; it says so until it is well again."""


class StoreBusyError(StoreError):
    """The write queue is at its bound: back-pressure, not loss."""

    default_code = "STORAGE_BUSY"


class UpstreamError(GatewayError):
    """The backend did not answer as it should."""

    default_code = "UPSTREAM_BROKEN"
    status = 502
    sent: ClassVar[bool] = True
    """Bytes of the request may have reached the backend."""


class UpstreamUnreachableError(UpstreamError):
    """No connection: no byte of the request left."""

    default_code = "UPSTREAM_UNREACHABLE"
    retryable = True
    sent = False


class UpstreamBusyError(UpstreamUnreachableError):
    """No connection is free, or we are stopping: nothing is known of the backend."""


class UpstreamOpenError(UpstreamUnreachableError):
    """The backend has failed too often, and it is not its time to be tried again."""

    default_code = "UPSTREAM_OPEN"
    status = 503


class UpstreamBrokenError(UpstreamError):
    """It answered, and not in HTTP, or not to the end."""


class UpstreamClosedError(UpstreamBrokenError):
    """It closed the connection before the head of its answer was whole."""


class UpstreamAddressError(UpstreamError):
    """Its name resolves to an address that is not allowed; nothing was sent."""

    default_code = "UPSTREAM_ADDRESS_REFUSED"
    retryable = True
    sent = False


class AnswerUnreadableError(UpstreamBrokenError):
    """The answer may hold tool calls, and is not what its API says: nothing of it may go on."""

    default_code = "ANSWER_UNREADABLE"


class UpstreamTimeoutError(UpstreamError):
    """A deadline passed: first byte or idle."""

    default_code = "UPSTREAM_TIMEOUT"
    status = 504


class UpstreamConnectTimeoutError(UpstreamTimeoutError):
    """No connection in time: no byte of the request left."""

    retryable = True
    sent = False


class SetupError(GatewayError):
    """The gateway refuses to start; one clear line each."""

    default_code = "SETUP"


class InvalidConfigError(SetupError):
    """A key of the configuration is wrong."""

    default_code = "INVALID_CONFIG"


class InvalidPolicyError(SetupError, ValueError):
    """A policy document is wrong; `problems` lists every reason found, each with its place."""

    default_code = "INVALID_POLICY"

    def __init__(self, problems: Sequence[Problem], *, source: str = "policy") -> None:
        self.problems = tuple(problems)
        self.source = source
        lines = "\n".join(f"- {problem}" for problem in self.problems)
        super().__init__(f"invalid policy:\n{lines}", hint=f"mend {source} and run `lumyn policy validate`")


class StoreSetupError(SetupError):
    """The store cannot be opened as configured."""

    default_code = "STORAGE_SETUP"


class RecordError(GatewayError):
    """What is stored is not what was written."""

    default_code = "VERIFY_FAILED"


class InternalError(GatewayError):
    """A fault of ours. The message is fixed, so that nothing internal leaks."""

    def __init__(self) -> None:
        super().__init__("internal error", hint="the gateway's log names it under this request id")
