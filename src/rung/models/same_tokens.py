"""Whether two models read the same text as the same tokens, so that one may judge the other's."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rung.models.policy import TextPolicy


def differing_tokens(policy: TextPolicy, other: TextPolicy) -> str | None:
    """Why `other` cannot read `policy`'s tokens, in words; None when every token has one number in both.

    A model may have more rows than its tokenizer has tokens; what counts is that `other` has one for each token.
    """
    mine: dict[str, int] = policy.tokenizer.get_vocab()
    theirs: dict[str, int] = other.tokenizer.get_vocab()
    rows = int(other.model.get_output_embeddings().weight.shape[0])
    if len(mine) != len(theirs):
        return f"has a tokenizer of {len(theirs)} tokens, the model's has {len(mine)}"
    for token, number in sorted(mine.items(), key=lambda item: item[1]):
        if theirs.get(token) != number:
            return f"numbers the token {token!r} {theirs.get(token, 'not at all')}, the model numbers it {number}"
    if max(mine.values()) >= rows:
        return f"has {rows} output rows, too few for the token number {max(mine.values())}"
    return None
