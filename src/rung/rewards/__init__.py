"""How an episode is judged: a weighted sum of named parts, each shown on its own.

`reward.py` says what a reward is, `judge.py` applies several of them to a batch. The rest are rewards: `rules.py`
(fast, in process), `math_answer.py` (what an answer means: found by `answers.py`, spelt one way by `spelling.py`,
read by `reading.py` as one of `meanings.py`; math-verify for what is not read), `user.py` (your function). What may
hang runs in a killable child (`rung/child.py`).

This file imports nothing: the child imports this package, and must start fast.
"""
