"""A GGUF file's header, walked within bounds: what it counts, it has. The library that reads the file trusts it.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import BinaryIO

from rung.errors import DataError
from rung.models.language.folder import MOST_LAYERS, MOST_NUMBERS, MOST_PARTS, plain_file

MOST_ENTRIES = 1 << 22
"""Of an array; a vocabulary of 262,144 tokens with its merges has some 800,000."""
LONGEST = 1 << 24
"""Bytes of a text; a chat template has some thousands."""
FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
TEXT, ARRAY = 8, 9


def stored_numbers(file: Path) -> int:
    """How many numbers the tensors of a GGUF file have. DataError where it is none, is cut short, or cannot be true."""
    size = plain_file(file, None).stat().st_size
    try:
        with file.open("rb") as opened:
            return _Header(opened, size).numbers()
    except (ValueError, struct.error, OSError) as error:
        raise DataError(
            [f"model: {file} is no GGUF file that transformers reads: {error}; get or export the model again"]
        ) from error


class _Header:
    def __init__(self, opened: BinaryIO, size: int) -> None:
        self.opened, self.size = opened, size

    def numbers(self) -> int:
        if (magic := self.opened.read(4)) != b"GGUF":
            raise ValueError(f"it begins with {magic!r}, expected b'GGUF'")
        if (version := self.number("I")) not in (2, 3):
            raise ValueError(f"version {version}, expected 2 or 3, little-endian")
        tensors, entries = self.count("tensors", MOST_PARTS), self.count("entries", MOST_PARTS)
        for _ in range(entries):
            self.entry()
        return sum(self.tensor() for _ in range(tensors))

    def entry(self) -> None:
        key, kind = self.text().decode("utf-8"), self.number("I")
        value = self.value(kind)
        most = MOST_LAYERS if key.endswith("block_count") else MOST_PARTS if key.endswith("_count") else MOST_NUMBERS
        if isinstance(value, int) and not -MOST_NUMBERS < value <= most and not key.endswith("token_id"):
            raise ValueError(f"{key} is {value:,}, expected at most {most:,}")

    def value(self, kind: int) -> int | float | None:
        if kind == TEXT:
            self.text()
        elif kind == ARRAY:
            inner, entries = self.number("I"), self.count("entries of an array", MOST_ENTRIES)
            if inner == TEXT:
                for _ in range(entries):
                    self.text()
            else:
                self.read(entries * struct.calcsize(self.form(inner)))
        else:
            return self.number(self.form(kind))
        return None

    def tensor(self) -> int:
        self.text()
        dimensions = [self.number("Q") for _ in range(self.count("dimensions", 8, "I"))]
        self.number("I")
        if (offset := self.number("Q")) > self.size:
            raise ValueError(f"a tensor at byte {offset:,} of {self.size:,}")
        if (numbers := math.prod(dimensions)) > MOST_NUMBERS:
            raise ValueError(f"a tensor of shape {dimensions}")
        return numbers

    def count(self, what: str, most: int, form: str = "Q") -> int:
        if (number := self.number(form)) > most:
            raise ValueError(f"{number:,} {what}, expected at most {most:,}")
        return number

    def text(self) -> bytes:
        return self.read(self.count("bytes of a text", LONGEST))

    def number(self, form: str) -> int:
        return struct.unpack(f"<{form}", self.read(struct.calcsize(form)))[0]

    def form(self, kind: int) -> str:
        if kind not in FORMATS:
            raise ValueError(f"a value of type {kind}, expected 0 to 12, arrays not within arrays")
        return FORMATS[kind]

    def read(self, size: int) -> bytes:
        data = self.opened.read(size) if size <= self.size else b""
        if len(data) < size:
            raise ValueError(f"it ends within its header, at byte {self.opened.tell():,}; it was cut short")
        return data
