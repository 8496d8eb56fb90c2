"""Tinker cookbook: the advantages of `rl.data_processing`; its losses run on a server and are not on this machine."""

from __future__ import annotations

from types import SimpleNamespace

import talk
import torch

MISSING = talk.without("lxml", "blobfile", "chz", "tinker", "renderers", "pyarrow", "datasets", "termcolor")

from tinker_cookbook.rl import data_processing  # noqa: E402


def advantages(rewards, groups):
    """compute_advantages: the group's mean taken off."""
    found = torch.zeros_like(rewards)
    for group in groups.unique():
        own = rewards[groups == group].tolist()
        given = SimpleNamespace(get_total_rewards=lambda own=own: own)
        found[groups == group] = data_processing.compute_advantages([given])[0].double()
    return found


if __name__ == "__main__":
    talk.serve({"advantages": advantages}, lambda: {**talk.about("tinker-cookbook", [data_processing]), **MISSING})
