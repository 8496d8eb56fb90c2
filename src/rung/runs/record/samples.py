"""The completions of every step, with their rewards, as Parquet.

One part a step, `samples/step_000012.parquet`, written whole or not at all; `merge` makes `samples.parquet` from the
parts. The bytes depend on the samples alone (and on pyarrow's version), so a resumed run ends with the same file.

    step, group, sample, policy_version          where it comes from; rows of one group answer one prompt
    item, prompt, completion, status             text; half a surrogate pair is stored as its escape
    prompt_ids, token_ids, mask                  what the model saw and wrote; mask is false where it did not choose
    log_probs, advantages                        one a token; advantages are null for a completion not trained on
    reward, reward_parts, accuracy               null where a reward did not apply or failed (see status)
    terminated, truncated                        ended by itself; cut by a limit
    pieces                                       each token as text, special ones included
    learner_log_probs, entropy, clipped          what the learner saw of each token before and during its updates
    reference_log_probs                          null without a reference

Token ids are null for an environment's episode, whose observations and actions are no text. What the learner saw is
null for a completion not trained on; `clipped` also where the objective has no bound. Entropy has 16 bits: it is looked
at, not computed with. Parts written before the last five columns were there are read, and merged, with nulls in them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor

from rung.batch import Batch, Episode
from rung.errors import DataError
from rung.runs.record.visible import encodable
from rung.whole_files import SUFFIX, written_aside

_IDS = pa.list_(pa.int32())
_REALS = pa.list_(pa.float32())
SCHEMA = pa.schema(
    [
        ("step", pa.int32()),
        ("group", pa.int64()),
        ("sample", pa.int32()),
        ("policy_version", pa.int32()),
        ("item", pa.string()),
        ("prompt", pa.string()),
        ("completion", pa.string()),
        ("status", pa.string()),
        ("prompt_ids", _IDS),
        ("token_ids", _IDS),
        ("mask", pa.list_(pa.bool_())),
        ("log_probs", _REALS),
        ("advantages", _REALS),
        ("reward", pa.float64()),
        ("reward_parts", pa.map_(pa.string(), pa.float64())),
        ("accuracy", pa.float64()),
        ("terminated", pa.bool_()),
        ("truncated", pa.bool_()),
        ("pieces", pa.list_(pa.string())),
        ("learner_log_probs", _REALS),
        ("entropy", pa.list_(pa.float16())),
        ("clipped", pa.list_(pa.bool_())),
        ("reference_log_probs", _REALS),
    ]
)
EARLIER = pa.schema(list(SCHEMA)[:18])
"""Without what the learner saw of each token."""

ROWS_A_GROUP = 8192
"""Merged parts are gathered to row groups of about this many rows, so that ten thousand small parts read fast."""

_PART = re.compile(r"step_(\d{6,9})\.parquet")


def part_name(step: int) -> str:
    """`step_000012.parquet`."""
    return f"step_{step:06d}.parquet"


def samples_table(
    step: int,
    episodes: Sequence[Episode],
    *,
    prompts: Sequence[str | None] | None = None,
    advantages: Sequence[Any] | None = None,
    learnt: Batch | None = None,
) -> pa.Table:
    """One row an episode, in the order given.

    `prompts[i]` is episode i's prompt as text; `advantages[i]` has one number for each of its T actions, padding
    after them is ignored, None where the episode was not trained on. `learnt`, row by row the episodes, has what the
    learner saw of each token.
    """
    assert prompts is None or len(prompts) == len(episodes), (len(prompts), len(episodes))
    assert advantages is None or len(advantages) == len(episodes), (len(advantages), len(episodes))
    assert learnt is None or len(learnt) == len(episodes), (len(learnt), len(episodes))
    rows = [
        _row(
            step,
            episode,
            prompts[i] if prompts is not None else None,
            advantages[i] if advantages is not None else None,
        )
        | _seen(episode, learnt, i)
        for i, episode in enumerate(episodes)
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def encode_part(table: pa.Table) -> bytes:
    """The part's file; the same table gives the same bytes."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", compression_level=3)
    return sink.getvalue().to_pybytes()


def parts(folder: Path) -> dict[int, Path]:
    """The parts that lie in a run's samples folder, by step, in order; other files are no parts."""
    if not folder.is_dir():
        return {}
    found = {int(match[1]): path for path in folder.iterdir() if (match := _PART.fullmatch(path.name))}
    return {step: found[step] for step in sorted(found) if not found[step].is_symlink()}


