"""Configurations of TRL as ours: every field of TRL 1.16 is mapped or listed, and what comes out can be run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from rung import SettingsError
from rung.methods.data import as_data
from rung.settings.from_trl import from_trl
from rung.settings.names import ELSEWHERE
from rung.settings.trl_counterparts import LOSSES, MACHINE, METHODS, TRL, Work, fields_of
from rung.trainers.reading import read_run

FIELDS = json.loads((Path(__file__).parent / "trl_1_16.json").read_text())
"""By the trainer: the fields of its configuration, of TrainingArguments and of TRL's scripts, with their defaults."""


@pytest.fixture
def translated(tmp_path):
    def run(values: dict[str, Any], trainer: str | None = None, **more: Any):
        file = tmp_path / "config.yaml"
        file.write_text(yaml.safe_dump(values))
        found = from_trl(file, trainer, **more)
        out = tmp_path / "run.yaml"
        out.write_text(yaml.safe_dump(found.settings))
        return found, read_run(config=out, flags={"model": "tiny", "task": "arithmetic"}).required()

    return run


@pytest.mark.parametrize("trainer", METHODS)
def test_every_field_of_trl_is_mapped_or_listed(trainer: str) -> None:
    known = {*fields_of(trainer), *fields_of(trainer, "none"), *MACHINE}
    assert FIELDS[trainer].keys() <= known
    assert not fields_of(trainer).keys() & (fields_of(trainer, "none").keys() | MACHINE), "each in one place"


@pytest.mark.parametrize("trainer", METHODS)
def test_the_defaults_are_trls(trainer: str) -> None:
    unlike = {"disable_dropout", "bf16", "gradient_checkpointing", "eval_strategy", "max_length", "loss_type"}
    for name, default in {**fields_of(trainer), **fields_of(trainer, "none")}.items():
        theirs = FIELDS[trainer].get(name, "computed")
        assert theirs == "computed" or name in unlike or default == theirs, name


OTHER: dict[str, Any] = {
    **{"lr_scheduler_type": "cosine", "optim": "sgd", "importance_sampling_level": "sequence", "delta": 2.0},
    **{"scale_rewards": "batch", "report_to": "wandb", "eval_strategy": "steps", "save_strategy": "no"},
    **{"generation_batch_size": 16, "steps_per_generation": 2, "epsilon_high": 0.3, "reward_funcs": ["a.b"]},
    **{"model_name_or_path": "m", "dataset_name": "d", "lora_target_modules": ["q_proj"], "num_generations": 4},
    **{
        "warmup_ratio": 0.5,
        "warmup_steps": 3,
        "max_steps": 7,
        "per_device_train_batch_size": 16,
        "bf16": True,
        "gradient_checkpointing": True,
    },
}
BESIDE = {
    **{name: {"use_peft": True} for name in ("lora_r", "lora_alpha", "lora_target_modules")},
    **{name: {"beta": 0.1} for name in ("sync_ref_model", "use_bias_correction_kl")},
    **{"ref_model_sync_steps": {"beta": 0.1, "sync_ref_model": True}, "eval_steps": {"eval_strategy": "steps"}},
    **{"label_smoothing": {"loss_type": "robust"}, "num_train_epochs": {"max_steps": -1}},
}
"""What a field needs beside it to have an effect in TRL."""


@pytest.mark.parametrize("trainer", METHODS)
def test_every_field_says_something_when_it_is_given(trainer: str, tmp_path) -> None:
    """Each alone with another value than its default: the settings change, or the notes name it."""

    def found(values: dict[str, Any]):
        (tmp_path / "config.yaml").write_text(yaml.safe_dump({"max_steps": 64, **values}))
        return from_trl(tmp_path / "config.yaml", trainer, rows=80)

    updates = {"steps_per_generation": 2, "num_generations": 2}
    for name, default in fields_of(trainer).items():
        below = updates if trainer == "rloo" and name.startswith("epsilon") else BESIDE.get(name, {})
        value = OTHER.get(name, not default if isinstance(default, bool) else 4)
        if name == "loss_type":
            value = "ipo" if trainer == "dpo" else "grpo"
        elif name not in OTHER and isinstance(default, float):
            value = default / 2 or 0.25
        before, after = found(below), found({**below, name: value})
        assert before.settings != after.settings or name in {**after.differs, **after.missing}, name
    for name, default in fields_of(trainer, "none").items():
        assert name in found({name: not default if isinstance(default, bool) else f"not {default}"}).missing, name


