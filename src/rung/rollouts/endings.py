"""Where an answer ends: at an end token, or at the token that completes a stop text.

Most stop texts stand in a single token (a line end). Others take several: `</answer>` is three or more tokens of most
vocabularies. So each new token is looked up in a table: it ends the answer, it may complete a stop text, or neither.
Only where it may are the row's last few tokens decoded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

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
        self._ends_V = self._table(size, [*policy.end_ids, *(i for i, text in enumerate(texts) if self._in(text))])
        completing = [i for i, text in enumerate(texts) if any(_may_complete(text, part) for part in stop)]
        self._completes_V = self._table(size, completing) & ~self._ends_V
        self._any_completes = bool(self._completes_V.any())
        # Each token brings a byte at least; the first may lose a space in decoding.
        self.window = 1 + max((len(part.encode("utf-8", "surrogatepass")) for part in stop), default=0)
        """Tokens that `reached` must see of each row, where there are so many."""

    def reached(self, tokens_AT: Tensor) -> Tensor:
        """[A] bool: whether the last token of each row ends its answer; the rows are the last `window` tokens drawn."""
        last_A = tokens_AT[:, -1]
        ended_A = self._ends_V[last_A]
        if self._any_completes:
            some = torch.nonzero(self._completes_V[last_A])[:, 0]
            if len(some):
                tails = tokens_AT[some].tolist()
                found = [self._in(text) for text in self._policy.decode_whole(tails)]
                ended_A[some] = torch.tensor(found, device=ended_A.device)
        return ended_A

    def _in(self, text: str) -> bool:
        return any(part in text for part in self._stop)

    def _table(self, size: int, ids: Sequence[int]) -> Tensor:
        table_V = torch.zeros(size, dtype=torch.bool)
        table_V[list(ids)] = True
        return table_V.to(self._policy.device)


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
