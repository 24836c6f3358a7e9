"""Processes that are forked from the one that tests."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable

from conftest import HANGS


def in_fork(function: Callable[[], object]) -> str:
    """Return what a function returns, or raises, in a fork of this process, as text."""
    reads, writes = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # there are threads: that is what is tested
        child = os.fork()
    if not child:
        signal.alarm(HANGS)
        try:
            text = str(function())
        except BaseException as e:
            text = f"{type(e).__name__}: {e}"
        os.write(writes, text.encode())
        os._exit(0)
    os.close(writes)
    with os.fdopen(reads) as said:
        text = said.read()
    os.waitpid(child, 0)
    return text
