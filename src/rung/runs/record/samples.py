"""The completions of every step, with their rewards, as Parquet.

One part a step, `samples/step_000012.parquet`, written whole or not at all. As a run goes on, `gather` makes one file
of 64 parts, `samples/steps_000001_000064.parquet`, and one of 64 such files; at its end `merge` makes `samples.parquet`
of all, which then is the only one. The bytes depend on the samples alone (and on pyarrow's version), so a resumed run
ends with the same file.

    step, group, sample, policy_version          where it comes from; rows of one group answer one prompt
    item, prompt, completion, status             text; half a surrogate pair is stored as its escape
    prompt_ids, token_ids, mask                  what the model saw and wrote; mask is false where it did not choose
    log_probs, advantages                        one a token; advantages are null for a completion not trained on
    reward, reward_parts, accuracy               null where a reward did not apply or failed (see status)
    terminated, truncated                        ended by itself; cut by a limit
    pieces                                       each token as text, special ones included
    learner_log_probs, entropy, clipped          what the learner saw of each token before and during its updates
    reference_log_probs                          null without a reference
    turns                                        role and content of each message after the prompt; only of a run over
                                                 several turns

Token ids are null for an environment's episode, whose observations and actions are no text. What the learner saw is
null for a completion not trained on; `clipped` also where the objective has no bound. Entropy has 16 bits: it is looked
at, not computed with. Parts written before the last columns were there are read, and merged, with nulls in them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor

from rung.batch import Batch, Episode
from rung.errors import DataError
from rung.runs.record.visible import encodable
from rung.whole_files import SUFFIX, renamed, written_aside

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
        ("turns", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
    ]
)
EARLIER = pa.schema(list(SCHEMA)[:18])
"""Without what the learner saw of each token."""
ONE_TURN = pa.schema(list(SCHEMA)[:23])
"""Without the column of turns, which the samples of other runs do not have."""
_READ = (SCHEMA, ONE_TURN, EARLIER)

ROWS_A_GROUP = 1024
"""Merged parts are gathered to row groups of about this many rows: few enough that one step reads fast, and all do."""
SPANS = (64, 4096)
"""Steps in a gathered file, and in one of gathered files."""

_PART = re.compile(r"step_(\d{6,9})\.parquet")
_GATHERED = re.compile(r"steps_(\d{6,9})_(\d{6,9})\.parquet")


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
    none = [None] * len(episodes)
    both = zip(episodes, none if prompts is None else prompts, none if advantages is None else advantages, strict=True)
    rows = [_row(step, *of) | _seen(of[0], learnt, row) for row, of in enumerate(both)]
    over_turns = any(episode.played is not None for episode in episodes)
    return pa.Table.from_pylist(rows, schema=SCHEMA if over_turns else ONE_TURN)


def encode_part(table: pa.Table) -> bytes:
    """The part's file; the same table gives the same bytes."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", compression_level=3)
    return sink.getvalue().to_pybytes()


def parts(folder: Path) -> dict[int, Path]:
    """The file of a run's samples folder that holds each step's rows, by step, in order; other files are no parts.

    Of a gathered file that cannot be read all steps are listed that its name tells: reading one says what is wrong.
    """
    found = {int(match[1]): path for path, match in _named(folder, _PART)}
    for path, match in _named(folder, _GATHERED):
        try:
            steps = merged_steps(path)
        except DataError:
            steps = range(int(match[1]), int(match[2]) + 1)
        found |= dict.fromkeys(steps, path)
    return dict(sorted(found.items()))


def file_of(folder: Path, step: int) -> Path | None:
    """The file in a run's samples folder that should hold a step's rows; None when there is none."""
    own = folder / part_name(step)
    if own.is_file() and not own.is_symlink():
        return own
    spans = ((path, int(match[1]), int(match[2])) for path, match in _named(folder, _GATHERED))
    return next((path for path, first, last in spans if first <= step <= last), None)


def _named(folder: Path, pattern: re.Pattern[str]) -> list[tuple[Path, re.Match[str]]]:
    """The files of a folder whose names are of a pattern, in order; links are none."""
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return [(path, match) for path in paths if (match := pattern.fullmatch(path.name)) and not path.is_symlink()]


def read_part(path: Path, columns: Sequence[str] | None = None, *, step: int | None = None) -> list[dict[str, Any]]:
    """The rows of a part, of a gathered file or of samples.parquet, or those of one step; `reward_parts` is a dict.

    Raises `DataError` when the file is unreadable.
    """
    wanted = None if columns is None else list(dict.fromkeys(["step", *columns]))
    with _opened(path) as file:
        groups = [number for number in range(file.num_row_groups) if step is None or step in _range_of(file, number)]
        rows = _read(file, path, groups, wanted).to_pylist()
    for row in rows:
        if row.get("reward_parts") is not None:
            row["reward_parts"] = dict(row["reward_parts"])
    return rows if step is None else [row for row in rows if row["step"] == step]


