"""Writes trl_preferences_1_16_0.json: what TRL 1.16.0's own preference losses make of a few numbers.

    python tests/methods/trl_preference_numbers.py          # needs: pip install -e '.[peers]'

TRL's loss functions are called as they are, with fixed log-probs in float64 in place of a model's, and the gradient is
taken with respect to them. Nothing of TRL's is copied; these are inputs and outputs.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

FILE = Path(__file__).parent / "trl_preferences_1_16_0.json"
PAIRS, STEPS, PROMPT = 5, 6, 2
LENGTHS = [3, 6, 2, 4, 1, 5, 2, 6, 3, 1]
"""Chosen answers first, then the rejected ones."""
MARGINS = [0.0, 0.5, 1.0, 0.0, 2.0]
DPO_CASES: list[dict[str, Any]] = [
    {"loss": "sigmoid", "beta": 0.1},
    {"loss": "sigmoid", "beta": 0.5},
    {"loss": "sigmoid_norm", "beta": 5.0},
    {"loss": "ipo", "beta": 0.1},
    {"loss": "robust", "beta": 0.1, "flipped": 0.2},
    {"loss": "aot", "beta": 0.3, "flipped": 0.2},
    {"loss": "apo_zero", "beta": 0.1},
    {"loss": "apo_down", "beta": 0.1},
    {"loss": "sigmoid", "beta": 0.1, "sft": 0.5},
]
"""`aot` sorts the batch's margins; of one pair alone it is cDPO, which TRL has under no other name any more."""
KTO_CASES: list[dict[str, Any]] = [
    {"loss": "kto", "beta": 0.1, "desirable": 1.0, "undesirable": 1.0, "far": True},
    {"loss": "kto", "beta": 0.5, "desirable": 1.0, "undesirable": 1.5, "far": True},
    {"loss": "kto", "beta": 0.1, "desirable": 1.0, "undesirable": 1.0, "far": False},
]
"""`far`: the mismatched answers' mean log-ratio is above 0, so that z is not clipped."""


def inputs() -> dict[str, Any]:
    """Tables of log-probs [2 PAIRS, STEPS] of policy and reference, and of mismatched answers' log-probs [2 PAIRS]."""
    draw = np.random.Generator(np.random.PCG64(26))
    shape = (2 * PAIRS, STEPS)
    log_probs_BT = (-np.abs(draw.standard_normal(shape)) - 0.1).round(4)
    reference_BT = (log_probs_BT + 0.5 * draw.standard_normal(shape)).round(4)
    mismatched_B = (-8 - np.abs(draw.standard_normal(2 * PAIRS))).round(4)
    return {
        "lengths": LENGTHS,
        "margins": MARGINS,
        "log_probs": log_probs_BT.tolist(),
        "reference_log_probs": reference_BT.tolist(),
        "mismatched": mismatched_B.tolist(),
        "reference_mismatched": (mismatched_B - 0.4).round(4).tolist(),
    }


def mask_BT(given: dict[str, Any]) -> Tensor:
    return torch.arange(STEPS)[None] < torch.tensor(given["lengths"])[:, None]


class FixedLogProbs(torch.nn.Module):
    """Answers TRL's call for log-probs with a table; masked tokens have 0, as TRL's own models give."""

    def __init__(self, given: dict[str, Any]) -> None:
        super().__init__()
        self.table = torch.nn.Parameter(torch.tensor(given["log_probs"], dtype=torch.float64))
        self.mask_BT = mask_BT(given)
        self.mismatched_B = torch.tensor(given["mismatched"], dtype=torch.float64)

    def forward(self, input_ids: Tensor, **_: Any) -> SimpleNamespace:
        if input_ids[0, 0] == 2:  # KTO's mismatched answers
            table = torch.zeros_like(self.table)
            table[:, -1] = self.mismatched_B
        else:
            table = self.table * self.mask_BT
        before = table.new_zeros(table.shape[0], PROMPT - 1)
        log_probs = torch.cat([before, table], dim=1)
        other = torch.zeros_like(log_probs)
        return SimpleNamespace(log_probs=log_probs, entropy=other, mean_logits=other, is_top1=other.bool())


