"""The learner of preferences: one update a step on whole pairs, for a policy and for a reward model alike."""

from __future__ import annotations

import torch
from torch import Tensor

from rung.batch import Batch
from rung.faults import fault_point
from rung.formulas.masked import zeroed
from rung.formulas.preference_losses import kto_anchor
from rung.methods.preference_learning import PreferenceLearning
from rung.trainers.optimizer import gradient_step, optimizer_state, restore_optimizer
from rung.trainers.preferences.measure import of_answers
from rung.trainers.preferences.tokens import AnswerModel, PairRows, answer_values, whole_pairs
from rung.trainers.ranks import ONE, Ranks, summed
from rung.trainers.trainer import Metrics, Numbers


class PreferenceLearner:
    """Owns the model being trained. `update` is the whole of learning from one step's pairs, for every loss."""

    def __init__(
        self,
        model: AnswerModel,
        method: PreferenceLearning,
        *,
        reference: AnswerModel | None = None,
        micro_batch_tokens: int = 1024,
        ranks: Ranks = ONE,
    ) -> None:
        assert reference is not None or method.loss.paired, "a loss without pairs takes its anchor from a reference"
        self.model, self.method, self.reference = model, method, reference
        self.micro_batch_tokens = micro_batch_tokens
        self.ranks = ranks
        self.optimizer = method.optimizer.build(model.trainable().values())
        self.updates = 0
        """Updates made so far; the version of the policy."""

    def tensors(self) -> dict[str, Tensor]:
        """The optimizer's state, for a checkpoint."""
        return optimizer_state(self.optimizer, self.model.trainable())

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Puts back what `tensors` gave."""
        restore_optimizer(self.optimizer, self.model.trainable(), tensors)

    def update(self, batch: PairRows | None, step: int, progress: float = 0.0) -> Numbers:
        """One update; none where there is nothing to learn from.

        The loss is the mean over all pairs (answers, for a loss without pairs) of the step, whatever is cut. The
        batch's advantages are how strongly each answer was pushed: -∂L/∂log π. Raises NonFiniteError before a NaN or
        infinity could reach the weights.
        """
        if batch is None:
            return Numbers()
        rows = batch
        anchor = 0.0 if self.method.loss.paired else self._anchor(rows.batch)
        whole = rows.answers(torch.zeros(len(rows), dtype=torch.float64))
        count = len(whole.pairs_M2) if self.method.loss.paired else len(rows)
        parameters = list(self.model.trainable().values())
        self.optimizer.zero_grad(set_to_none=True)
        values_B = torch.zeros(len(rows), dtype=torch.float64)
        pushes_B = torch.zeros(len(rows), dtype=torch.float64)
        loss = 0.0
        cuts = list(whole_pairs(rows.batch, self.micro_batch_tokens, at_least=self.ranks.size))
        for rows_B, counts in self.ranks.dealt(cuts):
            part = rows.rows(rows_B)
            device = part.batch.rewards_BT.device  # losses are taken where the batch is
            answers = part.answers(self.model.answer_values(part.batch).to(device, torch.float64), anchor)
            answers.values_B.retain_grad()
            share = self.method.losses(answers).sum() / count
            (share if counts else share * 0).backward()
            if not counts:
                continue
            loss += float(share.detach())
            values_B[rows_B] = answers.values_B.detach()
            assert answers.values_B.grad is not None
            pushes_B[rows_B] = -answers.values_B.grad * count
        loss, values_B, pushes_B = summed(self.ranks, loss), self.ranks.total(values_B), self.ranks.total(pushes_B)
        fault_point("update.backward")
        rate = self.method.optimizer.learning_rate_at(self.updates, progress)
        norm = gradient_step(
            self.optimizer,
            parameters,
            loss=loss,
            max_grad_norm=self.method.optimizer.max_grad_norm,
            learning_rate=rate,
            update=self.updates + 1,
        )
        self.updates += 1
        mask_BT = rows.batch.action_mask_BT
        advantages_BT = zeroed(pushes_B[:, None].expand(mask_BT.shape), mask_BT)
        numbers: Metrics = {
            "loss": loss,
            "grad/norm": norm,
            "learning_rate": rate,
            **of_answers(rows.answers(values_B, anchor), self.method),
            "episodes/trained": float(len(rows)),
            "tokens/trained": float(mask_BT.sum()),
        }
        return Numbers(numbers, rows.batch.changed(advantages_BT=advantages_BT))

    def _anchor(self, batch: Batch) -> float:
        """KTO's z, from the mean log-ratio of answers put after another row's prompt."""
        assert self.reference is not None
        shifted, tokens = mismatched(batch), self.micro_batch_tokens
        here_B, start_B = (answer_values(m, shifted, tokens, self.ranks) for m in (self.model, self.reference))
        return float(kto_anchor(here_B - start_B))


def mismatched(batch: Batch) -> Batch:
    """The same answers, each after another row's prompt: the prompts are moved on by one group of the whole batch.

    Every row is a group of its own here, for no two of them need to stay together.
    """
    groups, place_B = torch.unique_consecutive(batch.group_ids_B, return_inverse=True)
    firsts = [batch.contexts[int(torch.nonzero(batch.group_ids_B == group)[0, 0])] for group in groups]
    followers = [*firsts[1:], firsts[0]]
    contexts = tuple(followers[int(place)] for place in place_B)
    return batch.changed(contexts=contexts, group_ids_B=torch.arange(len(batch)))
