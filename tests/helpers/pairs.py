"""Pairs over the table policy's vocabulary, and files of pairs for the tiny model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from table_policy import TablePolicy
from torch import Tensor

from rung.batch import Batch
from rung.formulas.preference_losses import summed_log_probs
from rung.tasks.pairs import Pair
from rung.trainers.preferences.tokens import EncodedPair, PairRows, pair_rows


class TableAnswers(TablePolicy):
    """The table policy as a model of whole answers."""

    def answer_values(self, batch: Batch) -> Tensor:
        return summed_log_probs(self(batch).log_probs_BT, batch.action_mask_BT)


def random_pairs(count: int = 9, seed: int = 3, vocabulary: int = 7) -> list[EncodedPair]:
    """Pairs of answers of different lengths, each ending with token 0; every third has a margin."""
    draw = np.random.Generator(np.random.PCG64(seed))

    def answer() -> np.ndarray:
        return np.append(draw.integers(1, vocabulary, draw.integers(0, 6)), 0).astype(np.int64)

    return [
        EncodedPair(
            pair=Pair(number=n, id=str(n), prompt="p", chosen="c", rejected="r", margin=0.5 * (n % 3 == 0)),
            prompt=draw.integers(1, vocabulary, draw.integers(1, 4)).astype(np.int64),
            answers=((answer(), 1.0), (answer(), 0.0)),
        )
        for n in range(count)
    ]


def rows_with_reference(pairs: list[EncodedPair], reference: TableAnswers | None) -> PairRows:
    rows = pair_rows(pairs)
    if reference is None:
        return rows
    with torch.no_grad():
        return PairRows(
            batch=rows.batch, at_least_B=rows.at_least_B, reference_B=reference.answer_values(rows.batch).detach()
        )


def written_pairs(path: Path, count: int = 24) -> Path:
    """A file of sums: the right answer chosen, a wrong one rejected."""
    rows: list[dict[str, Any]] = [
        {"id": f"s{n}", "prompt": f"{n}+{n + 1}=", "chosen": f"{2 * n + 1}\n", "rejected": f"{n}\n"}
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
