"""A reward model reads the end token, is what Hugging Face's classifier computes, and survives saving."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from rung.batch import Batch, Episode, Judgement
from rung.errors import CheckpointError, DataError, SettingsError
from rung.models.language.folder import is_reward_model
from rung.models.language.load import load_policy
from rung.models.language.lora import Lora
from rung.models.language.reward_model import RewardModel, first_head, load_reward_model, new_reward_model
from rung.models.language.tiny import tiny_model
from rung.trainers.assemble import assemble

TEXTS = (("2+3=", "5\n"), ("2+3=", "60\n"), ("17-4=", "13\n"))


def batch_of(model: RewardModel) -> Batch:
    def episode(n: int, prompt: str, text: str) -> Episode:
        ids = np.array([*model.reader.tokenizer.encode(text, add_special_tokens=False), model.reader.end_ids[0]])
        return Episode(
            item=str(n),
            group=n,
            sample=0,
            context=model.reader.encode(prompt),
            actions=ids,
            action_mask=np.ones(len(ids), dtype=bool),
            log_probs=np.zeros(len(ids), dtype=np.float32),
            terminated=True,
            truncated=False,
            judgement=Judgement(total=0.0, parts={}, accuracy=0.0),
        )

    return assemble([episode(n, *texts) for n, texts in enumerate(TEXTS)])


def by_hugging_face(folder: Path) -> torch.Tensor:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        scores = []
        for prompt, text in TEXTS:
            ids = torch.tensor([[*tokenizer(prompt + text)["input_ids"], tokenizer.eos_token_id]])
            scores.append(model(input_ids=ids).logits[0, 0])
        return torch.stack(scores)


@pytest.mark.parametrize("pads_with_end", [False, True])
def test_hugging_face_computes_the_same_scores(tmp_path: Path, pads_with_end: bool) -> None:
    network = tiny_model(0)
    if pads_with_end:
        network.tokenizer.pad_token = network.tokenizer.eos_token
    model = RewardModel(network, seed=3)
    model.save(tmp_path / "saved")
    ours_B = model.answer_values(batch_of(model)).detach()
    assert ours_B.std() > 0.01
    torch.testing.assert_close(by_hugging_face(tmp_path / "saved"), ours_B, rtol=1e-4, atol=1e-4)
    loaded = load_reward_model(tmp_path / "saved")
    torch.testing.assert_close(loaded.answer_values(batch_of(loaded)).detach(), ours_B, rtol=0, atol=0)


def test_the_head_is_drawn_by_the_seed() -> None:
    assert torch.equal(first_head(64, 1), first_head(64, 1)) and not torch.equal(first_head(64, 1), first_head(64, 2))
    assert float(first_head(10_000, 0).std()) == pytest.approx(0.01, rel=0.05)


def test_padding_changes_no_score() -> None:
    model = RewardModel(tiny_model(0))
    batch = batch_of(model)
    alone = [float(model.answer_values(batch.rows(torch.tensor([n]))).detach()[0]) for n in range(3)]
    assert model.answer_values(batch).tolist() == pytest.approx(alone, abs=1e-5)


def test_every_trained_weight_gets_a_gradient_and_the_state_goes_back() -> None:
    model = RewardModel(tiny_model(0))
    model.answer_values(batch_of(model)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.trainable().values())
    kept = {name: tensor.clone() for name, tensor in model.state().items()}
    with torch.no_grad():
        model.score.weight.zero_()
    assert not model.answer_values(batch_of(model)).any()
    model.load_state(kept)
    assert model.answer_values(batch_of(model)).any()
    with pytest.raises(CheckpointError, match=r"score.weight is missing"):
        model.load_state({name: t for name, t in kept.items() if name != "score.weight"})


def test_an_existing_reward_model_goes_on_and_others_are_refused(tmp_path: Path) -> None:
    RewardModel(tiny_model(0), seed=3).save(tmp_path / "reward")
    tiny_model(0).save(tmp_path / "policy")
    assert is_reward_model(tmp_path / "reward") and not is_reward_model(tmp_path / "policy")
    again = new_reward_model(str(tmp_path / "reward"), seed=9)
    assert torch.equal(again.score.weight.detach(), first_head(128, 3))
    with pytest.raises(SettingsError, match="is a reward model already"):
        new_reward_model(str(tmp_path / "reward"), seed=0, lora=Lora(rank=2))
    with pytest.raises(DataError, match="is a reward model, expected a language model"):
        load_policy(str(tmp_path / "reward"))
    with pytest.raises(DataError, match="holds no reward model"):
        load_reward_model(tmp_path / "policy")
    config = json.loads((tmp_path / "reward" / "config.json").read_text())
    (tmp_path / "reward" / "config.json").write_text(
        json.dumps({**config, "model_type": "evil", "auto_map": {"AutoModel": "x.Y"}})
    )
    with pytest.raises(DataError, match="auto_map"):
        load_reward_model(tmp_path / "reward")
