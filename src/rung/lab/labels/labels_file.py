"""A labels file on the disk: SQLite in WAL mode with synchronous=FULL.

When a transaction ends, what it wrote survives a kill and a power cut. Several threads and several processes may use
one file at once.
"""

from __future__ import annotations

import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rung.errors import DataError, SettingsError
from rung.lab.labels import schema

_PATIENCE = 20
"""Seconds to wait for another process that is writing."""


class LabelsFile:
    """The database of a labels file; it is made when it is not there.

    Raises: SettingsError when the path holds something else; DataError when the file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        try:
            self._base = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=_PATIENCE)
        except sqlite3.Error as error:
            raise SettingsError([f"--labels: {path} cannot be opened: {error}"]) from error
        try:
            self._open()
        except sqlite3.OperationalError as error:
            self._base.close()
            raise SettingsError([f"--labels: {path} cannot be used: {error}"]) from error
        except sqlite3.DatabaseError as error:
            self._base.close()
            raise DataError([f"{path}: is no labels file, or damaged: {error}"]) from error
        except BaseException:
            self._base.close()
            raise

    def _open(self) -> None:
        application = self._one("PRAGMA application_id")
        version = self._one("PRAGMA user_version")
        tables = self._one("SELECT count(*) FROM sqlite_schema")
        if tables and application != schema.APPLICATION:
            raise SettingsError([f"--labels: {self.path} is another program's database; name another file"])
        if tables and version != schema.VERSION:
            raise SettingsError(
                [f"--labels: {self.path} is of version {version}, this rung knows version {schema.VERSION}"]
            )
        if self._one("PRAGMA journal_mode = WAL") != "wal":
            raise SettingsError([f"--labels: {self.path}: no WAL mode there; choose a folder on a local disk"])
        for setting in ("synchronous = FULL", "foreign_keys = ON", "trusted_schema = OFF"):
            self._base.execute(f"PRAGMA {setting}")
        if not tables:
            self._make()

    def _make(self) -> None:
        with self.transaction():
            if self._one("SELECT count(*) FROM sqlite_schema"):
                return  # another process was first
            for statement in _statements(schema.TABLES):
                self._base.execute(statement)
            self.run("INSERT INTO facts VALUES ('order key', :key)", key=secrets.token_hex(8))
            self._base.execute(f"PRAGMA application_id = {schema.APPLICATION}")
            self._base.execute(f"PRAGMA user_version = {schema.VERSION}")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside happens, or nothing; when it ends it is on the disk."""
        with self._lock:
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._base.execute("COMMIT")
            except BaseException:
                if self._base.in_transaction:
                    self._base.execute("ROLLBACK")
                raise

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
            self._base.close()

    def _one(self, question: str) -> Any:
        return self._base.execute(question).fetchone()[0]


def _statements(script: str) -> Iterator[str]:
    """The statements of a script one by one; a trigger's inner semicolons end none."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    assert not statement.strip(), "the script ends within a statement"
