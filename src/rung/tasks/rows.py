"""JSONL and Parquet rows, read and written. Every problem of a file is found before training, with file and row.

JSONL: one JSON object a line, UTF-8. Blank lines are skipped; the row's number is the line's. Parquet: row 1 is the
first. The first ten problems are listed, and how many there are in all. A column that nothing here uses refuses no row:
it is kept for rewards, or left out where a value of it is none of JSON's; which ones is said once.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from rung.errors import DataError, SettingsError, nearest
from rung.rewards.reward import Prompt
from rung.tasks.prompts import plain_prompt, prompt_problem, prompt_value
from rung.whole_files import require_writable, written_aside

_LISTED = 10
_LONGEST_LINE = 64 * 2**20
_BOM = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"
_CONVERSATIONS = ("conversation", "conversations")
_OTHER_NAMES = {
    "prompt": ["question", "query", "problem", "instruction", "input", "messages", *_CONVERSATIONS, "text"],
    "chosen": ["response_chosen", "preferred", "accepted", "winner", "better", "positive", "response_j"],
    "rejected": ["response_rejected", "dispreferred", "loser", "worse", "negative", "response_k"],
}
"""What others call these columns."""


@dataclass(frozen=True, kw_only=True)
class Prompted:
    """A row of a file, or something made from one."""

    number: int
    """The row in the file."""
    id: str
    prompt: Prompt
    place: str = field(default="", compare=False)
    """File and row, as `rows.jsonl:7`; empty where it was made."""


@dataclass(frozen=True, kw_only=True)
class Row(Prompted):
    """One row that has passed every check."""

    columns: Mapping[str, Any]
    """Everything but `prompt` and `id`, of JSON values."""


P = TypeVar("P", bound=Prompted)


class Problems:
    """Collects what is wrong with a file's rows: the first ten as text, the rest as a count."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.listed: list[str] = []
        self.count = 0
        self.of_file = False
        """Whether something is wrong with the whole file, so that rows may be missing unseen."""
        self.unfit: dict[str, str] = {}
        """Columns that hold what is no JSON value, with the first such row and value."""

    def add(self, row: int | None, what: str) -> None:
        self.count += 1
        self.of_file |= row is None
        if len(self.listed) < _LISTED:
            self.listed.append(f"{self.path}:{row}: {what}" if row is not None else f"{self.path}: {what}")

    def settle(self, kept: Sequence[Any], *, skip: bool) -> None:
        """Raises DataError when there was any; with `skip`, a warning where only some rows cannot be used."""
        if not skip or not kept or self.of_file:
            self.raise_any()
        elif self.count:
            of, more = self.count + len(kept), " ..." if self.count > _LISTED else ""
            what = f"{self.path}: {self.count} of {of} rows are skipped (skip_bad_rows): {'; '.join(self.listed)}{more}"
            warnings.warn(what, UserWarning, stacklevel=5)

    def notes(self, others: Iterable[str], readers: str = "") -> tuple[str, ...]:
        """What the plan says of columns that nothing uses; `readers`: who may still read them."""
        names = ", ".join(repr(name) for name in dict.fromkeys(others) if name not in self.unfit)
        said = [f"{self.path}: columns that are not used: {names}{readers}"] if names else []
        if self.unfit:
            listed = ", ".join(f"{name!r} ({what})" for name, what in self.unfit.items())
            said.append(f"{self.path}: columns that are left out, because they hold what is no JSON value: {listed}")
        return tuple(said)

    def raise_any(self) -> None:
        """DataError, when there was any."""
        if self.count > _LISTED:
            self.listed.append(f"{self.path}: {self.count} problems in all, the first {_LISTED} are listed")
        if self.count:
            raise DataError(self.listed)


def read_rows(path: Path, *, skip_bad: bool = False, problems: Problems | None = None) -> list[Row]:
    """The rows of a .jsonl or .parquet file. SettingsError where there is none, DataError for rows that cannot be used.

    `skip_bad` leaves such a row out, and warns of how many were and why; a problem of the whole file, or a file without
    one usable row, is still an error. `problems` collects what is seen, for who wants to say it.
    """
    problems = problems or Problems(path)
    checked = [_checked(number, values, problems) for number, values in raw_rows(path, problems)]
    rows = with_own_ids([row for row in checked if row is not None], problems)
    problems.settle(rows, skip=skip_bad)
    if not problems.unfit:
        return rows
    return [replace(row, columns={k: v for k, v in row.columns.items() if k not in problems.unfit}) for row in rows]


