"""Where an answer ends: at an end token, or at the token that completes a stop text.

Most stop texts stand in a single token (a line end). Others take several: `</answer>` is three or more tokens of most
vocabularies. So each new token is looked up in a table: it ends the answer, it may complete a stop text, or neither.
Only where it may are the row's last few tokens decoded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from rung.errors import SettingsError
from rung.models.language.policy import TextPolicy

_REPLACEMENT = "\ufffd"
"""Decoding gives it for a token that holds a part of a character's bytes."""


class Endings:
    """The endings of a policy's answers.

    Args:
        stop: texts that end an answer, however many tokens they take.

    Raises:
        SettingsError: a stop text is empty, or holds a character that no token can write.
    """

    def __init__(self, policy: TextPolicy, stop: Sequence[str]) -> None:
        self._policy, self._stop = policy, tuple(stop)
        size = policy.model.get_output_embeddings().weight.shape[0]
        texts = policy.token_texts()[:size] if stop else []
        if problems := list(_problems(stop, texts)):
            raise SettingsError(problems)
        self.ends_V = np.zeros(size, bool)
        self.ends_V[[*policy.end_ids, *(i for i, text in enumerate(texts) if self._in(text))]] = True
        """Tokens that end an answer wherever they stand."""
        self.may_end_V = self.ends_V.copy()
        """Tokens for which `length` must be asked."""
        self.may_end_V[[i for i, text in enumerate(texts) if any(_may_complete(text, part) for part in stop)]] = True
        # Each token brings a byte at least; the first may lose a space in decoding.
        self._window = 1 + max((len(part.encode("utf-8", "surrogatepass")) for part in stop), default=0)

    def length(self, tokens_T: npt.NDArray[np.int64], begin: int) -> int | None:
        """How many of a row's tokens its answer has, when one of those from `begin` on ends it."""
        for t in begin + np.flatnonzero(self.may_end_V[tokens_T[begin:]]):
            tail = tokens_T[max(0, t + 1 - self._window) : t + 1]
            if self.ends_V[tail[-1]] or self._in(self._policy.decode_whole([tail.tolist()])[0]):
                return int(t) + 1
        return None

    def _in(self, text: str) -> bool:
        return any(part in text for part in self._stop)


def _may_complete(token: str, stop: str) -> bool:
    """Whether this token may bring the last character of a stop text.

    A part of a character's bytes decodes to a replacement mark, and some tokenizers drop a space that stands first.
    """
    last = stop[-1]
    return last in token or last == " " or (not last.isascii() and _REPLACEMENT in token)


def _problems(stop: Sequence[str], texts: Sequence[str]) -> Iterator[str]:
    written = set().union(*texts)
    for part in stop:
        if not part:
            yield "stop: got '', expected a text of at least one character"
            continue
        missing = {c for c in part if c not in written and c != " " and (c.isascii() or _REPLACEMENT not in written)}
        if missing:
            yield (
                f"stop: got {part!r}, but this model's vocabulary has no {', '.join(map(repr, sorted(missing)))}, so "
                "that no answer would ever end there; expected a text that the model can write"
            )
