"""The labels file: its tables, in SQLite, in WAL mode with synchronous=FULL.

What a transaction wrote survives a kill and a power cut. Several threads and several processes may use one file at
once. Every pair, vote and undo has a checksum, so that one that changed on the disk is found when the file is opened. A
file that is removed while it is in use is written again from what the process holds.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rung.errors import DataError, SettingsError
from rung.whole_files import sync

APPLICATION = 0x72756E67
"""`rung` in ASCII: how a labels file is told from another program's database."""
VERSION = 2
"""1 had no checksums; they are added when such a file is opened."""

TABLES = Path(__file__).with_name("tables.sql").read_text(encoding="utf-8")
_SEALS = next(one for one in TABLES.split("\n\n") if "TABLE seals" in one)
SEALED = ("pairs", "votes", "undos")
"""Tables whose rows have checksums, by row number."""

_PATIENCE = 20
"""Seconds to wait for another process that is writing."""


class LabelsFile:
    """The database of a labels file; it is made when it is not there. SettingsError when the path holds something
    else, DataError when the file is damaged."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._connect()

    def _connect(self) -> None:
        try:
            self._base = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=_PATIENCE)
        except sqlite3.Error as error:
            raise SettingsError([f"--labels: {self.path} cannot be opened: {error}"]) from error
        with ExitStack() as on_failure:
            on_failure.callback(self._base.close)
            try:
                self._open()
                self._check()
                self._place = self._at_path()
            except sqlite3.OperationalError as error:
                raise SettingsError([f"--labels: {self.path} cannot be used: {error}"]) from error
            except sqlite3.DatabaseError as error:
                raise DataError([f"{self.path}: is no labels file, or damaged: {error}"]) from error
            on_failure.pop_all()

    def _open(self) -> None:
        application = self._one("PRAGMA application_id")
        version = self._one("PRAGMA user_version")
        tables = self._one("SELECT count(*) FROM sqlite_schema")
        if tables and application != APPLICATION:
            raise SettingsError([f"--labels: {self.path} is another program's database; name another file"])
        if tables and version not in (1, VERSION):
            raise SettingsError([f"--labels: {self.path} is of version {version}, this rung knows version {VERSION}"])
        if self._one("PRAGMA journal_mode = WAL") != "wal":
            raise SettingsError([f"--labels: {self.path}: no WAL mode there; choose a folder on a local disk"])
        for setting in ("synchronous = FULL", "foreign_keys = ON", "trusted_schema = OFF"):
            self._base.execute(f"PRAGMA {setting}")
        if not tables:
            self._make()
        elif version == 1:
            self._seal_all()

    def _seal_all(self) -> None:
        with self._transaction():
            if self._one("PRAGMA user_version") == VERSION:
                return  # another process was first
            self._base.execute(_SEALS)
            for table in SEALED:
                for (number,) in self.rows(f"SELECT rowid FROM {table}"):
                    self.seal(table, number)
            self._base.execute(f"PRAGMA user_version = {VERSION}")

    def seal(self, table: str, number: int) -> None:
        """Keeps the checksum of a row that was just added."""
        ((*row,),) = self.rows(f"SELECT * FROM {table} WHERE rowid = :number", number=number)
        self.run("INSERT INTO seals VALUES (:part, :number, :seal)", part=table, number=number, seal=_seal(row))

    def _check(self) -> None:
        """DataError when anything in the file is not as it was written."""
        wrong = [text for (text,) in self._base.execute("PRAGMA integrity_check") if text != "ok"]
        for table in SEALED:
            known = dict(self.rows("SELECT number, seal FROM seals WHERE part = :part", part=table))
            now = {number: _seal(row) for number, *row in self._base.execute(f"SELECT rowid, * FROM {table}")}
            changed = [one for one in sorted(known.keys() | now.keys()) if known.get(one) != now.get(one)]
            wrong += [f"number {one} of the {table} is not as it was written" for one in changed]
        if wrong:
            more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            raise DataError([f"{self.path}: is damaged: {wrong[0]}{more}; put back a copy, or name another --labels"])

    def _make(self) -> None:
        with self._transaction():
            if self._one("SELECT count(*) FROM sqlite_schema"):
                return  # another process was first
            for statement in TABLES.split("\n\n"):
                self._base.execute(statement)
            self.run("INSERT INTO facts VALUES ('order key', :key)", key=secrets.token_hex(8))
            self._base.execute(f"PRAGMA application_id = {APPLICATION}")
            self._base.execute(f"PRAGMA user_version = {VERSION}")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside happens, or nothing; when it ends it is on the disk, in the file of this name.

        DataError when the file was removed meanwhile. Then it is written again, with all that was told it, so that
        whoever asks again finds it.
        """
        with self._lock:
            self._require_in_place()
            with self._transaction():
                yield
            self._require_in_place()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._base.execute("COMMIT")
            except BaseException:
                if self._base.in_transaction:
                    self._base.execute("ROLLBACK")
                raise

    def _require_in_place(self) -> None:
        now = self._at_path()
        if now is None:
            self._write_again()
            raise DataError([f"{self.path} was removed while it was in use; it was written again, so answer once more"])
        if now != self._place:
            raise DataError([f"{self.path} was replaced by another file; start rung label anew"])

    def _at_path(self) -> tuple[int, int] | None:
        """Which file bears the name now."""
        try:
            now = self.path.stat()
        except FileNotFoundError:
            return None
        return now.st_dev, now.st_ino

    def _write_again(self) -> None:
        for ending in ("-wal", "-shm"):  # of the file that is gone: with them the new one would be read wrongly
            self.path.with_name(self.path.name + ending).unlink(missing_ok=True)
        self._base.execute("VACUUM INTO :path", {"path": str(self.path)})
        self._base.close()
        sync(self.path)
        sync(self.path.parent)
        self._connect()

    def rows(self, question: str, **given: Any) -> list[tuple[Any, ...]]:
        """The answer to a query; values go in by name."""
        with self._lock:
            return self._base.execute(question, given).fetchall()

    def run(self, statement: str, **given: Any) -> int:
        """Runs a statement that writes, and returns the number of the row that it added last."""
        with self._lock:
            return self._base.execute(statement, given).lastrowid or 0

    def close(self) -> None:
        """Closes the file; the last user's close folds SQLite's write-ahead log in."""
        with self._lock:
            if self._at_path() is None:
                self._write_again()
            self._base.close()

    def _one(self, question: str) -> Any:
        return self._base.execute(question).fetchone()[0]


def _seal(row: Sequence[Any]) -> str:
    return hashlib.blake2b(json.dumps(list(row)).encode(), digest_size=16).hexdigest()
