"""The sentiment oracle of dpo_frontier.py and over_optimisation.py, as reward functions: VADER, which reads words.

    rung pairs --model M --task prompts.jsonl --reward experiments/sentiment.py:gold --out pairs.jsonl

VADER (Hutto and Gilbert 2014) adds up what each word is worth, from -4 to 4, and presses the sum into -1 to 1. It can
be gamed by saying a good word again and again; so here a word counts once, and words after the first 20 do not count.
"""

from __future__ import annotations

import hashlib
import math
import re
from functools import cache
from typing import Any

MOST_WORDS = 20
NOISE = 0.25
"""The scale of `noisy`'s noise: pairs that differ by so much are told apart 73 times in 100."""
_WORD = re.compile(r"[a-z']+", re.IGNORECASE)


@cache
def _vader() -> Any:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()


def counted(text: str) -> str:
    """The text less every word that came before, and less what follows its first `MOST_WORDS` different words.

    >>> counted(" good and good, so good")
    ' good and , so '
    """
    seen: set[str] = set()
    kept: list[str] = []
    end = 0
    for found in _WORD.finditer(text):
        word = found[0].lower()
        if word not in seen and len(seen) == MOST_WORDS:
            return "".join(kept)
        kept.append(text[end : found.start()] + ("" if word in seen else found[0]))
        seen.add(word)
        end = found.end()
    return "".join(kept) + text[end:]


def gold(completions: list[str]) -> list[float]:
    """VADER's compound score of each ending, from -1 to 1."""
    return [float(_vader().polarity_scores(counted(text))["compound"]) for text in completions]


def noisy(completions: list[str]) -> list[float]:
    """`gold` and Gumbel noise, the same one each time for the same text: of two endings the higher one is chosen as
    Bradley and Terry have it, with probability σ(difference of gold / NOISE)."""
    return [score + NOISE * gumbel(text) for score, text in zip(gold(completions), completions, strict=True)]


def gumbel(text: str) -> float:
    """A draw from the standard Gumbel distribution that the text decides.

    >>> gumbel("a") == gumbel("a") != gumbel("b")
    True
    """
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    return -math.log(-math.log((number + 0.5) / 2**64))
