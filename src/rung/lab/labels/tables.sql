-- One statement per paragraph. Votes and undos are only ever added: the triggers refuse every change and removal.
-- `standing` has the votes that count: of each person and pair the latest that was not undone.

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

CREATE TABLE seals (
  part TEXT NOT NULL,
  number INTEGER NOT NULL,
  seal TEXT NOT NULL,
  PRIMARY KEY (part, number)
) WITHOUT ROWID;

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