def merged_steps(path: Path) -> list[int]:
    """The steps that a gathered file or samples.parquet holds, in order. Raises `DataError` when it is unreadable."""
    now = path.stat()
    return _steps_in(path, (now.st_ino, now.st_mtime_ns, now.st_size))


@lru_cache(maxsize=512)
def _steps_in(path: Path, seal: object) -> list[int]:
    with _opened(path) as file:
        column = _read(file, path, range(file.num_row_groups), ["step"]).column("step")
    return sorted({int(step) for step in column.unique().to_pylist() if step is not None})


class StoredSamples:
    """The samples in a run's folder: the parts in samples/ while it goes on, or samples.parquet alone."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.merged = folder / "samples", folder / "samples.parquet"

    def steps(self) -> list[int]:
        """The steps with samples, in order. Raises DataError when only the merged file is there and cannot be read."""
        merged = self.merged.is_file() and not self.merged.is_symlink()
        return list(parts(self.folder)) or (merged_steps(self.merged) if merged else [])

    def seal(self, step: int) -> object:
        """Changes whenever the step's rows are written anew; 0 once they lie in a file with others."""
        try:
            now = (self.folder / part_name(step)).stat()
        except FileNotFoundError:
            return 0
        return now.st_ino, now.st_mtime_ns, now.st_size

    def read(self, step: int, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """The step's rows, a missing column as null. Raises DataError when they cannot be read."""
        rows = read_part(file_of(self.folder, step) or self.merged, columns, step=step)
        return [{name: row.get(name) for name in (columns or SCHEMA.names)} for row in rows]


def cut_parts(folder: Path, step: int) -> list[int]:
    """Removes the rows of later steps, what lies in two files, and what was half written; returns the later steps."""
    found = parts(folder)
    later = [one for one in found if one > step]
    for path, match in _named(folder, _GATHERED):
        if int(match[2]) > step and any(found.get(one) == path for one in later):
            kept = [one for one in found if one <= step and found[one] == path]
            if kept:
                _write_gathered(folder, [path], kept[0], step)
            path.unlink()
    for path, match in _named(folder, _PART):
        if int(match[1]) > step or found.get(int(match[1])) != path:
            path.unlink()
    for left in folder.glob(f"*{SUFFIX}"):
        left.unlink()
    return later


def take_back(merged: Path, folder: Path) -> None:
    """Makes a run's samples.parquet one of its gathered files, so that the run can go on. Raises `DataError`."""
    steps = merged_steps(merged)
    if steps:
        renamed(merged, folder / f"steps_{steps[0]:06d}_{steps[-1]:06d}.parquet")
    else:
        merged.unlink()


def gather(folder: Path, step: int) -> None:
    """Makes one file of many parts, for every span of steps that ended before `step`. What is damaged stays."""
    for span in SPANS:
        blocks: dict[int, list[Path]] = {}
        for path, match in [*_named(folder, _PART), *_named(folder, _GATHERED)]:
            first, last = int(match[1]), int(match[match.lastindex or 1])
            if last - first + 1 < span and last <= (step - 1) // span * span:
                blocks.setdefault((last - 1) // span, []).append(path)
        damaged = damage(folder) if blocks else {}
        for block, paths in blocks.items():
            good = [path for path in paths if path not in damaged]
            if len(good) > 1:
                _write_gathered(folder, good, block * span + 1, block * span + span)
                for path in good:
                    path.unlink()


def _write_gathered(folder: Path, paths: Sequence[Path], first: int, last: int) -> None:
    """One file of these files' steps up to `last`, a row group a step."""
    target = folder / f"steps_{first:06d}_{last:06d}.parquet"
    tables = {step: table for path in paths for step, table in _tables(path) if step <= last}
    with written_aside(target) as aside, pq.ParquetWriter(aside, _schema_of(paths), compression="zstd") as writer:
        for step in sorted(tables):
            writer.write_table(tables[step].select(writer.schema.names), row_group_size=len(tables[step]))


def merge(folder: Path, target: Path, *, without: Collection[Path] = ()) -> int:
    """Writes `target` from all parts but those, some in memory at a time; returns the number of rows.

    The same samples give the same bytes, in however many files they lie. Raises `DataError` naming a part that cannot
    be read, OSError when the disk refuses; `target` is then as it was.
    """
    count = 0
    paths = [path for path in dict.fromkeys(parts(folder).values()) if path not in without]
    with written_aside(target) as aside, pq.ParquetWriter(aside, _schema_of(paths), compression="zstd") as writer:
        for table in _row_groups(paths):
            writer.write_table(table.select(writer.schema.names), row_group_size=len(table))
            count += len(table)
    return count


def damage(folder: Path) -> dict[Path, str]:
    """What is wrong with a samples folder's files, by file."""
    found: dict[Path, str] = {}
    for path in dict.fromkeys(parts(folder).values()):
        try:
            merged_steps(path)
        except DataError as error:
            found[path] = str(error)
    return found


def _schema_of(paths: Sequence[Path]) -> pa.Schema:
    for path in paths:
        with _opened(path) as file:
            if "turns" in file.schema_arrow.names:
                return SCHEMA
    return ONE_TURN


def _row_groups(paths: Sequence[Path]) -> Iterator[pa.Table]:
    gathered: list[pa.Table] = []
    for path in paths:
        for _, table in _tables(path):
            gathered.append(table)
            if sum(map(len, gathered)) >= ROWS_A_GROUP:
                yield pa.concat_tables(gathered).combine_chunks()
                gathered = []
    if gathered:
        yield pa.concat_tables(gathered).combine_chunks()


def _tables(path: Path) -> Iterator[tuple[int, pa.Table]]:
    """Each step's rows, columns that an earlier rung did not write as null."""
    with _opened(path) as file:
        for number in range(file.num_row_groups):
            group = _read(file, path, [number])
            for field in list(SCHEMA)[group.num_columns :]:
                group = group.append_column(field, pa.nulls(len(group), field.type))
            steps_N = group.column("step").to_numpy()
            begins = np.flatnonzero(np.diff(steps_N, prepend=steps_N[:1] - 1))
            for begin, end in zip(begins, [*begins[1:], len(steps_N)], strict=True):
                yield int(steps_N[begin]), group.slice(int(begin), int(end - begin))


def _range_of(file: pq.ParquetFile, group: int) -> range:
    """The steps from the first to the last of a row group."""
    told = file.metadata.row_group(group).column(0).statistics
    return range(told.min, told.max + 1) if told is not None and told.has_min_max else range(10**9)


def _read(file: pq.ParquetFile, path: Path, groups: Iterable[int], columns: list[str] | None = None) -> pa.Table:
    try:
        return file.read_row_groups(list(groups), columns=columns, use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable part of the samples: {error}") from error


def _opened(path: Path) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable part of the samples: {error}") from error
    if not any(file.schema_arrow.equals(known) for known in _READ):
        raise DataError(f"{path}: its columns are not those of rung's samples: {file.schema_arrow.names}")
    return file


def _row(step: int, episode: Episode, prompt: str | None, advantages: Any) -> dict[str, Any]:
    judged = episode.judgement
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
        "prompt_ids": _ids(episode.context),
        "token_ids": _ids(episode.actions),
        "mask": episode.action_mask,
        "log_probs": np.asarray(episode.log_probs, dtype=np.float32),
        "advantages": None if advantages is None else _advantages(advantages, episode.action_mask),
        "reward": judged.total if judged else None,
        "reward_parts": [(encodable(name), value) for name, value in parts_sorted],
        "accuracy": judged.accuracy if judged else None,
        "terminated": bool(episode.terminated),
        "truncated": bool(episode.truncated),
        "turns": None
        if episode.played is None
        else [{role: encodable(text) for role, text in said.items()} for said in episode.played.messages()],
    }


def _seen(episode: Episode, learnt: Batch | None, row: int) -> dict[str, Any]:
    """The columns of what the learner saw; null where it saw nothing of this episode."""
    mask, length = episode.action_mask, len(episode.actions)
    counted = learnt is not None and bool(learnt.action_mask_BT[row].any())

    def numbers(name: str, kind: Any) -> Any:
        values_BT: Tensor | None = getattr(learnt, name) if counted else None
        if values_BT is None:
            return None
        return np.where(mask, values_BT[row, :length].detach().cpu().numpy(), 0).astype(kind)

    return {
        "pieces": [encodable(piece) for piece in episode.pieces] or None,
        "learner_log_probs": numbers("old_log_probs_BT", np.float32),
        "entropy": numbers("entropy_BT", np.float16),
        "clipped": numbers("clipped_BT", np.bool_),
        "reference_log_probs": numbers("reference_log_probs_BT", np.float32),
    }


def _ids(values: np.ndarray) -> np.ndarray | None:
    """The token ids; None for an environment's observations and actions."""
    return values if values.ndim == 1 and np.issubdtype(values.dtype, np.integer) else None


def _advantages(advantages: Any, mask: np.ndarray) -> np.ndarray:
    """[T] float32, 0 where the policy did not choose: a masked slot may hold anything."""
    values = np.asarray(advantages, dtype=np.float32)
    assert values.ndim == 1 and len(values) >= len(mask), (values.shape, len(mask))
    return np.where(mask, values[: len(mask)], np.float32(0))