def raw_rows(path: Path, problems: Problems) -> list[tuple[int, Mapping[str, Any]]]:
    """Every row of a file that can be read, with its number, unchecked. SettingsError where there is no such file."""
    if not path.is_file():
        raise SettingsError(f"task: there is no file {path}")
    raw = list(_parquet_rows(path, problems) if path.suffix == ".parquet" else _json_rows(path, problems))
    if not raw and not problems.count:
        problems.add(None, "the file has no rows; expected at least one with a 'prompt'")
    return raw


def _json_rows(path: Path, problems: Problems) -> Iterator[tuple[int, Mapping[str, Any]]]:
    offset = 0
    with path.open("rb") as lines:
        for number, line in enumerate(iter(lambda: lines.readline(_LONGEST_LINE + 1), b""), start=1):
            if number == 1 and (wrong := _not_lines(line, path.name)):
                problems.add(None, wrong)
                return
            if len(line) > _LONGEST_LINE:
                problems.add(number, f"the line is longer than {_LONGEST_LINE >> 20} MiB")
                problems.of_file = True  # the rest is not read
                return
            if line.strip():
                values = _parsed(line, number, offset, problems)
                if values is not None:
                    yield number, values
            offset += len(line)


def _not_lines(first: bytes, name: str) -> str | None:
    """What is wrong with a file that is compressed, or one JSON document over several lines, by its first line."""
    begin = first.strip()
    if begin.startswith(_GZIP):
        return "is gzip-compressed; unpack it first"
    array = begin.startswith(b"[") and (len(begin) == 1 or b"{" in begin)
    if not array and begin != b"{":
        return None
    code = '"import json, sys; [print(json.dumps(row)) for row in json.load(sys.stdin)]"'
    holds = f"holds a JSON {'array' if array else 'object over several lines'}, expected one JSON object a line"
    return f"{holds}; convert it: python -c {code} < {name} > rows.jsonl"


def _parsed(line: bytes, number: int, offset: int, problems: Problems) -> Mapping[str, Any] | None:
    try:
        values = json.loads(line.decode("utf-8"), parse_constant=float)
        if isinstance(values, dict):
            return values
        wrong = f'is a JSON {type(values).__name__}, expected an object such as {{"prompt": ...}}'
    except UnicodeDecodeError as error:
        where = f"byte 0x{line[error.start]:02x} at offset {offset + error.start} of the file ({error.reason})"
        wide = line[:2] in (b"\xff\xfe", b"\xfe\xff") or line.count(0) > len(line) // 4
        kind = ("looks like UTF-16", "UTF-16") if wide else ("may be Latin-1 or Windows-1252", "WINDOWS-1252")
        wrong = f"is not UTF-8: {where}; it {kind[0]}; convert it with iconv -f {kind[1]} -t UTF-8"
    except (ValueError, RecursionError) as error:
        wrong = f"is not JSON: {error}"
    if line.startswith(_BOM):
        wrong = "starts with a byte-order mark; save the file as UTF-8 without BOM"
    problems.add(number, wrong)
    return None


def _parquet_rows(path: Path, problems: Problems) -> Iterator[tuple[int, Mapping[str, Any]]]:
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1000):
                columns = [_values(column) for column in batch.columns]
                for values in zip(*columns, strict=True):
                    number += 1
                    yield number, dict(zip(batch.schema.names, values, strict=True))
    except (pyarrow.ArrowException, OSError) as error:
        problems.add(None, f"cannot be read as Parquet after row {number}: {error}")


def _values(column: Any) -> list[Any]:
    """A Parquet column's values; in place of one that Python has nothing for (a time of nanoseconds, bytes that are no
    UTF-8) stands the error, which is no JSON value either."""
    try:
        return column.to_pylist()
    except Exception:  # noqa: BLE001  (each type fails in its own way)
        return [_value(one) for one in column]


def _value(one: Any) -> Any:
    try:
        return one.as_py()
    except Exception as error:  # noqa: BLE001  (as above)
        return error


def _checked(number: int, values: Mapping[str, Any], problems: Problems) -> Row | None:
    if "prompt" not in values:
        problems.add(number, no_columns(["prompt"], values))
        return None
    columns = {name: value for name, value in values.items() if name not in ("prompt", "id")}
    wrong = prompt_problem(values["prompt"]) or _columns_problem(number, columns, problems)
    if wrong:
        problems.add(number, wrong)
    if wrong or (row_id := checked_id(number, values, problems)) is None:
        return None
    prompt, place = prompt_value(values["prompt"]), f"{problems.path}:{number}"
    return Row(number=number, id=row_id, prompt=prompt, columns=columns, place=place)


def checked_id(number: int, values: Mapping[str, Any], problems: Problems) -> str | None:
    """The row's own id, else its number; None, with a problem, when the id is neither a text nor a whole number."""
    row_id = values.get("id")
    if row_id is None or (isinstance(row_id, float) and math.isnan(row_id)):  # as Parquet and pandas write none
        row_id = number
    if isinstance(row_id, bool) or not isinstance(row_id, (str, int)) or row_id == "":
        problems.add(number, f"id: got {row_id!r}, expected a text or a whole number")
        return None
    return str(row_id)


