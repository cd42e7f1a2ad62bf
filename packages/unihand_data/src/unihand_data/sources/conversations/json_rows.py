"""Byte ranges of the elements of a JSON list, without holding the list: published ones have up to 9 GB.

The element is found by the standard decoder itself on a window of the file read as latin-1: one character is one byte
there, and the bytes of a UTF-8 character are never structure, so positions are byte positions. The same for JSON lines.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unihand_data.errors import Reason, Reject

WINDOW = 4 << 20
#: the largest element that is taken; a conversation has some kilobytes
MAX_ELEMENT = 64 << 20
_SPACE = re.compile(r"[ \t\r\n]*")
_BETWEEN = re.compile(r"[ \t\r\n]*,[ \t\r\n]*")
_BOM = "\u00ef\u00bb\u00bf"


def json_elements(path: str | Path, window: int = WINDOW) -> Iterator[tuple[int, int]]:
    """``(offset, length)`` in bytes of each element of the list in ``path``.

    Raises:
        Reject: MISSING_FILE, UNREADABLE (no list, or damaged), TRUNCATED (ends inside the list), EMPTY,
            UNSAFE_CONTENT (an element over ``MAX_ELEMENT``). What was yielded before stands.
    """
    name, decoder = str(path), json.JSONDecoder()
    with _open(path) as stream:
        text, base, ended = stream.read(window).decode("latin-1"), 0, False
        if not text:
            raise Reject(Reason.EMPTY, f"{name}: the file is empty; fetch it again")
        at = _space(text, len(_BOM) if text.startswith(_BOM) else 0)
        if text[at : at + 1] != "[":
            raise Reject(Reason.UNREADABLE, f"{name}: no JSON list (starts with {text[at : at + 12]!r})")
        at, first = _space(text, at + 1), True
        while True:
            # an element ends for certain only where something of the window is left behind it
            if len(text) - at < window // 4 and not ended:
                piece = stream.read(window).decode("latin-1")
                ended = not piece
                text, base = text[at:] + piece, base + at
                at = _space(text, 0)  # blanks may go on where the window ended
                continue
            if text[at : at + 1] == "]":
                return
            if not first:
                between = _BETWEEN.match(text, at)
                if between is None:
                    raise _damage(name, base + at, ended and at >= len(text))
                at = between.end()
            try:
                _, end = decoder.raw_decode(text, at)
            except (json.JSONDecodeError, RecursionError) as error:
                if not ended and len(text) - at <= MAX_ELEMENT:
                    piece = stream.read(max(window, len(text) - at)).decode("latin-1")
                    ended = not piece
                    text, base = text[at:] + piece, base + at
                    at, first = _space(text, 0), True  # the comma is behind us
                    continue
                if not ended:
                    raise Reject(
                        Reason.UNSAFE_CONTENT, f"{name}: element at byte {base + at} is over {MAX_ELEMENT} bytes"
                    ) from error
                inside = isinstance(error, json.JSONDecodeError) and error.pos >= len(text) - 1
                raise _damage(name, base + at, inside or "Unterminated" in str(error)) from error
            yield base + at, end - at
            at, first = _space(text, end), False


def json_lines(path: str | Path) -> Iterator[tuple[int, int]]:
    """``(offset, length)`` of each line that is not blank. Raises as :func:`json_elements`."""
    with _open(path) as stream:
        at = 0
        while line := stream.readline(MAX_ELEMENT + 1):
            if len(line) > MAX_ELEMENT:
                raise Reject(Reason.UNSAFE_CONTENT, f"{path}: the line at byte {at} is over {MAX_ELEMENT} bytes")
            if line.strip(b" \t\r\n\xef\xbb\xbf"):
                yield at, len(line)
            at += len(line)
        if at == 0:
            raise Reject(Reason.EMPTY, f"{path}: the file is empty; fetch it again")


def read_element(stream: Any, offset: int, length: int, name: str) -> Any:
    """The JSON value in these bytes. Raises ``Reject``: UNREADABLE, TRUNCATED."""
    stream.seek(offset)
    data = stream.read(length)
    if len(data) != length:
        raise Reject(Reason.TRUNCATED, f"{name}: ends inside the row at byte {offset}; fetch it again")
    try:
        return json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise Reject(Reason.ENCODING, f"{name}: the row at byte {offset} is no UTF-8 ({error.reason})") from error
    except (ValueError, RecursionError) as error:
        raise Reject(Reason.UNREADABLE, f"{name}: the row at byte {offset} is no JSON ({error})") from error


def _open(path: str | Path) -> Any:
    try:
        return open(path, "rb")
    except FileNotFoundError as error:
        raise Reject(Reason.MISSING_FILE, f"{path}: no such file; fetch it") from error
    except OSError as error:
        raise Reject(Reason.UNREADABLE, f"{path}: cannot be read ({error})") from error


def _space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _damage(name: str, offset: int, cut: bool) -> Reject:
    if cut:
        return Reject(Reason.TRUNCATED, f"{name}: the list ends early, at byte {offset}; fetch it again")
    return Reject(Reason.UNREADABLE, f"{name}: not valid JSON at byte {offset}; fetch it again")
