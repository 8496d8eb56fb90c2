"""A small language of reviews: prompts, and endings whose words say how good something was.

    python experiments/reviews.py FOLDER      writes examples.jsonl, prompts.jsonl and held_out.jsonl

    "We thought the hotel was"  ->  " very dull but the staff seemed lovely, so we liked it."

A prompt names a thing, an ending judges it in two or three places. How good each place is comes from a mood, so that
judgements go together where "and" joins them, and turn round where "but" does. A model that has learnt the examples
writes endings of every mood; the sentiment oracle (sentiment.py) says which.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

OPENINGS = (
    *("The {} was", "I thought the {} was", "We found that the {} was", "In the end the {} was", "This {} was"),
    *("Some said the {} was", "They told us the {} was", "On Monday the {} was", "That {} was", "To me the {} was"),
)
THINGS = (
    *("film", "book", "hotel", "play", "song", "meal", "game", "show", "tour", "museum", "concert", "cafe", "phone"),
    *("lamp", "chair", "course", "talk", "train", "boat", "park", "pool", "radio", "novel", "market", "garden"),
    *("bike", "camera", "coat", "bakery", "class"),
)
PLACES = ("staff", "sound", "ending", "price", "view", "look", "start", "pace")
GOOD = ("good", "great", "fine", "nice", "lovely", "pleasant", "superb", "funny")
PLAIN = ("long", "short", "quiet", "plain", "slow", "old")
BAD = ("bad", "dull", "boring", "awful", "sad", "weak", "ugly", "horrible")
HOW_MUCH = ("", "", "very ")
SEEMED = ("was", "seemed", "felt")
LEFT_WITH = {
    1: ("loved it", "liked it", "enjoyed it"),
    0: ("watched it", "left early", "went home"),
    -1: ("hated it", "regretted it", "disliked it"),
}
MOODS = (1, 0, -1, -1)
"""Reviewers grumble: a model that has learnt them has far to rise."""
WORDS = {1: GOOD, 0: PLAIN, -1: BAD}
HELD_OUT = 60
"""Prompts that nothing is learnt from."""


def prompts(seed: int = 0) -> list[str]:
    """All prompts, in a shuffled order."""
    every = [opening.format(thing) for opening in OPENINGS for thing in THINGS]
    random.Random(f"prompts {seed}").shuffle(every)
    return every


def ending(luck: random.Random) -> str:
    """One ending, of a random mood.

    >>> ending(random.Random(3))
    ' rather simple and the middle seemed quiet, so we went home.'
    """
    mood = luck.choice(MOODS)
    first = f"{luck.choice(HOW_MUCH)}{luck.choice(WORDS[_near(mood, luck)])}"
    turns = luck.random() < 0.35
    mood = -mood if turns else mood
    place, seemed, word = luck.choice(PLACES), luck.choice(SEEMED), luck.choice(WORDS[_near(mood, luck)])
    second = f"{'but' if turns else 'and'} the {place} {seemed} {luck.choice(HOW_MUCH)}{word}"
    last = f", so we {luck.choice(LEFT_WITH[_near(mood, luck)])}" if luck.random() < 0.5 else ""
    return f" {first} {second}{last}."


def _near(mood: int, luck: random.Random) -> int:
    """The mood, or one time in four any of the three."""
    return luck.choice((1, 0, -1)) if luck.random() < 0.25 else mood


def examples(count: int, seed: int = 0) -> Iterator[dict[str, str]]:
    """Prompts that are not held out, each with endings of its own."""
    luck = random.Random(f"examples {seed}")
    asked = prompts()[HELD_OUT:]
    for number in range(count):
        yield {"id": str(number), "prompt": asked[number % len(asked)], "completion": ending(luck)}


def write(folder: Path, *, count: int = 8000) -> None:
    """The three files; examples are for `rung sft`, prompts for what draws its own endings."""
    folder.mkdir(parents=True, exist_ok=True)
    every = prompts()
    _write(folder / "examples.jsonl", list(examples(count)))
    _write(folder / "prompts.jsonl", [{"id": f"train-{n}", "prompt": one} for n, one in enumerate(every[HELD_OUT:])])
    _write(folder / "held_out.jsonl", [{"id": f"held-{n}", "prompt": one} for n, one in enumerate(every[:HELD_OUT])])


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
