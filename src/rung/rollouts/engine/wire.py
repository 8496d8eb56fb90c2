"""Messages between a run and its engine: a JSON header and raw bytes over a unix socket. No pickle.

    8 bytes: length of the header, 8 bytes: length of the payload, the header (JSON), the payload

The run asks and the engine answers, one answer a question:

    update   {adapted}                          weights follow; these will have adapters       {}
    bucket   {tensors, adapters} + weights      [[name, dtype, shape], ...]; a scale a name    {}
    end      {}                                 the weights are all there: use them            {sha256}
    draw     {prompts, rows, temperature, most, ends, may_end} + int32                         {}
    more     {enough, wait_s, stop}             what is new of the rows, after wait_s at most  {rows} + numbers
    score    {rows} + int32                     ln p of tokens                                 {} + float32

An adapter of the weight NAME is the tensors `NAME.A` and `NAME.B`. `draw` gives the prompts' lengths, and of each row
its number, its prompt, how many of its tokens are known already, and its seed; then the prompts, then what is known. A
row has at most `most` tokens; one of `ends` ends it. `more` is answered as soon as a row has ended, or drew a token of
`may_end`, so that the run sees whether that ended it: rows as (number, new tokens, whether it ended), their tokens
(int32), then their log-probs (float32). `enough` names rows that are to be drawn no further; with `stop` none is, once
it was told. No row is open while weights come. `score` gives of each text ln p of its last token, read as drawing reads
it; then ln p of every token but its first, read anew.

Used by both sides, so it imports nothing that only one of them has.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import time
from collections.abc import Iterable
from typing import Any

KEY = "RUNG_ENGINE_KEY"
"""In the environment of an engine: what it shows to be the one that was started."""
TURN_S = 0.25
_LENGTHS = struct.Struct("<QQ")
_MOST_HEADER, _MOST_PAYLOAD = 2**28, 2**36


class Wire:
    """One end of the connection.

    Attributes:
        left_s: seconds that may pass in waiting; None: any. Time in which this process stood still counts little.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._socket.settimeout(TURN_S)
        self.left_s: float | None = None
        self.sent = 0

    def send(self, header: dict[str, Any], payload: Iterable[Any] = ()) -> None:
        """Raises TimeoutError when it took too long, ConnectionError when the other side is gone."""
        parts = [memoryview(part).cast("B") for part in payload]
        text = json.dumps(header).encode()
        for part in (_LENGTHS.pack(len(text), sum(map(len, parts))), text, *parts):
            rest = memoryview(part)
            while rest:
                rest = rest[self._turn(self._socket.send, rest) :]
            self.sent += len(part)

    def receive(self) -> tuple[dict[str, Any], memoryview]:
        """Raises as `send`, and ConnectionError for what is no message."""
        header, payload = _LENGTHS.unpack(self._read(_LENGTHS.size))
        if header > _MOST_HEADER or payload > _MOST_PAYLOAD:
            raise ConnectionError("the other side sent what is no message")
        return json.loads(bytes(self._read(header))), self._read(payload)

    def waits(self) -> bool:
        """Whether something lies there to be received."""
        return bool(select.select([self._socket], [], [], 0)[0])

    def close(self) -> None:
        self._socket.close()

    def _read(self, size: int) -> memoryview:
        whole = memoryview(bytearray(size))
        rest = whole
        while rest:
            count = self._turn(self._socket.recv_into, rest)
            if count == 0:
                raise ConnectionError("the other side closed the connection")
            rest = rest[count:]
        return whole

    def _turn(self, act: Any, data: memoryview) -> int:
        while True:
            began = time.monotonic()
            try:
                return act(data)
            except TimeoutError:
                pass
            finally:
                if self.left_s is not None:
                    self.left_s -= min(time.monotonic() - began, 2 * TURN_S)
            if self.left_s is not None and self.left_s <= 0:
                raise TimeoutError
