"""The tables of a labels file. Votes and undos are only ever added: triggers refuse every change and removal."""

from __future__ import annotations

APPLICATION = 0x72756E67
"""`rung` in ASCII: how a labels file is told from another program's database."""
VERSION = 1

TABLES = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE pairs (
  place INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  fingerprint TEXT NOT NULL,
  content TEXT NOT NULL
);

CREATE TABLE votes (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  submit TEXT NOT NULL UNIQUE,
  pair TEXT NOT NULL REFERENCES pairs (id),
  labeller TEXT NOT NULL,
  answer TEXT NOT NULL CHECK (answer IN ('first', 'second', 'tie', 'unsure')),
  left TEXT NOT NULL CHECK (left IN ('first', 'second')),
  at REAL NOT NULL,
  seconds REAL
);
CREATE INDEX votes_of_a_pair ON votes (pair, labeller, number);

CREATE TABLE undos (
  vote INTEGER PRIMARY KEY REFERENCES votes (number),
  submit TEXT NOT NULL UNIQUE,
  at REAL NOT NULL
);

CREATE TABLE leases (
  pair TEXT NOT NULL REFERENCES pairs (id),
  labeller TEXT NOT NULL,
  until REAL NOT NULL,
  PRIMARY KEY (pair, labeller)
) WITHOUT ROWID;

CREATE VIEW standing AS
  SELECT * FROM votes AS vote
  WHERE NOT EXISTS (SELECT 1 FROM undos WHERE undos.vote = vote.number)
  AND NOT EXISTS (
    SELECT 1 FROM votes AS later
    WHERE later.pair = vote.pair AND later.labeller = vote.labeller AND later.number > vote.number
    AND NOT EXISTS (SELECT 1 FROM undos WHERE undos.vote = later.number)
  );

CREATE TRIGGER votes_stay BEFORE DELETE ON votes BEGIN SELECT RAISE(ABORT, 'votes are kept'); END;
CREATE TRIGGER votes_do_not_change BEFORE UPDATE ON votes BEGIN SELECT RAISE(ABORT, 'votes do not change'); END;
CREATE TRIGGER undos_stay BEFORE DELETE ON undos BEGIN SELECT RAISE(ABORT, 'undos are kept'); END;
CREATE TRIGGER undos_do_not_change BEFORE UPDATE ON undos BEGIN SELECT RAISE(ABORT, 'undos do not change'); END;
"""
"""`standing` has the votes that count: of each person and pair the latest that was not undone."""

NEXT_PAIR = """
SELECT id FROM pairs
WHERE NOT EXISTS (SELECT 1 FROM standing WHERE standing.pair = pairs.id AND standing.labeller = :labeller)
AND (SELECT count(*) FROM standing WHERE standing.pair = pairs.id)
  + (SELECT count(*) FROM leases WHERE leases.pair = pairs.id) < :wanted
ORDER BY place LIMIT 1
"""
"""The first pair, in the order of the file, that this person has not answered and that lacks answers even when
everybody who has it before their eyes answers it. (Their own leases come first, by OWN_LEASE.)"""

HELD_BY_OTHERS = """
SELECT count(*) FROM pairs
WHERE NOT EXISTS (SELECT 1 FROM standing WHERE standing.pair = pairs.id AND standing.labeller = :labeller)
AND (SELECT count(*) FROM standing WHERE standing.pair = pairs.id) < :wanted
"""

OWN_LEASE = """
SELECT pair FROM leases WHERE labeller = :labeller
AND NOT EXISTS (SELECT 1 FROM standing WHERE standing.pair = leases.pair AND standing.labeller = :labeller)
ORDER BY until DESC LIMIT 1
"""
"""What this person has before their eyes: after a reload it is the same pair, after an undo the one undone."""

ALL_VOTES = """
SELECT votes.submit, pair, labeller, answer, left, votes.at, seconds, undos.vote IS NOT NULL
FROM votes LEFT JOIN undos ON undos.vote = votes.number ORDER BY votes.number
"""

STANDING_VOTES = "SELECT submit, pair, labeller, answer, left, at, seconds, 0 FROM standing ORDER BY number"
