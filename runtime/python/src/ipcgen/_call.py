"""A call on either side, as the session knows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from ._stream import Stream

if TYPE_CHECKING:
    from ._session import Session


class Method(Protocol):
    """A method that this side serves, as far as the session must know it."""

    @property
    def single(self) -> bool:
        """Whether the handler takes one message, which is there before it starts."""


class Failure:
    """How a call failed, before it is an exception."""

    __slots__ = ("cause", "code", "details", "not_executed", "remote", "text", "trailers")

    def __init__(
        self,
        code: int,
        text: str,
        *,
        not_executed: bool = False,
        remote: bool = False,
        details: list[tuple[str, bytes]] | None = None,
        trailers: dict[str, str] | None = None,
        cause: BaseException | None = None,
    ) -> None:
        self.code = code
        self.text = text
        self.not_executed = not_executed
        self.remote = remote
        self.details = details or []
        self.trailers = trailers or {}
        self.cause = cause


class SlotWaiter:
    """A call that waits for a slot."""

    __slots__ = ("refused", "slot", "waiter")

    def __init__(self, waiter: Any) -> None:
        self.waiter = waiter
        self.slot = -1
        self.refused = False


class Call(Stream):
    """A call of this side."""

    finished = False  # STATUS has come, or the session ended
    abandoned = False  # nobody waits for it
    why: Failure | None = None  # what it was abandoned for; None: the program canceled it
    late = False  # its deadline has passed
    failure: Failure | None = None
    trailers: dict[str, str] = {}  # noqa: RUF012 - replaced, never changed
    deadline = 0.0  # on the driver's clock; 0 is never
    mark = 0  # where in the bytes of the session it begins


class Incoming(Stream):
    """A call of the peer."""

    started = False  # the driver has been told to run the handler
    begun = False  # the handler runs, or has run: the driver says so
    request: bytes | None = None  # of a method of one message, when it came with the CALL
    cause = 0  # the code with which the handler was told to stop; 0: it was not
    deadline = 0.0
    task: Any = None  # the driver's

    def __init__(self, session: Session, id_: int, method: Method | None, metadata: dict[str, str]) -> None:
        super().__init__(session, id_)
        self.method = method
        self.metadata = metadata
        self.trailers: dict[str, str] = {}
