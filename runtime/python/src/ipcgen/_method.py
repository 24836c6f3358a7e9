"""What the schema says of a method, and how messages and errors pass between it and the session."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, Generic, TypedDict, TypeVar

from google.protobuf.message import DecodeError, EncodeError, Message

from ._call import Call, Failure
from ._errors import Code, RpcError, not_executed, rpc_error
from ._frame import CALL_HEAD, NO_METADATA, encode_metadata
from ._session import Session

Req = TypeVar("Req", bound=Message)
Res = TypeVar("Res", bound=Message)


class CallOptions(TypedDict, total=False):
    """What may be said of one call."""

    timeout: float | None
    """Seconds until the call fails with DEADLINE_EXCEEDED, in place of what the schema says; None and infinity are without
    limit. The deadline travels: the handler is told when it has passed."""
    metadata: Mapping[str, str]
    """Named values beside the request. Names are 1 to 255 characters of a-z, 0-9, '-', '_' and '.'; at most 64 entries and
    8 KiB (32 and 4 KiB where the peer is another user). A value that is not text is written as surrogate escapes."""
    trailers: dict[str, str]
    """A dictionary that gets what the handler sent with its answer."""


_OPTIONS = CallOptions.__annotations__.keys()

ENDLESS = 2**63 / 1e9
"""Seconds that a CALL cannot say any more, 292 years of them: such a call is without limit."""


class Method(Generic[Req, Res]):
    """A method of a service. Generated code has one for each; its shape is the subclass."""

    shape: int
    single = False  # the handler takes one message

    def __init__(
        self,
        path: str,
        request: type[Req],
        response: type[Res],
        *,
        timeout: float | None = None,
        errors: Sequence[type[Message]] = (),
    ) -> None:
        self.path = path  # "echo.v1.Echo/Say"
        self.id = int.from_bytes(hashlib.sha256(path.encode()).digest()[:8], "little")
        self.request = request
        self.response = response
        self.timeout = timeout if timeout is None or timeout < ENDLESS else None
        self.errors = {e.DESCRIPTOR.full_name: e for e in errors}

    def unimplemented(self) -> RpcError:
        """Return the error of a handler that is not there."""
        return not_executed(Code.UNIMPLEMENTED, "the peer knows the method and does not implement it")

    def time_limit(self, options: Mapping[str, Any]) -> float | None:
        """Return the seconds that a call may take; None is without limit. An RpcError or TypeError says what is wrong."""
        if not options:
            return self.timeout
        for name in options:
            if name not in _OPTIONS:
                raise TypeError(f"{self.path}: a call has no option {name!r}: there is {', '.join(_OPTIONS)}")
        if "timeout" not in options:
            return self.timeout
        timeout: float | None = options["timeout"]
        if timeout is None:
            return None
        if not isinstance(timeout, (int, float, Real)):
            raise TypeError(f"{self.path}: timeout is {timeout!r}: want seconds, as a number")
        if timeout != timeout:
            raise self.named(not_executed(Code.INVALID_ARGUMENT, f"timeout is {timeout}: want seconds"))
        return timeout if timeout < ENDLESS else None

    def metadata(self, metadata: Mapping[str, str], session: Session) -> bytes:
        """Return a call's metadata as it travels; an RpcError or TypeError says why it cannot."""
        try:
            encoded = encode_metadata(metadata, session.limits.metadata)
        except ValueError as e:
            raise self.named(not_executed(Code.INVALID_ARGUMENT, str(e))) from e
        size = CALL_HEAD.size - len(NO_METADATA) + len(encoded)
        if size > session.max_frame:
            text = (
                f"the call's metadata takes {size} bytes with what goes before it, "
                f"over the limit of {session.max_frame} of a frame"
            )
            raise self.named(not_executed(Code.INVALID_ARGUMENT, text))
        return encoded

    def encode_request(self, message: Message, session: Session, *, first: bool = True) -> bytes:
        """Return a request as it travels; an RpcError or TypeError says why it cannot. Where it is not the first of its call
        the handler runs already."""
        try:
            return self._encode(message, self.request, Code.INVALID_ARGUMENT, session)
        except RpcError as e:
            e.not_executed = first
            self.named(e)
            raise

    def encode_response(self, message: Message, session: Session) -> bytes:
        """Return a response as it travels; an RpcError or TypeError says why it cannot."""
        return self._encode(message, self.response, Code.INTERNAL, session)

    def _encode(self, message: Message, want: type[Message], malformed: Code, session: Session) -> bytes:
        """Return a message as it travels; malformed is the code of one that cannot be encoded."""
        if type(message) is not want:
            raise TypeError(f"{self.path}: want a message of the type {want.DESCRIPTOR.full_name}, got {_kind(message)}")
        try:
            data = message.SerializeToString()
        except (EncodeError, ValueError) as e:
            raise RpcError(malformed, f"encoding the message: {e}") from e
        if len(data) > session.max_message:
            text = f"message of {len(data)} bytes, over the limit of {session.max_message} that both sides take"
            raise RpcError(Code.RESOURCE_EXHAUSTED, text)
        return data

    def decode_response(self, data: bytes) -> Res:
        """Return what the peer answered."""
        try:
            return self.response.FromString(data)
        except DecodeError as e:
            raise self.named(rpc_error(Code.INTERNAL, f"decoding the response: {e}")) from e

    def decode_request(self, data: bytes) -> Req:
        """Return what the caller sent."""
        try:
            return self.request.FromString(data)
        except DecodeError as e:
            raise RpcError(Code.INVALID_ARGUMENT, f"decoding the request: {e}") from e

    def named(self, error: RpcError) -> RpcError:
        """Return an error that says which method was called."""
        error.method = self.path
        return error

    def error(self, failure: Failure) -> RpcError:
        """Return what a caller sees of a failed call."""
        details = []
        for name, value in failure.details:
            if name in self.errors:
                try:
                    details.append(self.errors[name].FromString(value))
                except DecodeError:
                    continue  # the peer's schema has another message of that name
        e = self.named(rpc_error(failure.code, failure.text, details))
        e.not_executed, e.remote, e.trailers = failure.not_executed, failure.remote, failure.trailers
        e.__cause__ = failure.cause
        return e

    def failure(self, error: BaseException, cause: int) -> tuple[Failure, bool]:
        """Return what of a handler's error goes to the caller: what was written for it, and nothing else. False says that
        nothing was. Cause is the code with which the handler had been told to stop."""
        if isinstance(error, RpcError):
            messages = [d for d in error.details if isinstance(d, Message)]
            details = [(d.DESCRIPTOR.full_name, d) for d in messages if d.DESCRIPTOR.full_name in self.errors]
            sound = isinstance(error.code, int) and 0 < error.code < 1 << 32
            failure = Failure(
                int(error.code) if sound else Code.UNKNOWN,
                str(error.message),  # a program may have put the error that it caught there
                details=[(name, d.SerializePartialToString()) for name, d in details],
                not_executed=error.not_executed and not error.method,  # not where it is another call's
            )
            return failure, len(details) == len(error.details)
        if isinstance(error, asyncio.CancelledError):
            if cause == Code.DEADLINE_EXCEEDED:
                return Failure(Code.DEADLINE_EXCEEDED, "the handler ran out of time"), True
            return Failure(Code.CANCELLED, "the handler was canceled"), True
        if isinstance(error, TimeoutError):
            return Failure(Code.DEADLINE_EXCEEDED, "the handler ran out of time"), True
        return Failure(Code.UNKNOWN, "the handler failed; its process's log says how"), False


def _kind(value: object) -> str:
    return value.DESCRIPTOR.full_name if isinstance(value, Message) else repr(type(value).__name__)


CLOSED_HALF = "this side has closed its half of the call, so it sends no more"
CLOSED = "this side has closed the call"


def let_go(call: Call) -> Failure:
    """Return how a call that this side has let go of fails for whoever still uses it."""
    return call.why or Failure(Code.CANCELLED, "canceled by the caller")


def because(error: BaseException) -> Failure | None:
    """Return what a call is let go of for that an error has ended; None where its program canceled it."""
    if isinstance(error, RpcError):
        return Failure(error.code, error.message, not_executed=error.not_executed, cause=error.__cause__)
    if isinstance(error, TypeError):
        return Failure(Code.INVALID_ARGUMENT, str(error), cause=error)
    return None


def no_response() -> RpcError:
    """Return the error of a call that ended well and without its response."""
    return rpc_error(Code.INTERNAL, "the peer ended the call without a response")


def several_responses() -> RpcError:
    """Return the error of a call of one response that got more."""
    return rpc_error(Code.INTERNAL, "the peer answered a call of one response with several")
