"""Frames, each alone, against the vectors and what the fuzz target of Go's parser has found."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import TESTDATA
from vectors import load, unhex

from ipcgen import _frame as frame

FLAGS = {"END": 1, "MORE": 2, "MSG": 4, "ACK": 8, "NOT_EXECUTED": 16}
TYPES = {rule.name: type_ for type_, rule in frame.RULES.items()}
FILES = ("frames.json", "handshakes.json", "calls.json", "statuses.json")
CASES = [
    pytest.param(file, case, id=f"{name[:-5]}: {case['name']}")
    for name in FILES
    for file in (load(name),)
    for case in file["cases"]
]


def parse(file: dict[str, Any], data: bytes) -> dict[str, Any]:
    """Return what is in a frame, in the words of the vectors."""
    if len(data) < frame.HEADER_SIZE:
        raise frame.Malformed("shorter than a header")
    word, zero, length, stream, arg = frame.HEADER.unpack_from(data)
    frame.check(word, zero, length, stream, arg, file["max_frame"])
    type_, stop = word & 0xFF, len(data)
    found: dict[str, Any] = {
        "type": frame.RULES[type_].name,
        "flags": sorted(name for name, bit in FLAGS.items() if word >> 8 & bit),
        "stream": stream,
        "arg": arg,
    }
    limit = frame.MetadataLimit(file.get("metadata_entries", 4), file.get("metadata_bytes", 64))
    if type_ == frame.HELLO:
        found["hello"] = frame.parse_hello(data[16:])
    elif type_ == frame.CALL:
        found["call"] = frame.parse_call(data, 16, stop, limit)
    elif type_ == frame.STATUS:
        found["status"] = frame.parse_status(data, 16, stop, limit)
    elif type_ in (frame.DATA, frame.GOAWAY):
        found["payload"] = data[16:].hex()
    return found


def metadata(want: dict[str, str]) -> dict[str, str]:
    return {name: bytes.fromhex(value).decode("utf-8", "surrogateescape") for name, value in want.items()}


def wanted(want: dict[str, Any]) -> dict[str, Any]:
    """Return what a vector wants, in the form of parse."""
    want = {**want, "flags": sorted(want["flags"])}
    if "hello" in want:
        hello = dict(want["hello"])
        hello["session"] = int(hello["session"])
        hello["services"] = [(s["name"], int(s["hash"])) for s in hello["services"]]
        want["hello"] = frame.Hello(**hello)
    if "call" in want:
        c = want["call"]
        method = int.from_bytes(bytes.fromhex(c["method"]), "little")
        want["call"] = (method, int(c["timeout"]), metadata(c["metadata"]), unhex(c["message"]))
    if "status" in want:
        s = want["status"]
        details = [(d["type"], unhex(d["value"])) for d in s["details"]]
        want["status"] = (frame.StatusHead(s["text"], details, metadata(s["trailers"])), unhex(s["message"]))
    if "payload" in want:
        want["payload"] = unhex(want["payload"]).hex()
    return want


def encode(file: dict[str, Any], found: dict[str, Any]) -> bytes:
    """Return the bytes of what parse found."""
    limit = frame.MetadataLimit(64, 8192)
    payload = b""
    if "hello" in found:
        payload = found["hello"].encode()
    elif "call" in found:
        method, timeout, entries, message = found["call"]
        payload = frame.CALL_HEAD.pack(method, timeout, 0)[:16] + frame.encode_metadata(entries, limit) + message
    elif "status" in found:
        head, message = found["status"]
        payload = frame.encode_status(head.text, head.details, frame.encode_metadata(head.trailers, limit)) + message
    elif "payload" in found:
        payload = bytes.fromhex(found["payload"])
    flags = sum(FLAGS[name] for name in found["flags"])
    return frame.header(TYPES[found["type"]], flags, len(payload), found["stream"], found["arg"]) + payload


@pytest.mark.parametrize(("file", "case"), CASES)
def test_vectors(file: dict[str, Any], case: dict[str, Any]) -> None:
    data = unhex(case["hex"])
    if "refused" in case:
        with pytest.raises(frame.Malformed):
            parse(file, data)
        return
    found = parse(file, data)
    assert found == wanted(case["want"])
    if case["unique"]:
        assert encode(file, found) == data


def test_corpus() -> None:
    limits = {"max_frame": 65536, "metadata_entries": 4, "metadata_bytes": 64}
    lines = (TESTDATA / "vectors" / "corpus.txt").read_text().splitlines()
    judged = 0
    for line in lines:
        if not line or line.startswith("#"):
            continue
        verdict, _, digits = line.partition(" ")
        try:
            parse(limits, unhex(digits))
        except frame.Malformed:
            assert verdict == "refuse", line[:200]
        else:
            assert verdict == "accept", line[:200]
        judged += 1
    assert judged > 50


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        ({f"k{i}": "" for i in range(5)}, "5 entries, over the limit of 4"),
        ({"k": "v" * 64}, "over the limit of 64 bytes"),
        ({"Upper": ""}, "want 1 to 255 characters"),
        ({"": ""}, "want 1 to 255 characters"),
        ({"line\n": ""}, "want 1 to 255 characters"),
    ],
)
def test_metadata_that_may_not_be_sent(entries: dict[str, str], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        frame.encode_metadata(entries, frame.MetadataLimit(4, 64))


def test_text_is_cut_where_a_character_begins() -> None:
    assert frame.cut_text("ä" * 600, 1023).decode() == "ä" * 511
    assert frame.safe_text(b"\x1b[31mred\x07 \xff") == "?[31mred? \ufffd"
