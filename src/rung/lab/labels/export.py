"""Exports of labels: preferred completions as a file that training reads, and all votes as a file that keeps them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rung.errors import SettingsError
from rung.lab.labels.agreement import Verdict, verdicts
from rung.lab.labels.comparison import Comparison, Vote
from rung.lab.labels.comparison_rows import CHOSEN_REJECTED, FIRST_SECOND, number_of_pairs, vote_row
from rung.lab.labels.store import LabelStore
from rung.tasks.rows import counts_in_words, prompt_row, write_rows

_LEFT_OUT: Mapping[Verdict, str] = {
    "unlabelled": "not labelled",
    "tie": "tied",
    "even": "with even votes",
    "unsure": "that nobody could tell",
}


def export_labelled(store: LabelStore, path: Path) -> str:
    """Writes `id`, `prompt`, `chosen`, `rejected`, `votes` and the other columns to .jsonl or .parquet.

    Which completion was chosen: see `verdicts`. The file appears whole or not at all. Returns how many rows were
    written, and how many comparisons were left out, by reason.

    Raises: SettingsError when the ending is another one, or no comparison has a preferred completion.
    """
    found, votes = verdicts(store.standing()), _votes_by_pair(store)
    rows, left_out = [], Counter[str]()
    for pair in store.pairs():
        preferred: Verdict = found.get(pair.id, "unlabelled")
        if preferred in FIRST_SECOND:
            names = CHOSEN_REJECTED if preferred == "first" else CHOSEN_REJECTED[::-1]
            named = dict(zip(names, pair.completions, strict=True))
            rows.append(_row(pair, {name: named[name] for name in CHOSEN_REJECTED}, votes[pair.id], names))
        else:
            left_out[_LEFT_OUT[preferred]] += 1
    said = number_of_pairs(len(rows)) + (f"; left out: {counts_in_words(left_out)}" if left_out else "")
    if not rows:
        raise SettingsError([f"--export: nothing to write to {path}: {said}"])
    write_rows(rows, path, "--export")
    return said


def export_votes(store: LabelStore, path: Path) -> str:
    """Writes every comparison with its two `completions` and all its `votes`, undone ones too, to .jsonl or .parquet.

    `read_comparisons` of the file gives the same comparisons and votes.
    """
    votes = _votes_by_pair(store)
    rows = [_row(pair, {"completions": list(pair.completions)}, votes[pair.id], FIRST_SECOND) for pair in store.pairs()]
    write_rows(rows, path, "--votes")
    return number_of_pairs(len(rows))


def _row(pair: Comparison, completions: Mapping[str, Any], votes: list[Vote], names: tuple[str, ...]) -> dict[str, Any]:
    written = [vote_row(vote, names) for vote in votes]
    return prompt_row(pair.id, pair.prompt, **completions, votes=written, **pair.columns)


def _votes_by_pair(store: LabelStore) -> defaultdict[str, list[Vote]]:
    found: defaultdict[str, list[Vote]] = defaultdict(list)
    for vote in store.votes():
        found[vote.pair].append(vote)
    return found
