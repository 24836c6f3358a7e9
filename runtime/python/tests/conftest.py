"""What tests share: coroutine functions are tests, and the schema of testdata/services is there as echo.v1."""

from __future__ import annotations

import asyncio
import inspect
import sys
from pathlib import Path

import pytest

TESTDATA = Path(__file__).parents[3] / "testdata"
sys.path.insert(0, str(TESTDATA / "services" / "python"))

HANGS = 60
"""Seconds after which a test is taken to hang."""


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run tests that are coroutine functions."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters}

    async def run() -> None:
        async with asyncio.timeout(HANGS):
            await pyfuncitem.obj(**arguments)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, "the test left tasks behind"

    asyncio.run(run())
    return True
