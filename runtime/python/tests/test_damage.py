"""A session against peers that send damaged frames: it goes on or ends, and its books balance either way."""

from __future__ import annotations

import random
from typing import Any

import pytest
from vectors import load, unhex

import ipcgen
from ipcgen import SessionError
from ipcgen._call import Incoming
from ipcgen._errors import Reason
from ipcgen._limits import settle
from ipcgen._session import Session

FILE = load("sessions.json")
LIMITS = settle(
    ipcgen.Limits(max_frame=FILE["max_frame"], max_message=FILE["max_message"], calls=FILE["max_slots"], window=FILE["window"]),
    same_user=True,
)
TALKS = [
    b"".join(unhex(step["hex"]) for step in case["steps"] if step["do"] == "send")
    for case in FILE["cases"]
    if case["side"] == "listener" and case["steps"][0]["do"] == "hello"
]


class Method:
    def __init__(self, single: bool) -> None:
        self.single = single


class Driver:
    """Starts handlers and answers some of them."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.running: list[Incoming] = []

    def _opened(self) -> None:
        pass

    def _wake(self, waiter: Any) -> None:
        pass

    def _start_handler(self, incoming: Incoming) -> None:
        self.running.append(incoming)

    def _cancel_handler(self, incoming: Incoming) -> None:
        pass

    def _now(self) -> float:
        return 0.0

    def work(self, session: Session) -> None:
        """Take messages, answer calls, and let the transport take something."""
        for incoming in [i for i in self.running if self.chance.random() < 0.5]:
            while incoming.take() is not None:
                pass
            if self.chance.random() < 0.5:
                session.answer(incoming, None, b"answer")
                self.running.remove(incoming)
        while data := session.to_send():
            session.sent(self.chance.randint(1, len(data)))
            if self.chance.random() < 0.1:
                break


def damaged(talk: bytes, chance: random.Random) -> bytes:
    data = bytearray(talk)
    for _ in range(chance.choice((0, 1, 1, 2, 5))):
        at = chance.randrange(len(data)) if data else 0
        match chance.randrange(4):
            case 0 if data:
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                data[at:at] = chance.randbytes(chance.randrange(20))
            case 2:
                del data[at : at + chance.randrange(1, 20)]
            case _:
                data += data[at : at + 64]
    return bytes(data)


@pytest.mark.parametrize("seed", range(40))
def test_damage(seed: int) -> None:
    chance = random.Random(seed)
    methods = {
        int.from_bytes(bytes.fromhex(id_), "little"): Method(single)
        for id_, single in (("4ac77ea4e219522f", True), ("11721593d32ddd0b", False))
    }
    ended = 0
    for _ in range(60):
        driver = Driver(chance)
        session = Session(driver, 1, LIMITS, methods, [])
        data = unhex(FILE["hello"]) + damaged(b"".join(chance.choices(TALKS, k=3)), chance)
        try:
            while data:
                n = chance.choice((1, 7, 16, 100, 5000))
                session.receive(data[:n])
                data = data[n:]
                driver.work(session)
        except SessionError as e:
            session.end(e)
            ended += 1
        else:
            session.end(SessionError(Reason.CLOSED, "over"))
        for incoming in driver.running:
            session.answer(incoming, None)
        balance(session)
    assert ended > 10  # else nothing was damaged


def balance(session: Session) -> None:
    """Nothing is kept of calls that are over."""
    assert session.running == 0
    assert session.pending == 0
    assert session.reserved == 0
    assert session.raised == 0
    assert not any(session.remote)
