-- What the label store asks of its tables: a query a paragraph, its name in the first line.

-- next pair
-- The first one, in the order of the file, that this person has not answered and that lacks answers even when everybody
-- who looks at it now answers. (Their own leases come first, by `own lease`.)
SELECT id FROM pairs
WHERE NOT EXISTS (SELECT 1 FROM standing WHERE standing.pair = pairs.id AND standing.labeller = :labeller)
AND (SELECT count(*) FROM standing WHERE standing.pair = pairs.id)
  + (SELECT count(*) FROM leases WHERE leases.pair = pairs.id) < :wanted
ORDER BY place LIMIT 1

-- held by others
SELECT count(*) FROM pairs
WHERE NOT EXISTS (SELECT 1 FROM standing WHERE standing.pair = pairs.id AND standing.labeller = :labeller)
AND (SELECT count(*) FROM standing WHERE standing.pair = pairs.id) < :wanted

-- own lease
-- What this person looks at: the same one after a reload, the one taken back after an undo.
SELECT pair FROM leases WHERE labeller = :labeller
AND NOT EXISTS (SELECT 1 FROM standing WHERE standing.pair = leases.pair AND standing.labeller = :labeller)
ORDER BY until DESC LIMIT 1

-- all votes
SELECT votes.submit, pair, labeller, answer, left, votes.at, seconds, undos.vote IS NOT NULL
FROM votes LEFT JOIN undos ON undos.vote = votes.number ORDER BY votes.number

-- standing votes
SELECT submit, pair, labeller, answer, left, at, seconds, 0 FROM standing ORDER BY number

-- undone before
SELECT pair FROM undos JOIN votes ON vote = number WHERE undos.submit = :submit AND labeller = :labeller

-- last vote
SELECT number, pair FROM standing WHERE labeller = :labeller ORDER BY number DESC LIMIT 1

-- answered
SELECT 1 FROM standing WHERE pair = :pair AND labeller = :labeller

-- vote
SELECT pair, labeller, answer, left FROM votes WHERE submit = :submit

-- add a pair
INSERT INTO pairs (id, fingerprint, content) VALUES (:id, :fingerprint, :content)

-- add a vote
INSERT INTO votes (submit, pair, labeller, answer, left, at, seconds)
VALUES (:submit, :pair, :labeller, :answer, :left, :at, :seconds)

-- undo
INSERT INTO undos (vote, submit, at) VALUES (:vote, :submit, :at)

-- lease
INSERT OR REPLACE INTO leases VALUES (:pair, :labeller, :until)

-- end leases
DELETE FROM leases WHERE until <= :now

-- end lease
DELETE FROM leases WHERE pair = :pair AND labeller = :labeller