def test_trls_batch_is_counted_as_trl_counts_it(translated) -> None:
    given = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 8, "steps_per_generation": 16}
    given |= {"num_generations": 8, "num_iterations": 2, "max_steps": 400, "warmup_steps": 0.1, "loss_type": "dapo"}
    found, settings = translated(given, processes=2)
    method = settings.resolved_method()
    assert settings.prompts_per_step == 4 * 16 * 2 // 8 and method.samples_per_prompt == 8
    assert (method.num_minibatches, method.num_epochs) == (2, 2)
    assert settings.steps == 400 // 4 and method.optimizer.warmup_steps == 40
    assert "128 samples a step: 16 prompts with 8 samples each" in found.batch[0]
    _, settings = translated({"num_train_epochs": 2, "loss_type": "dapo"}, rows=100)
    assert settings.prompts_per_step == 1 and settings.steps == 200


@pytest.mark.parametrize(
    ("values", "slot", "expected"),
    [
        (
            {"loss_type": "dr_grpo", "max_completion_length": 99},
            "aggregation",
            {"part": "PerConstantLength", "length": 99},
        ),
        ({"loss_type": "grpo"}, "aggregation", {"part": "PerSequence"}),
        ({"loss_type": "cispo", "epsilon_high": 5.0}, "objective", {"part": "ClippedWeight", "high": 5.0}),
        (
            {"epsilon_high": 0.28, "delta": 4.0},
            "objective",
            {"part": "ClippedSurrogate", "low": 0.2, "high": 0.28, "dual": 4.0},
        ),
        ({"scale_rewards": False}, "advantage", {"part": "GroupCentred"}),
        ({"scale_rewards": True}, "advantage", {"part": "GroupNormalized", "epsilon": 1e-4, "ddof": 1}),
        ({"beta": 0.0, "num_generations": 4, "delta": None}, "reference_kl", None),
        ({"mask_truncated_completions": True, "scale_rewards": "group"}, "drop_rows", {"part": "DropTruncated"}),
        ({"loss_type": "ipo", "beta": 0.3}, "loss", {"part": "IPOLoss", "tau": 0.3, "per_token": True}),
        (
            {"loss_type": "sigmoid", "label_smoothing": 0.1},
            "loss",
            {"part": "ConservativeDPOLoss", "beta": 0.1, "flipped": 0.1},
        ),
        (
            {"loss_type": ["robust"], "label_smoothing": 0.2},
            "loss",
            {"part": "RobustDPOLoss", "beta": 0.1, "flipped": 0.2},
        ),
    ],
)
def test_values_fill_slots_and_the_loss_tells_the_trainer(values, slot: str, expected, translated) -> None:
    _, settings = translated(values)
    assert as_data(settings.resolved_method())[slot] == expected


def test_trls_own_grpo_is_our_preset_of_it(translated) -> None:
    from rung.methods import METHODS as OURS

    _, settings = translated({"delta": None})
    assert as_data(settings.resolved_method()) == as_data(OURS["grpo@trl"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "learning_rat: 1\nlearning_rate: 1e-6\nloss_type: dapo",
            "learning_rat is no field of TRL's GRPO; did you mean 'learning_rate'",
        ),
        ("services: {web: 1}", "none of its keys is TRL's"),
        ("learning_rate: fast\nloss_type: dapo", "learning_rate: got 'fast', expected a number"),
        ("num_generations: 7", "does not divide the 8 samples"),
        ("generation_batch_size: 8\nsteps_per_generation: 1", "both are given"),
        ("loss_type: grop\nnum_generations: 4\ndelta: 2", "loss_type: got 'grop'"),
        ("learning_rate: 1e-6", "do not tell whose it is; say --method"),
        ("- a\n- b", "expected the keys and values"),
        ("", "expected the keys and values"),
        ("delta: [1, 2]", "in our terms"),
        ("a: !!python/object/apply:os.system [ls]", "expected plain values"),
        ("learning_rate: -1\nloss_type: dapo", "in our terms: method.optimizer.learning_rate"),
    ],
)
def test_what_is_no_configuration_is_told_in_words(text: str, says: str, tmp_path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError) as error:
        from_trl(file)
    assert says in str(error.value)


def test_what_has_no_loss_here_is_never_taken_for_another(translated) -> None:
    for trainer, losses in LOSSES.items():
        for loss in losses:
            found, _ = translated({"loss_type": loss, "learning_rate": 1e-6}, trainer)
            ours = {"dapo", "grpo", "bnpo", "dr_grpo", "cispo", "luspo"}
            ours |= {"sigmoid", "robust", "ipo", "apo_zero", "apo_down", "sigmoid_norm"}
            assert (loss in ours) == ("loss_type" not in found.missing), loss


def test_renamed_fields_have_their_names_from_the_one_table() -> None:
    for trainer in METHODS:
        work = Work(trainer, {}, 1, None)
        work.translated()
        assert not work.left - work.found.settings.keys() - ELSEWHERE.keys(), "a name that both have, or the table's"
    assert set(TRL["former"].values()) <= {*fields_of("grpo"), *fields_of("grpo", "none")}
