"""Labelled pairs as a data file that training reads, and votes as a file that keeps them all."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rung.errors import SettingsError
from rung.lab.labels.agreement import Verdict, verdicts
from rung.lab.labels.pair import Pair, Vote, other
from rung.lab.labels.pair_rows import CHOSEN_REJECTED, FIRST_SECOND
from rung.lab.labels.store import PairStore
from rung.lab.labels.vote_rows import vote_row
from rung.whole_files import written_aside

_LEFT_OUT: Mapping[Verdict, str] = {
    "unlabelled": "not labelled",
    "tie": "tied",
    "even": "with even votes",
    "unsure": "that nobody could tell",
}


@dataclass(frozen=True)
class Exported:
    """How many rows went out, and how many pairs did not, by why."""

    rows: int
    left_out: Counter[str] = field(default_factory=Counter[str])

    def in_words(self) -> str:
        text = f"{self.rows:,} {'pair' if self.rows == 1 else 'pairs'}"
        if self.left_out:
            text += f"; left out: {', '.join(f'{count:,} {why}' for why, count in self.left_out.items())}"
        return text


def export_labelled(store: PairStore, path: Path) -> Exported:
    """Writes `id`, `prompt`, `chosen`, `rejected`, `votes` and the pairs' other columns to .jsonl or .parquet.

    Which completion was chosen: see `verdicts`. The file appears whole or not at all.
    Raises: SettingsError when the ending is another one, or no pair has a preferred completion.
    """
    found, votes = verdicts(store.standing()), _votes_by_pair(store)
    rows, left_out = [], Counter[str]()
    for pair in store.pairs():
        preferred: Verdict = found.get(pair.id, "unlabelled")
        if preferred in ("first", "second"):
            completions = dict(zip(FIRST_SECOND, pair.completions, strict=True))
            names = CHOSEN_REJECTED if preferred == "first" else (CHOSEN_REJECTED[1], CHOSEN_REJECTED[0])
            both = {"chosen": completions[preferred], "rejected": completions[other(preferred)]}
            rows.append(_row(pair, both, [vote_row(vote, names) for vote in votes[pair.id]]))
        else:
            left_out[_LEFT_OUT[preferred]] += 1
    exported = Exported(len(rows), left_out)
    if not rows:
        raise SettingsError([f"--export: nothing to write to {path}: {exported.in_words()}"])
    write_rows(rows, path, "--export")
    return exported


def export_votes(store: PairStore, path: Path) -> Exported:
    """Writes every pair with its two `completions` and all its `votes`, undone ones too, to .jsonl or .parquet.

    Read again by `read_pairs`, the file gives the same pairs and votes.
    """
    votes = _votes_by_pair(store)
    rows = [
        _row(pair, {"completions": list(pair.completions)}, [vote_row(vote, FIRST_SECOND) for vote in votes[pair.id]])
        for pair in store.pairs()
    ]
    write_rows(rows, path, "--votes")
    return Exported(len(rows))


def write_rows(rows: Sequence[Mapping[str, Any]], path: Path, option: str) -> None:
    """Writes rows to a .jsonl or .parquet file, whole or not at all. Raises SettingsError, naming the option."""
    if path.suffix not in (".jsonl", ".parquet"):
        raise SettingsError([f"{option}: {path}: expected a name that ends in .jsonl or .parquet"])
    if not path.parent.is_dir():
        raise SettingsError([f"{option}: {path}: there is no folder {path.parent}"])
    with written_aside(path) as aside:
        if path.suffix == ".jsonl":
            lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            aside.write_text("".join(lines), encoding="utf-8")
        else:
            _write_parquet(rows, aside, path, option)


def _write_parquet(rows: Sequence[Mapping[str, Any]], aside: Path, path: Path, option: str) -> None:
    import pyarrow
    import pyarrow.parquet

    names = list(dict.fromkeys(name for row in rows for name in row))
    try:
        table = pyarrow.Table.from_pydict({name: [row.get(name) for row in rows] for name in names})
        pyarrow.parquet.write_table(table, aside)
    except pyarrow.ArrowException as error:
        raise SettingsError(
            [f"{option}: {path}: a Parquet column holds values of one kind: {error}; write a .jsonl file"]
        ) from error


def _row(pair: Pair, completions: Mapping[str, Any], votes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    prompt = pair.prompt if isinstance(pair.prompt, str) else [dict(message) for message in pair.prompt]
    return {"id": pair.id, "prompt": prompt, **completions, "votes": list(votes), **pair.columns}


def _votes_by_pair(store: PairStore) -> defaultdict[str, list[Vote]]:
    found: defaultdict[str, list[Vote]] = defaultdict(list)
    for vote in store.votes():
        found[vote.pair].append(vote)
    return found
