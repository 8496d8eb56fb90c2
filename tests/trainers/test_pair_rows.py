"""Pairs in tokens: one prompt for both answers, exactly one end token, and no answer is ever cut."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from pairs import written_pairs

from rung.models.language.policy import TextPolicy
from rung.models.language.tiny import tiny_model
from rung.settings import settings_from
from rung.tasks.load import load_pairs
from rung.tasks.pairs import Pair
from rung.trainers.preferences.pairs import PairCollector
from rung.trainers.preferences.tokens import EncodedPair, answer_values, encoded, pair_rows

POLICY = tiny_model(0)
SUM = Pair(number=1, id="1", prompt="2+3=", chosen="5\n", rejected="60\n")


def tokens_of(policy: TextPolicy, pair: Pair) -> EncodedPair:
    (found,) = encoded(policy, [pair])
    assert isinstance(found, EncodedPair), found
    return found


def end_counts(pair: Pair) -> list[tuple[int, bool]]:
    end = POLICY.end_ids[0]
    return [(int((ids == end).sum()), bool(ids[-1] == end)) for ids, _ in tokens_of(POLICY, pair).answers]


def test_both_answers_continue_the_same_prompt_tensor() -> None:
    batch = pair_rows([tokens_of(POLICY, SUM), tokens_of(POLICY, dataclasses.replace(SUM, prompt="7-1="))]).batch
    assert batch.contexts[0] is batch.contexts[1] and batch.contexts[2] is batch.contexts[3]
    assert batch.contexts[0].tolist() == POLICY.encode("2+3=").tolist()
    assert batch.scores_B.tolist() == [1, 0, 1, 0] and batch.group_ids_B.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("text", ["5", "5\n", "5<eos>", "5<eos><eos>"])
def test_an_answer_ends_with_exactly_one_end_token(text: str) -> None:
    assert end_counts(dataclasses.replace(SUM, chosen=text)) == [(1, True), (1, True)]


def test_the_end_token_counts_where_the_tokenizer_pads_with_it() -> None:
    """Where pad is the end token, masking padding by its id would take the end away: the mask here is by length."""
    policy = tiny_model(0)
    policy.tokenizer.pad_token = policy.tokenizer.eos_token
    assert policy.tokenizer.pad_token_id == policy.end_ids[0]
    batch = pair_rows([tokens_of(policy, SUM)]).batch
    assert batch.action_mask_BT.sum(1).tolist() == [3, 4]
    ends = [int(batch.actions_BT[b][batch.action_mask_BT[b]][-1]) for b in (0, 1)]
    assert ends == [policy.end_ids[0]] * 2


def test_an_answer_that_goes_on_after_its_end_is_refused_by_row() -> None:
    (found,) = encoded(POLICY, [dataclasses.replace(SUM, chosen="5<eos>6")])
    assert found == "an answer goes on after the model's end token; cut it there"


def test_a_pair_that_does_not_fit_is_left_out_whole_and_counted(tmp_path) -> None:
    path = written_pairs(tmp_path / "sums.jsonl", count=6)
    long = '{"id": "long", "prompt": "' + "1+" * 300 + '=", "chosen": "5", "rejected": "6"}\n'
    path.write_text(path.read_text() + long)
    settings = settings_from({"model": "m", "method": "dpo", "task": {"name": str(path), "held_out": 0}})
    collector = PairCollector(
        settings, settings.resolved_method(), load_pairs(str(path), held_out=0), POLICY, POLICY.reference()
    )
    assert len(collector.train) == 6 and collector.excluded == {"too long for the model": 1}
    assert all(one.longest <= POLICY.context_length for one in collector.train)


def test_values_are_sums_over_the_answers_own_tokens() -> None:
    rows = pair_rows([tokens_of(POLICY, SUM)])
    values_B = answer_values(POLICY, rows.batch, 10_000)
    with torch.no_grad():
        for row, text in enumerate(("2+3=5\n", "2+3=60\n")):
            ids = [*POLICY.encode(text), POLICY.end_ids[0]]
            logits = POLICY.model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)
            begin = len(POLICY.encode("2+3="))
            by_hand = sum(logits[t - 1, ids[t]] for t in range(begin, len(ids)))
            assert float(values_B[row]) == pytest.approx(float(by_hand), abs=1e-4)


def test_equal_weights_give_equal_bits_with_and_without_gradient() -> None:
    """What makes the first loss exactly log 2: the reference's pass is the policy's own, to the last bit."""
    rows = pair_rows([tokens_of(POLICY, dataclasses.replace(SUM, prompt=f"{n}+{n}=")) for n in range(5)])
    with_gradient = POLICY.answer_values(rows.batch)
    assert with_gradient.requires_grad
    assert torch.equal(with_gradient.detach(), answer_values(POLICY.reference(), rows.batch, 10_000))