def no_columns(missing: Sequence[str], values: Mapping[str, Any]) -> str:
    """The problem of a row without these columns, with the columns that may be meant."""
    close = {name: next((o for o in _OTHER_NAMES[name] if o in values), nearest(name, values)) for name in missing}
    hints = [_meant(other, values[other], name) for name, other in close.items() if other]
    listed, hint = " and ".join(map(repr, missing)), f"; {', '.join(hints)}" if hints else ""
    return f"has no column {listed}, it has {', '.join(map(repr, values)) or 'none'}{hint}"


def _meant(other: str, value: Any, name: str) -> str:
    """What to do with the column `other`, which may be meant by `name`."""
    last = value[-1] if isinstance(value, list) and value else None
    if not isinstance(last, dict):
        return f"rename {other!r} to {name!r}"
    as_messages = "" if "role" in last else ', each message as {"role": ..., "content": ...}'
    if last.get("role", last.get("from")) not in ("assistant", "gpt"):
        return f"rename {other!r} to {name!r}{as_messages}"
    apart = f"put the messages before it in {name!r} and its text in 'completion'"
    return f"{other!r} ends with the assistant's answer: {apart}{as_messages}"


def _columns_problem(number: int, columns: Mapping[str, Any], problems: Problems) -> str | None:
    """What is wrong with a column that is used; what is no JSON value in another is noted."""
    if columns.get("answer") == "":
        return "answer: got an empty text"
    if _json_problem(columns) is None:
        return None
    for name, value in columns.items():
        wrong = _json_problem(value)
        if wrong and name in ("answer", "completion"):
            return f"{name}: is no JSON value: {wrong}"
        if wrong:
            problems.unfit.setdefault(name, f"row {number}: {wrong}")
    return None


def _json_problem(value: Any) -> str | None:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        return str(value if isinstance(value, Exception) else error)
    return None


def with_own_ids(rows: Sequence[P], problems: Problems) -> list[P]:
    """The rows whose id no earlier row has."""
    first_at: dict[str, int] = {}
    kept: list[P] = []
    for row in rows:
        if row.id in first_at:
            problems.add(row.number, f"id {row.id!r} is also the id of row {first_at[row.id]}; ids must differ")
        else:
            kept.append(row)
        first_at.setdefault(row.id, row.number)
    return kept


def counts_in_words(counts: Mapping[str, int]) -> str:
    """Counts by reason.

    >>> counts_in_words({"identical": 2000, "empty": 1})
    '2,000 identical, 1 empty'
    """
    return ", ".join(f"{count:,} {reason}" for reason, count in counts.items())


def prompt_row(row_id: str, prompt: Prompt, /, **columns: Any) -> dict[str, Any]:
    """A row to write.

    >>> prompt_row("7", "2+2=", chosen="4", rejected="5")
    {'id': '7', 'prompt': '2+2=', 'chosen': '4', 'rejected': '5'}
    """
    return {"id": row_id, "prompt": plain_prompt(prompt), **columns}


def require_new_file(out: Path, option: str) -> None:
    """SettingsError, naming the option, when rows cannot be written there or something is there already."""
    _require_ending(out, option)
    if out.exists():
        raise SettingsError(f"{option}: {out} is there already; choose another name")
    require_writable(out, option)


def write_rows(rows: Sequence[Mapping[str, Any]], out: Path, option: str) -> None:
    """Writes rows to a .jsonl or .parquet file, whole or not at all. Raises SettingsError, naming the option."""
    _require_ending(out, option)
    if not out.parent.is_dir():
        raise SettingsError(f"{option}: {out}: there is no folder {out.parent}")
    with written_aside(out) as aside:
        if out.suffix == ".jsonl":
            aside.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        else:
            _write_parquet(rows, aside, f"{option}: {out}")


def _require_ending(out: Path, option: str) -> None:
    if out.suffix not in (".jsonl", ".parquet"):
        raise SettingsError(f"{option}: got {out}, expected a name that ends in .jsonl or .parquet")


def _write_parquet(rows: Sequence[Mapping[str, Any]], aside: Path, where: str) -> None:
    import pyarrow
    import pyarrow.parquet

    names = list(dict.fromkeys(name for row in rows for name in row))
    try:
        table = pyarrow.Table.from_pydict({name: [row.get(name) for row in rows] for name in names})
        pyarrow.parquet.write_table(table, aside)
    except pyarrow.ArrowException as error:
        what = f"a Parquet column holds values of one kind: {error}; write a .jsonl file"
        raise SettingsError(f"{where}: {what}") from error
