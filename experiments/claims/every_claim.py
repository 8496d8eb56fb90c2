"""Every claim of the article, in its order: one command runs and records them all, and goes on where it stopped.

    python experiments/claims/every_claim.py            those that are not recorded yet
    python docs/generate.py                             prints them into docs/claims.md

To measure one again: `python experiments/claims/NAME.py`.
"""

from __future__ import annotations

import importlib
from types import ModuleType

CLAIMS = (
    "dqn_continuous",
    "reinforce_unstable",
    "actor_critic_balance",
    "trpo_expensive",
    "grpo_less_compute",
    "dapo_over_grpo",
    "dpo_supervised",
)


def claim_module(name: str) -> ModuleType:
    """A claim's file, this one's neighbour."""
    return importlib.import_module(name)


def words() -> str:
    """All claims as a table for the docs."""
    rows = [claim_module(name).CLAIM.row() for name in CLAIMS]
    return "\n".join(["| the article says | measured | number | verdict |", "| --- | --- | --- | --- |", *rows])


def main() -> None:
    """A claim that cannot be measured yet is named, and the others go on."""
    failed: list[str] = []
    for name in CLAIMS:
        if claim_module(name).CLAIM.recorded() is not None:
            continue
        print(f"--- {name}", flush=True)
        try:
            claim_module(name).main()
        except SystemExit as stopped:
            failed.append(f"{name}: {stopped}")
    if failed:
        raise SystemExit("\n".join(failed))


if __name__ == "__main__":
    main()
