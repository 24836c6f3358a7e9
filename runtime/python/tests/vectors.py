"""Reads testdata/vectors."""

from __future__ import annotations

import json
from typing import Any

from conftest import TESTDATA


def load(name: str) -> Any:
    """Return the content of one of the files."""
    return json.loads((TESTDATA / "vectors" / name).read_text())


def unhex(text: str) -> bytes:
    """Return bytes as the files write them: digits in groups, of which one may be repeated: "0a05 61*5"."""
    joined = b""
    for group in text.split():
        digits, _, times = group.partition("*")
        joined += bytes.fromhex(digits) * int(times or 1)
    return joined
