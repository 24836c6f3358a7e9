"""The ranges that limits are brought into."""

from __future__ import annotations

import pytest

from ipcgen import Limits
from ipcgen._limits import settle


@pytest.mark.parametrize(("given", "kept"), [(1, 4 << 10), (5 << 20, 5 << 20), (2**31 - 1, 2040 << 20), (1 << 40, 2040 << 20)])
def test_max_message(given: int, kept: int) -> None:
    assert settle(Limits(max_message=given), same_user=True).max_message == kept
