"""How calls and sessions fail."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import TypeVar

from google.protobuf.message import Message

M = TypeVar("M", bound=Message)


class Code(IntEnum):
    """What kind of failure a call had. The codes and their numbers are gRPC's."""

    OK = 0
    CANCELLED = 1
    """The caller gave up."""
    UNKNOWN = 2
    """The handler failed and did not say how."""
    INVALID_ARGUMENT = 3
    """The request is wrong, whatever the state of the system."""
    DEADLINE_EXCEEDED = 4
    """No answer came in time."""
    NOT_FOUND = 5
    """What the request names does not exist."""
    ALREADY_EXISTS = 6
    """What the request would make exists."""
    PERMISSION_DENIED = 7
    """The caller may not do this."""
    RESOURCE_EXHAUSTED = 8
    """A limit or quota is reached."""
    FAILED_PRECONDITION = 9
    """The system is not in the state that the request needs."""
    ABORTED = 10
    """A conflict with another call; try the whole again."""
    OUT_OF_RANGE = 11
    """Past the end of something that may grow."""
    UNIMPLEMENTED = 12
    """The peer does not have the method."""
    INTERNAL = 13
    """Something is broken."""
    UNAVAILABLE = 14
    """The peer cannot be reached now."""
    DATA_LOSS = 15
    """Data is lost for good."""
    UNAUTHENTICATED = 16
    """The caller is not known."""


class Reason(IntEnum):
    """Why a session ended: PROTOCOL.md, section 8.3."""

    CLOSED = 0
    """This side closed it."""
    PEER_GONE = 1
    """The peer closed it or died."""
    DRAINED = 2
    """It ended as planned, after its calls."""
    PROTOCOL = 3
    """The peer broke the protocol."""
    FOREIGN = 4
    """The peer speaks something else."""
    VERSION = 5
    """The peers have no protocol version in common."""
    NO_HANDSHAKE = 6
    """The peer did not say hello in time."""
    STALLED = 7
    """The peer took nothing for too long."""
    BROKEN = 8
    """The transport failed."""
    REFUSED = 9
    """The peer ended it and said why."""


REASON_NAMES = {
    Reason.CLOSED: "closed",
    Reason.PEER_GONE: "peer gone",
    Reason.DRAINED: "drained",
    Reason.PROTOCOL: "protocol violation",
    Reason.FOREIGN: "foreign protocol",
    Reason.VERSION: "version mismatch",
    Reason.NO_HANDSHAKE: "no handshake",
    Reason.STALLED: "stalled",
    Reason.BROKEN: "transport failed",
    Reason.REFUSED: "refused",
}


class SessionError(ConnectionError):
    """Why a session ended. It is the ``__cause__`` of the errors of the calls that ended with it."""

    _silent = False  # the peer left without having sent anything: it only looked whether somebody listens

    def __init__(self, reason: Reason, text: str) -> None:
        self.reason = reason
        self.text = text
        self.peer = ""
        """The peer's address, as in Peer; nothing where there was no session yet."""
        super().__init__(self._said())

    def _with(self, peer: str) -> None:
        """Say with whom the session was."""
        self.peer = peer
        self.args = (self._said(),)

    def _said(self) -> str:
        peer = f" with {self.peer}" if self.peer else ""
        return f"session{peer} ended: {REASON_NAMES[self.reason]}: {self.text}"


class RpcError(Exception):
    """How a call failed.

    Handlers raise one to say what the caller sees; callers get one from every call that fails. Details are typed errors:
    messages that the schema declares for the method by ``(ipcgen.v1.method).errors``. Only those reach the caller.
    """

    def __init__(self, code: Code | int, message: str, *details: Message) -> None:
        super().__init__(code, message, *details)
        self.code: Code | int = code
        """A Code, or the peer's number where that is none."""
        self.message = message
        """For people. A handler's travels to the caller, at most 1 KiB of it."""
        self.details: tuple[Message, ...] = details
        self.method = ""
        """The method that was called, "echo.v1.Echo/Say". The runtime sets it."""
        self.not_executed = False
        """Whether the handler has certainly not run, so that the call can be repeated whatever it does."""
        self.remote = False
        """Whether the peer answered so; otherwise the failure was found on this side."""
        self.trailers: Mapping[str, str] = {}
        """What the handler sent beside the error."""

    def detail(self, type_: type[M]) -> M | None:
        """Return the typed error of a type, or None where there is none."""
        for d in self.details:
            if isinstance(d, type_):
                return d
        return None

    def __str__(self) -> str:
        text = f"{code_name(self.code)}: {self.message}"
        return f"{self.method}: {text}" if self.method else text


class DeadlineExceeded(RpcError, TimeoutError):
    """An RpcError with the code DEADLINE_EXCEEDED: ``except TimeoutError`` finds it, on whichever side it was noticed."""

    def __init__(self, message: str, *details: Message) -> None:
        RpcError.__init__(self, Code.DEADLINE_EXCEEDED, message, *details)

    def __str__(self) -> str:
        return RpcError.__str__(self)


def rpc_error(code: int, message: str, details: Iterable[Message] = ()) -> RpcError:
    """Return the error of a call, as the class that its code has."""
    if code == Code.DEADLINE_EXCEEDED:
        return DeadlineExceeded(message, *details)
    return RpcError(_code(code), message, *details)


def not_executed(code: Code, message: str) -> RpcError:
    """Return the error of a call whose handler has certainly not run."""
    e = rpc_error(code, message)
    e.not_executed = True
    return e


def _code(code: int) -> Code | int:
    try:
        return Code(code)
    except ValueError:
        return code


def code_name(code: int) -> str:
    """Return the code's name: "NOT_FOUND"."""
    return code.name if isinstance(code, Code) else f"CODE_{code}"
