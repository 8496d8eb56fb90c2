"""Each name of the preference family means what its paper says, and its data goes there and back."""

from __future__ import annotations

import json

import pytest

from rung.errors import SettingsError
from rung.methods import METHODS, PreferenceLearning
from rung.methods.data import as_data, from_data, slots, with_settings
from rung.methods.dpo import DPO
from rung.methods.explain import card, difference, explain
from rung.methods.parts.optimizers import AdamW, RMSprop
from rung.methods.parts.preference_losses import (
    APODownLoss,
    APOZeroLoss,
    BradleyTerry,
    ConservativeDPOLoss,
    DPOLoss,
    DPOWithLikelihood,
    IPOLoss,
    KTOLoss,
    ORPOLoss,
    RobustDPOLoss,
    SimPOLoss,
    Unlikelihood,
)

DPOS_STEP = RMSprop(learning_rate=1e-6, alpha=0.99, epsilon=1e-8, warmup_steps=150, max_grad_norm=10.0)
PINNED = {
    "dpo": (DPOLoss(beta=0.1), DPOS_STEP, 64),
    "ipo": (IPOLoss(tau=0.1), DPOS_STEP, 64),
    "cdpo": (ConservativeDPOLoss(beta=0.1, flipped=0.1), DPOS_STEP, 64),
    "rdpo": (RobustDPOLoss(beta=0.1, flipped=0.1), DPOS_STEP, 64),
    "ln_dpo": (DPOLoss(beta=5.0, per_token=True), AdamW(learning_rate=5e-7), 128),
    "kto": (KTOLoss(beta=0.1, desirable=1.0, undesirable=1.0), AdamW(learning_rate=5e-6), 32),
    # princeton-nlp/SimPO, README.md: Llama 3 Instruct
    "simpo": (SimPOLoss(beta=2.5, target=1.4), AdamW(learning_rate=1e-6), 128),
    # xfactlab/orpo, scripts/run_mistral_orpo_beta.sh
    "orpo": (ORPOLoss(weight=0.1), AdamW(learning_rate=5e-6, warmup_steps=200, inverse_sqrt=True), 32),
    "apo_zero": (APOZeroLoss(beta=0.1), DPOS_STEP, 64),
    "apo_down": (APODownLoss(beta=0.1), DPOS_STEP, 64),
    "unlikelihood": (Unlikelihood(alpha=0.5), DPOS_STEP, 64),
    "rpo": (DPOWithLikelihood(beta=0.1, weight=1.0), AdamW(learning_rate=7e-7), 16),  # arXiv:2404.19733
    "reward_model": (BradleyTerry(), AdamW(learning_rate=1.5e-5), 64),
}
FAMILY = {name: method for name, method in METHODS.items() if isinstance(method, PreferenceLearning)}


@pytest.mark.parametrize("name", PINNED)
def test_a_name_means_what_its_paper_says(name: str) -> None:
    method = FAMILY[name]
    assert (method.loss, method.optimizer, method.pairs_per_step) == PINNED[name]


def test_every_method_is_pinned_and_only_reward_models_train_no_policy() -> None:
    assert set(FAMILY) == set(PINNED)
    assert [name for name, method in FAMILY.items() if not method.trains_policy()] == ["reward_model"]
    assert {name for name, method in FAMILY.items() if not method.needs_start()} == {
        *("simpo", "orpo", "unlikelihood", "reward_model")
    }
    assert all(method.parent == "dpo" for name, method in FAMILY.items() if name != "dpo") and DPO.parent is None


@pytest.mark.parametrize("method", FAMILY.values(), ids=FAMILY.keys())
def test_data_goes_there_and_back_and_a_card_says_it_all(method: PreferenceLearning) -> None:
    data = json.loads(json.dumps(as_data(method)))
    assert data["kind"] == "PreferenceLearning" and from_data(data) == method
    content = card(method)
    assert list(content["slots"]) == slots(method) == ["loss", "optimizer", "pairs_per_step"]
    said = explain(method)
    assert method.loss.formula in said and method.loss.inside in said and method.optimizer.formula in said


def test_formulas_by_hand() -> None:
    assert DPO.formula().splitlines()[:2] == [
        "L = E[ -log σ(0.1 h) ] over pairs (x, y_w, y_l)",
        "h = log π/π_ref(y_w) - log π/π_ref(y_l)",
    ]
    assert FAMILY["kto"].formula().splitlines()[0].endswith("over answers (x, y)")
    assert FAMILY["ipo"].formula().startswith("L = E[ (h - 5)² ]")


def test_settings_reach_the_loss_and_wrong_ones_are_named() -> None:
    assert with_settings(DPO, {"loss": {"beta": 0.5}}).loss == DPOLoss(beta=0.5)
    assert with_settings(DPO, {"loss": "IPOLoss"}).loss == IPOLoss()
    for overrides, words in (
        ({"loss": {"bta": 1}}, "did you mean 'beta'"),
        ({"loss": "GAE"}, "expected one of DPOLoss, "),
        ({"samples_per_prompt": 8}, "method.samples_per_prompt: unknown key"),
        ({"optimizer": "NaturalGradient"}, "expected one of AdamW, RMSprop"),
    ):
        with pytest.raises(SettingsError, match=words):
            with_settings(DPO, overrides)


def test_differences_are_the_changed_slots() -> None:
    (change,) = difference(DPO, DPO.changed(loss=DPOLoss(beta=0.5)))
    assert (change.slot, change.before, change.after) == ("loss.beta", 0.1, 0.5)
    assert [c.slot for c in difference(DPO, FAMILY["cdpo"])] == ["loss"]
    assert difference(METHODS["grpo"], DPO)[0].slot == "kind"
