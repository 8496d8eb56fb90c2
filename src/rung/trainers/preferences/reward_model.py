"""A reward model as a reward: it scores completions in this process, where the policy is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from rung.errors import SettingsError
from rung.models.language.folder import CONFIG, described, is_reward_model, opened
from rung.rewards.reward import Columns, Failure, Prompt, Score
from rung.tasks.pairs import Pair
from rung.trainers.preferences.tokens import EncodedPair, answer_values, encoded, pair_rows

if TYPE_CHECKING:
    from rung.models.language.reward_model import RewardModel

TOO_LONG = "too long"
"""Prompt and completion together are longer than the reward model's context."""
UNREADABLE = "unreadable"
"""The reward model's tokenizer or chat template does not take the prompt or the completion."""
TOKENS_AT_ONCE = 8192


def reward_folders(spec: str) -> list[Path]:
    """The folders of the reward models that `spec` names: a model's folder, a run's, or one that holds several of them,
    an ensemble. Empty when there is no model."""
    path = Path(spec)
    if not path.is_dir():
        return []
    if alone := _models(path):
        return alone
    inside = sorted(path.iterdir(), key=lambda one: (len(one.name), one.name))
    return [model for folder in inside for model in _models(folder)]


def _models(folder: Path) -> list[Path]:
    """The folder itself, or its `final`, where that is a reward model."""
    return [place for place in (folder / "final", folder) if is_reward_model(place)][:1]


@dataclass(frozen=True)
class LearnedReward:
    """The score of a reward model that `rung train reward_model` made; `open` loads it.

    Example: `LearnedReward(Path("runs/reward_model-pairs-1/final"), "reward_model")`.
    """

    folder: Path
    name: str

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[str], columns: Columns) -> list[Score]:
        raise AssertionError("a learned reward is opened before it judges")

    def open(self, deadline_s: float) -> OpenLearnedReward:
        """Loads the model. Raises DataError when there is none. Its pass has no deadline: it is our own code."""
        from rung.models.language.reward_model import load_reward_model

        return OpenLearnedReward(load_reward_model(self.folder), self.name)


class OpenLearnedReward:
    """A loaded reward model. Scores are of the text, tokenized by the reward model's own tokenizer."""

    def __init__(self, model: RewardModel, name: str) -> None:
        self.model, self.name = model, name

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[str], columns: Columns) -> list[Score]:
        """One score a completion, its end token included. What the model cannot read is a failure, not a zero."""
        pairs = [
            Pair(number=n, id=str(n), prompt=prompt, chosen=text, rejected=None)
            for n, (prompt, text) in enumerate(zip(prompts, completions, strict=True))
        ]
        most = self.model.reader.context_length
        scores: list[Score] = [Failure(TOO_LONG, f"more than {most} tokens")] * len(pairs)
        fits: dict[int, EncodedPair] = {}
        for n, row in enumerate(encoded(self.model.reader, pairs)):
            if isinstance(row, str):
                scores[n] = Failure(UNREADABLE, row)
            elif row.longest <= most:
                fits[n] = row
        if fits:
            values_B = answer_values(self.model, pair_rows(list(fits.values())).batch, TOKENS_AT_ONCE)
            for n, value in zip(fits, values_B.tolist(), strict=True):
                scores[n] = value
        return scores

    def close(self) -> None:
        """Frees the model's memory."""
        del self.model
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def learned_rewards(spec: str, name: str) -> list[LearnedReward]:
    """The reward that a folder holds; or an ensemble's, `name.0`, `name.1` and so on, whose mean is the reward.

    Raises SettingsError when the folder holds none, and DataError when a file of it is not what it is named.
    """
    folders = reward_folders(spec)
    if not folders:
        if (Path(spec) / CONFIG).exists():
            described(Path(spec))  # which says what is wrong with it
        raise SettingsError([f"rewards: {spec} holds no reward model (rung train reward_model)"])
    for folder in folders:
        opened(folder)
    if len(folders) == 1:
        return [LearnedReward(folders[0], name)]
    return [LearnedReward(folder, f"{name}.{number}") for number, folder in enumerate(folders)]
