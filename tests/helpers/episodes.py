"""Random judged episodes of unequal lengths, some with holes, for tests of what comes after the sampler."""

from __future__ import annotations

import numpy as np

from rung.batch import Episode, Judgement


def random_episodes(groups: int = 4, samples: int = 3, vocabulary: int = 7, seed: int = 0, holes: bool = True) -> list:
    rng = np.random.default_rng(seed)
    episodes: list[Episode] = []
    for group in range(groups):
        context = rng.integers(0, vocabulary, size=int(rng.integers(1, 5)))
        for sample in range(samples):
            length = int(rng.integers(1, 9))
            mask = rng.random(length) > 0.2 if holes else np.ones(length, dtype=bool)
            mask[-1] = True
            total = float(rng.integers(0, 2)) + 0.1 * group
            episodes.append(
                Episode(
                    item=str(group),
                    group=group,
                    sample=sample,
                    context=context,
                    actions=rng.integers(0, vocabulary, size=length),
                    action_mask=mask,
                    log_probs=-rng.random(length).astype(np.float32) * mask,
                    terminated=bool(rng.random() < 0.7),
                    truncated=False,
                    judgement=Judgement(total=total, parts={"correct": total}, accuracy=total),
                )
            )
    return episodes
