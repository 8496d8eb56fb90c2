"""Every claim of the article, in its order: one command runs and records them all, and goes on where it stopped.

    python experiments/claims/every_claim.py            those that are not recorded yet
    python docs/generate.py                             prints them into docs/claims.md

To measure one again: `python experiments/claims/NAME.py`.
"""

from __future__ import annotations

import importlib

from claim import Claim
from experiment import recorded
from words import table

CLAIMS = (
    *("dqn_continuous", "reinforce_unstable", "actor_critic_balance", "trpo_expensive", "grpo_less_compute"),
    *("dapo_over_grpo", "dpo_supervised"),
)


def claim_of(name: str) -> Claim:
    """A claim's declaration, out of this file's neighbour."""
    return importlib.import_module(name).EXPERIMENT


def words() -> str:
    """All claims as a table for the docs."""
    return "\n".join(table("the article says | measured | number | verdict", [claim_of(name).row() for name in CLAIMS]))


def main() -> None:
    """A claim that cannot be measured yet is named, and the others go on."""
    failed: list[str] = []
    for claim in map(claim_of, CLAIMS):
        if recorded(claim.key) is None:
            try:
                claim.main([])
            except SystemExit as stopped:
                failed.append(f"{claim.name}: {stopped}")
    if failed:
        raise SystemExit("\n".join(failed))


if __name__ == "__main__":
    main()