def read_part(path: Path, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """The rows of one part (or of the merged file); `reward_parts` is a dict. Raises `DataError` when unreadable.

    >>> # read_part(Path("runs/a/samples/step_000012.parquet"))[0]["reward_parts"] -> {"correct": 1.0, "format": 0.5}
    """
    with _opened(path) as file:
        rows = file.read(columns=list(columns) if columns is not None else None, use_threads=False).to_pylist()
    for row in rows:
        if row.get("reward_parts") is not None:
            row["reward_parts"] = dict(row["reward_parts"])
    return rows


def merged_steps(path: Path) -> list[int]:
    """The steps that a samples.parquet holds, in order. Raises `DataError` when it is unreadable."""
    with _opened(path) as file:
        return sorted(
            {int(step) for step in file.read(columns=["step"]).column("step").to_pylist() if step is not None}
        )


def read_merged(path: Path, step: int, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """One step's rows of a samples.parquet, as `read_part` gives them."""
    wanted = None if columns is None else list(dict.fromkeys(["step", *columns]))
    return [row for row in read_part(path, wanted) if row["step"] == step]


def cut_parts(folder: Path, step: int) -> list[int]:
    """Removes the parts of later steps and what a killed process left half written; returns those steps."""
    later = [found for found in parts(folder) if found > step]
    for found in later:
        (folder / part_name(found)).unlink()
    for left in folder.glob(f"*{SUFFIX}"):
        left.unlink()
    return later


def merge(folder: Path, target: Path) -> int:
    """Writes `target` from all parts, one part in memory at a time; returns the number of rows.

    The same parts give the same bytes, however often it is called. Raises `DataError` naming a part that cannot be
    read, OSError when the disk refuses; `target` is then as it was.
    """
    count = 0
    with written_aside(target) as aside, pq.ParquetWriter(aside, SCHEMA, compression="zstd") as writer:
        for table in _row_groups(parts(folder).values()):
            writer.write_table(table, row_group_size=len(table))
            count += len(table)
    return count


def _row_groups(paths: Any) -> Iterator[pa.Table]:
    gathered: list[pa.Table] = []
    for path in paths:
        with _opened(path) as file:
            table = file.read(use_threads=False)
        for field in list(SCHEMA)[table.num_columns :]:
            table = table.append_column(field, pa.nulls(len(table), field.type))
        gathered.append(table)
        if sum(map(len, gathered)) >= ROWS_A_GROUP:
            yield pa.concat_tables(gathered).combine_chunks()
            gathered = []
    if gathered:
        yield pa.concat_tables(gathered).combine_chunks()


def _opened(path: Path) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable part of the samples: {error}") from error
    if not (file.schema_arrow.equals(SCHEMA) or file.schema_arrow.equals(EARLIER)):
        raise DataError(f"{path}: its columns are not those of rung's samples: {file.schema_arrow.names}")
    return file


def _row(step: int, episode: Episode, prompt: str | None, advantages: Any) -> dict[str, Any]:
    judged = episode.judgement
    length = len(episode.actions)
    text = episode.actions.ndim == 1 and np.issubdtype(episode.actions.dtype, np.integer)
    context = episode.context.ndim == 1 and np.issubdtype(episode.context.dtype, np.integer)
    parts_sorted = sorted(judged.parts.items()) if judged else []
    return {
        "step": step,
        "group": episode.group,
        "sample": episode.sample,
        "policy_version": episode.policy_version,
        "item": encodable(episode.item),
        "prompt": None if prompt is None else encodable(prompt),
        "completion": encodable(episode.text),
        "status": encodable(judged.status) if judged else None,
        "prompt_ids": episode.context if context else None,
        "token_ids": episode.actions if text else None,
        "mask": episode.action_mask,
        "log_probs": np.asarray(episode.log_probs, dtype=np.float32),
        "advantages": None if advantages is None else _advantages(advantages, episode.action_mask, length),
        "reward": judged.total if judged else None,
        "reward_parts": [(encodable(name), value) for name, value in parts_sorted],
        "accuracy": judged.accuracy if judged else None,
        "terminated": bool(episode.terminated),
        "truncated": bool(episode.truncated),
    }


def _seen(episode: Episode, learnt: Batch | None, row: int) -> dict[str, Any]:
    """The columns of what the learner saw; null where it saw nothing of this episode."""
    mask, length = episode.action_mask, len(episode.actions)
    counted = learnt is not None and bool(learnt.action_mask_BT[row].any())

    def numbers(values_BT: Tensor | None, kind: Any) -> Any:
        if values_BT is None or not counted:
            return None
        values = values_BT[row, :length].detach().cpu().numpy()
        return np.where(mask, values, 0).astype(kind)

    return {
        "pieces": [encodable(piece) for piece in episode.pieces] or None,
        "learner_log_probs": numbers(learnt.old_log_probs_BT if learnt else None, np.float32),
        "entropy": numbers(learnt.entropy_BT if learnt else None, np.float16),
        "clipped": numbers(learnt.clipped_BT if learnt else None, np.bool_),
        "reference_log_probs": numbers(learnt.reference_log_probs_BT if learnt else None, np.float32),
    }


def _advantages(advantages: Any, mask: np.ndarray, length: int) -> np.ndarray:
    """[T] float32, 0 where the policy did not choose: a masked slot may hold anything."""
    values = np.asarray(advantages, dtype=np.float32)
    assert values.ndim == 1 and len(values) >= length, (values.shape, length)
    return np.where(mask, values[:length], np.float32(0))