def fake_trainer(**more: Any) -> SimpleNamespace:
    """What TRL's loss functions read of their trainer."""
    accelerator = SimpleNamespace(device="cpu", gather=lambda x: x, gather_for_metrics=lambda x: x)
    return SimpleNamespace(
        model=torch.nn.Linear(1, 1).train(),
        accelerator=accelerator,
        aux_loss_enabled=False,
        precompute_ref_logps=True,
        _metrics={"train": defaultdict(list)},
        _total_train_tokens=0,
        _tp_size=1,
        **more,
    )


def model_inputs(given: dict[str, Any], mark: int = 1) -> dict[str, Tensor]:
    rows = len(given["lengths"])
    completion = torch.cat([torch.zeros(rows, PROMPT, dtype=torch.int64), mask_BT(given).long()], dim=1)
    ids = torch.full((rows, PROMPT + STEPS), mark, dtype=torch.int64)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "completion_mask": completion}


def reference_B(given: dict[str, Any]) -> Tensor:
    return (torch.tensor(given["reference_log_probs"], dtype=torch.float64) * mask_BT(given)).sum(1)


def dpo(case: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """DPOTrainer._compute_loss; for `aot`, and beside `sft`, whose mean is over all pairs' tokens, pair by pair."""
    from trl.trainer.dpo_trainer import DPOTrainer

    made = fake_trainer(
        ld_alpha=None,
        f_divergence_type="reverse_kl",
        beta=case["beta"],
        label_smoothing=case.get("flipped", 0.0),
        loss_types=[case["loss"], *(["sft"] if "sft" in case else [])],
        loss_weights=[1.0, *([case["sft"]] if "sft" in case else [])],
        use_weighting=False,
        args=SimpleNamespace(),
    )
    model = FixedLogProbs(given)
    chosen_M, rejected_M = reference_B(given).chunk(2)
    if case["loss"] != "aot" and "sft" not in case:
        given_now = {**model_inputs(given), "ref_chosen_logps": chosen_M, "ref_rejected_logps": rejected_M}
        return recorded(case, DPOTrainer._compute_loss(made, model, given_now, False), model.table)
    whole, losses = model_inputs(given), []
    for pair in range(PAIRS):
        rows = torch.tensor([pair, pair + PAIRS])
        given_now = {name: value[rows] for name, value in whole.items()}
        given_now |= {"ref_chosen_logps": chosen_M[pair : pair + 1], "ref_rejected_logps": rejected_M[pair : pair + 1]}
        one = FixedLogProbs({name: pick(value, rows) for name, value in given.items()})
        one.table = torch.nn.Parameter(torch.empty(0))
        one.forward = rows_of(model, rows)  # type: ignore[method-assign]
        losses.append(DPOTrainer._compute_loss(made, one, given_now, False))
    return recorded(case, torch.stack(losses).mean(), model.table)


def pick(value: list[Any], rows: Tensor) -> list[Any]:
    return [value[int(row)] for row in rows] if len(value) == 2 * PAIRS else value


def rows_of(model: FixedLogProbs, rows: Tensor) -> Any:
    def forward(**_: Any) -> SimpleNamespace:
        out = model(torch.ones(2 * PAIRS, PROMPT + STEPS, dtype=torch.int64))
        return SimpleNamespace(**{name: value[rows] for name, value in vars(out).items()})

    return forward


def kto(case: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """KTOTrainer._compute_loss."""
    from trl.trainer.kto_trainer import KTOTrainer

    made = fake_trainer(
        calculate_KL=True,
        loss_type="kto",
        beta=case["beta"],
        desirable_weight=case["desirable"],
        undesirable_weight=case["undesirable"],
        args=SimpleNamespace(),
    )
    made._compute_kl_logps = lambda model, batch: KTOTrainer._compute_kl_logps(made, model, batch)
    away = 0.0 if case["far"] else 2.0
    model = FixedLogProbs(given)
    mismatched = {f"KL_{name}": value for name, value in model_inputs(given, mark=2).items()}
    batch = {
        **model_inputs(given),
        **mismatched,
        "label": torch.tensor([True] * PAIRS + [False] * PAIRS),
        "ref_logps": reference_B(given),
        "ref_KL_logps": torch.tensor(given["reference_mismatched"], dtype=torch.float64) + away,
    }
    return recorded(case, KTOTrainer._compute_loss(made, model, batch, False), model.table)


def simpo(given: dict[str, Any]) -> dict[str, Any]:
    """CPOTrainer.cpo_loss with loss type simpo, of mean log-probs."""
    from trl.experimental.cpo import CPOTrainer

    made = fake_trainer(alpha=0.0, loss_type="simpo", beta=2.0, simpo_gamma=1.0, label_smoothing=0.0)
    table, mean_B = means(given)
    losses, _, _ = CPOTrainer.cpo_loss(made, *mean_B.chunk(2))
    return recorded({"loss": "simpo", "beta": 2.0, "target": 1.0}, losses.mean(), table)


def orpo(given: dict[str, Any]) -> dict[str, Any]:
    """ORPOTrainer.odds_ratio_loss, in float32 as it computes, of mean log-probs; its likelihood term is not in it."""
    from trl.experimental.orpo import ORPOTrainer

    table, mean_B = means(given)
    gains = ORPOTrainer.odds_ratio_loss(fake_trainer(beta=0.1), *mean_B.chunk(2))[0]
    return recorded({"loss": "odds_ratio", "weight": 0.1}, -gains.mean(), table)


def means(given: dict[str, Any]) -> tuple[Tensor, Tensor]:
    table = torch.tensor(given["log_probs"], dtype=torch.float64).requires_grad_()
    return table, (table * mask_BT(given)).sum(1) / mask_BT(given).sum(1)


def reward_model(given: dict[str, Any], *, margin: bool) -> dict[str, Any]:
    """RewardTrainer.compute_loss; the scores are the first column of the log-probs."""
    from trl.trainer.reward_trainer import RewardTrainer

    made = fake_trainer(args=SimpleNamespace(center_rewards_coefficient=None))
    table = torch.tensor(given["log_probs"], dtype=torch.float64).requires_grad_()
    batch = {"attention_mask": torch.ones(1)}
    if margin:
        batch["margin"] = torch.tensor(given["margins"], dtype=torch.float64)
    loss = RewardTrainer.compute_loss(made, lambda **_: SimpleNamespace(logits=table[:, :1]), batch)
    return recorded({"loss": "reward_model", "margin": margin}, loss, table)


def recorded(case: dict[str, Any], loss: Tensor, table: Tensor) -> dict[str, Any]:
    (gradient_BT,) = torch.autograd.grad(loss, table)
    return {**case, "value": loss.item(), "gradient": [[round(g, 12) for g in row] for row in gradient_BT.tolist()]}


def made_by_trl() -> dict[str, Any]:
    """The whole content of the file."""
    import trl

    given = inputs()
    return {
        "made_by": f"trl {trl.__version__}, torch {torch.__version__}",
        "how": "python tests/methods/trl_preference_numbers.py: TRL's own loss functions on fixed log-probs",
        "inputs": given,
        "cases": [
            *(dpo(case, given) for case in DPO_CASES),
            *(kto(case, given) for case in KTO_CASES),
            simpo(given),
            orpo(given),
            reward_model(given, margin=False),
            reward_model(given, margin=True),
        ],
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(made_by_trl(), separators=(",", ":")) + "\n", encoding="utf-8")
