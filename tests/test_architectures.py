"""The page of architectures: a few with known traps are measured anew, and none that transformers has is left out."""

from __future__ import annotations

import json

import pytest
from architectures import ALLOWED, PAGE, RECORD, in_child, measured, page, supported
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

TRAPS = {
    "gpt2": "Conv1D, learnt places",
    "mixtral": "fused experts",
    "bamba": "a hybrid, whose first layer has no keys",
    "gemma2": "logits that are bent, windows",
    "falcon": "one layer for query, key and value",
    "opt": "places that begin at 2",
}


@pytest.mark.parametrize("kind", TRAPS)
def test_traps(kind: str) -> None:
    row = measured(kind)
    assert "not" not in row, row
    for name in ("logits", "step", "lora", "saved"):
        assert supported(row[name]), (name, row[name])
    assert row["step"]["moved"] == row["step"]["weights"] and not row["step"]["said"] and not row["lora"]["said"]
    assert row["lora"]["moved"] > 0.1 and row["lora"]["reference"] < ALLOWED and row["lora"]["weights"] > 0
    recorded = json.loads(RECORD.read_text())["rows"][kind]
    assert {name: supported(recorded[name]) for name in row if name in ("critic", "reward model")} == {
        name: supported(row[name]) for name in row if name in ("critic", "reward model")
    }


def test_an_architecture_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("architectures.measured", lambda kind: [0 for _ in iter(int, 1)])
    assert "no answer within 1 seconds" in in_child("gpt2", 1)["not"]


def test_the_page_is_of_what_was_recorded_and_lists_every_class() -> None:
    record = json.loads(RECORD.read_text())
    assert PAGE.read_text() == page(record)
    assert list(record["rows"]) == [kind for kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES if kind in record["rows"]]
    missing = set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES) - set(record["rows"])
    assert not missing, f"measure them: python docs/architectures.py {' '.join(sorted(missing))}"
    for kind, name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.items():
        assert f"| `{kind}` | {name} |" in PAGE.read_text()


def test_a_gap_or_a_lost_weight_is_not_support() -> None:
    assert supported({"gap": 1e-6}) and supported({"gap": 0.0, "missing": 0})
    assert not supported({"gap": 0.01}) and not supported({"gap": 0.0, "missing": 2}) and not supported({"not": "no"})
    row = {"class": "XForCausalLM", "engine": "x", "logits": {"gap": 0.03}, "step": {"not": "XForCausalLM is odd"}}
    text = page({"transformers": "5", "rows": {"x": row}})
    assert "| `x` | XForCausalLM | model |  | **3e-02** | no (1) |" in text and "\n1. the class is odd\n" in text
