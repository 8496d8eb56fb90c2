"""The plan: its arithmetic, its memory, what it says of every written setting."""

from __future__ import annotations

import dataclasses
import json

import pytest

from rung.errors import SettingsError
from rung.methods import METHODS
from rung.models.language.size import ModelShape, tiny_shape
from rung.runs.plan import TaskFacts, make_plan, millions, plan_lines, shown, size_in_words, written
from rung.trainers.choose import kind_for
from rung.trainers.memory import memory_of, micro_batch_tokens
from rung.trainers.policy_gradient.on_text import OnText
from rung.trainers.reading import read_run

TINY = tiny_shape(None)
FACTS = TaskFacts(train_items=20_000, held_out_items=400, prompt_tokens=8)
FLAGS = {"model": "tiny", "method": "grpo", "task": "arithmetic"}


def plan(*sets, flags=FLAGS, facts=FACTS, recipe=None, free_bytes=None):
    return make_plan(read_run(flags=flags, sets=sets, recipe=recipe), TINY, facts, free_bytes=free_bytes)


def test_the_arithmetic_of_a_step_and_of_the_run():
    made = plan(
        "prompts_per_step=3",
        "samples_per_prompt=5",
        "max_new_tokens=7",
        "steps=11",
        "num_minibatches=2",
        "num_epochs=3",
    )
    data = made.as_data()
    assert data["step"] == {
        "prompts": 3,
        "samples_per_prompt": 5,
        "episodes": 15,
        "new_tokens_at_most": 105,
        "updates": 6,
    }
    assert data["run"] == {"steps": 11, "new_tokens_at_most": 1155, "prompts": 33, "train_items": 20_000}


@pytest.mark.parametrize(
    ("steps", "every", "times"),
    [(0, 10, 1), (1, 10, 2), (9, 10, 2), (10, 10, 2), (11, 10, 3), (100, 10, 11), (5, 1, 6), (100, 0, 2), (20, 10, 3)],
)
def test_how_often_the_held_out_items_are_answered(steps, every, times):
    """Step 0, every so many steps, and the last: counted out here as the loop does it."""
    due = {0} | {step for step in range(1, steps + 1) if step == steps or (every and step % every == 0)}
    assert plan(f"steps={steps}", f"evaluation.every={every}").evaluations == times == len(due)


def test_the_held_out_items_are_no_more_than_there_are():
    made = plan("evaluation.num_items=500", "evaluation.num_samples=2", "evaluation.temperature=1", "max_new_tokens=4")
    assert made.as_data()["evaluation"] == {
        "times": 11,
        "items": 400,
        "samples": 2,
        "temperature": 1,
        "new_tokens_at_most": 3200,
    }
    assert "evaluation.num_items: 500 wanted, the task has 400 held-out items" in made.warnings


def test_memory_is_the_sum_of_what_it_is_for():
    made = plan("prompts_per_step=2", "samples_per_prompt=4", "max_new_tokens=16")
    weights = 800_384 * 4
    tokens = 2 * 8 + 8 * 16  # fewer than learner.micro_batch_tokens
    parts = {
        "weights": weights,
        "gradients": weights,
        "optimizer": 2 * weights,
        "critic": 0,
        "reference": weights,
        "teacher": 0,
        "replay": 0,
        "kv cache": 2 * 4 * 64 * 8 * (8 + 16) * 4,
        "activations": tokens * (6 * 128 + 4 * 384) * 4 * 4,
    }
    assert made.memory.parts == parts
    assert made.memory.total == 5 * weights + parts["activations"]
    assert made.as_data()["memory_bytes"] == {**parts, "total": made.memory.total}


@pytest.mark.parametrize(
    ("sets", "changes"),
    [
        (["reference_kl=null", "kl_rows=0"], {"reference": 0}),
        (["reference_kl=null"], {}),
        (["lora.rank=4"], {"reference": 0, "gradients": 38_912 * 4, "optimizer": 2 * 38_912 * 4}),
        (["lora={rank: 4, targets: [q_proj]}"], {"reference": 0, "gradients": 4096 * 4, "optimizer": 2 * 4096 * 4}),
        (["rows_at_once=1"], {"kv cache": 2 * 4 * 64 * (8 + 16) * 4}),
        (["checkpoint_activations=true"], {"activations": 1024 * (2 * 128 * 4 + 6 * 128 + 4 * 384) * 4}),
        (["micro_batch_tokens=100"], {"activations": 100 * (6 * 128 + 4 * 384) * 4 * 4}),
        (["micro_batch_tokens=1"], {"activations": 24 * (6 * 128 + 4 * 384) * 4 * 4}),
    ],
)
def test_what_each_setting_does_to_memory(sets, changes):
    before, after = plan().memory.parts, plan(*sets).memory.parts
    changed = {name: size for name, size in after.items() if size != before[name] and name != "weights"}
    assert changed == {name: size for name, size in changes.items() if size != before[name]}


def test_bfloat16_halves_cache_and_activations_and_copies_the_weights():
    full, half = plan("compute=float32").memory.parts, plan("compute=bfloat16").memory.parts
    assert half["kv cache"] * 2 == full["kv cache"] and half["activations"] * 2 == full["activations"]
    assert half["weights"] == full["weights"] * 1.5
    assert half["optimizer"] == full["optimizer"]


def test_the_activation_estimate_is_close_to_what_autograd_keeps():
    """Counted on the real decoder, within a quarter: saved tensors that are not weights."""
    from rung.batch import Batch
    from rung.models.language.tiny import tiny_model

    torch = pytest.importorskip("torch")
    policy = tiny_model(0)
    rows, steps, context = 32, 16, torch.arange(5, 13)
    zero_BT = torch.zeros(rows, steps)
    batch = Batch(
        contexts=(context,) * rows,
        actions_BT=torch.full((rows, steps), 7),
        action_mask_BT=torch.ones(rows, steps, dtype=torch.bool),
        sampler_log_probs_BT=zero_BT,
        rewards_BT=zero_BT,
        discounts_BT=zero_BT + 1,
        cut_BT=zero_BT > 0,
        bootstrap_BT=zero_BT,
        group_ids_B=torch.zeros(rows, dtype=torch.int64),
        scores_B=zero_BT[:, 0],
        truncated_B=zero_BT[:, 0] > 0,
    )
    weights = {parameter.untyped_storage().data_ptr() for parameter in policy.model.parameters()}
    kept = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        policy(batch)
    reading = read_run(flags=FLAGS, sets=["prompts_per_step=1", f"samples_per_prompt={rows}"])
    settings = reading.required()
    method = settings.resolved_method()
    assert micro_batch_tokens(settings, rows, 8) == 8 + rows * steps
    estimate = memory_of(settings, method, kind_for(settings, method), TINY, episodes=rows, prompt_tokens=8).parts[
        "activations"
    ]
    assert sum(size for size, _ in kept.values()) == pytest.approx(estimate, rel=0.25)


def test_a_teacher_counts_with_its_own_weights(tmp_path):
    """Those that loading it leaves in memory, as `rung check` tells them; one that is not there is told as well."""
    from typer.testing import CliRunner

    from rung.cli import app
    from rung.models.language.load import load_policy
    from rung.models.language.tiny import tiny_model

    for name, layers in (("student", 1), ("teacher", 3)):
        tiny_model(0, layers=layers, width=16).save(tmp_path / name)
    arguments = ["check", "distillation", "--model", str(tmp_path / "student"), "--task", "arithmetic", "--json"]

    def checked(teacher):
        return CliRunner().invoke(app, [*arguments, "--set", f"teacher={tmp_path / teacher}"])

    found = json.loads(checked("teacher").stdout)["memory_bytes"]
    loaded = load_policy(str(tmp_path / "teacher"), device="cpu", compute="float32")
    assert found["teacher"] == sum(weight.nbytes for weight in loaded.model.parameters()) > found["weights"]
    assert found["total"] == sum(
        size for name, size in found.items() if name not in ("total", "kv cache", "activations")
    ) + max(found["kv cache"], found["activations"])
    missing = checked("nowhere")
    assert missing.exit_code == 2 and "--set teacher: '" in missing.stderr and "nowhere" in missing.stderr


@pytest.mark.parametrize(("vocabulary", "prompt", "length"), [(100, 8, 1), (1 << 16, 8, 16), ((1 << 16) + 1, 40, 4)])
def test_the_replay_of_a_text_task_counts_as_it_lies_in_memory(vocabulary, prompt, length):
    """Within a tenth of what a full one takes, by Python's own count of memory."""
    import tracemalloc

    import numpy as np

    from rung.rollouts.token_replay import TokenReplay

    steps = 640
    sets = [f"method.replay.capacity={steps}", "method.replay.batch=4", "method.replay.starts=4", "max_new_tokens=16"]
    sets += [f"steps={steps // length}", "prompts_per_step=1", "method.value_target.steps=1"]
    settings = read_run(flags={"model": "tiny", "method": "dqn", "task": "copying"}, sets=sets).required()
    network = dataclasses.replace(TINY, vocabulary=vocabulary)
    units = {"episodes": 1, "prompt_tokens": prompt}
    estimate = memory_of(
        settings, (method := settings.resolved_method()), kind_for(settings, method), network, **units
    ).parts["replay"]
    ids, ones, nothing = np.arange(prompt), np.ones(length, bool), np.zeros(length)
    tracemalloc.start()
    try:
        replay = TokenReplay(capacity=steps, vocabulary=vocabulary)
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(steps // length):
            replay.add(ids, ids[:1].repeat(length), ones, nothing)
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert len(replay) == steps
    assert held == pytest.approx(estimate, rel=0.1)
    of_policy = memory_of(read_run(flags=FLAGS).required(), METHODS["grpo"], OnText(), TINY, **units).parts["replay"]
    assert of_policy == 0


def test_too_little_memory_is_a_warning():
    assert any("GiB are needed and 0.0 GiB are free" in warning for warning in plan(free_bytes=1000).warnings)
    assert not any("GiB" in warning for warning in plan(free_bytes=2**40).warnings)


def test_every_written_setting_has_its_place_and_its_default():
    reading = read_run(flags={**FLAGS, "seed": "3"}, sets=["task.levels=[1]", "objective=ScoreFunction", "rank=4"])
    lines = {one.key: (one.words(), one.place) for one in written(reading)}
    assert lines == {
        "prompts_per_step": ("prompts_per_step = 16 (default: 16)", "recipe tiny:3"),
        "max_new_tokens": ("max_new_tokens = 16 (default: 128)", "recipe tiny:4"),
        "evaluation.num_items": ("evaluation.num_items = 100 (default: 64)", "recipe tiny:6"),
        "evaluation.num_samples": ("evaluation.num_samples = 4 (default: 1)", "recipe tiny:7"),
        "evaluation.temperature": ("evaluation.temperature = 1 (default: 0)", "recipe tiny:8"),
        "model": ("model = tiny", "--model"),
        "task.name": ("task.name = arithmetic", "--task"),
        "seed": ("seed = 3 (default: 0)", "--seed"),
        "task.levels": ("task.levels = [1]", "--set task.levels"),
        "lora.rank": ("lora.rank = 4 (default: null)", "--set rank"),
        "method.name": ("method.name = grpo", "METHOD"),
        "method.samples_per_prompt": ("method.samples_per_prompt = 8 (grpo's default: 64)", "recipe tiny:10"),
        "method.objective.part": (
            "method.objective.part = ScoreFunction (grpo's default: ClippedSurrogate)",
            "--set objective",
        ),
        "method.optimizer.learning_rate": (
            "method.optimizer.learning_rate = 0.0002 (grpo's default: 1e-06)",
            "recipe tiny:12",
        ),
        "method.optimizer.warmup_steps": ("method.optimizer.warmup_steps = 10 (grpo's default: 0)", "recipe tiny:13"),
    }


def test_the_lines_say_what_will_happen():
    text = "\n".join(plan_lines(plan("learning_rate=0.1", "steps=25")))
    for part in (
        "grpo on arithmetic with tiny",
        "16 prompts x 8 samples = 128 episodes, at most 2,048 new tokens (16 each)",
        "1 update, learning rate 0.1, sampled at temperature 1",
        "25 steps, at most 51,200 new tokens; seed 0",
        "100 items x 4 samples (temperature 1)",
        "at the start, every 10 steps, at the end: 4 times",
        "all 800,384 weights; nothing of the model is frozen",
        "a copy of the model as it starts (the method's reference)",
        "  from recipe tiny:\n    prompts_per_step = 16 (default: 16)",
        "  from the command line:\n    steps = 25 (default: 100)\n    "
        "method.optimizer.learning_rate = 0.1 (grpo's default",
        "note      --set learning_rate means method.optimizer.learning_rate",
        "warning   method.optimizer.learning_rate: 0.1 is very high; 1e-6 to 1e-3 is usual",
        "arXiv:2402.03300",
    ):
        assert part in text, part


def test_the_lines_say_what_is_frozen():
    lora = "\n".join(plan_lines(plan("rank=4")))
    assert "a LoRA of rank 4: 38,912 weights, 4.9% of the model's 800,384, which are frozen" in lora
    assert "the reference is the frozen model with the adapter off" in lora
    alone = "\n".join(plan_lines(plan("reference_kl=null", "kl_rows=0")))
    assert "frozen beside it" not in alone and "the reference is" not in alone
    assert "(for the metric kl/start)" in "\n".join(plan_lines(plan("reference_kl=null")))


def test_a_plan_is_json():
    data = plan("rank=4", "learning_rate=0.1").as_data()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data["settings"] == read_run(flags=FLAGS, sets=["rank=4", "learning_rate=0.1"]).required().as_data()
    assert data["weights"]["trained"] == 38_912 and data["weights"]["frozen"] == 800_384


@pytest.mark.parametrize(
    ("sets", "problem"),
    [
        (
            ["max_new_tokens=512"],
            "--set max_new_tokens: got 512, but the model's context of 512 tokens holds prompt and",
        ),
        (
            ["lora={targets: [q_prj]}"],
            "--set lora: lora.targets: got 'q_prj', expected linear layers of this model: down_proj",
        ),
    ],
)
def test_settings_that_do_not_fit_the_model(sets, problem):
    with pytest.raises(SettingsError) as error:
        plan(*sets)
    (found,) = error.value.problems
    assert found.startswith(problem)


@pytest.mark.parametrize(
    ("sets", "warning"),
    [
        (["learning_rate=0.02"], "method.optimizer.learning_rate: 0.02 is very high"),
        (["evaluation.temperature=0"], "evaluation.num_samples: the 4 samples of an item are all equal"),
        (["micro_batch_tokens=8"], "learner.micro_batch_tokens: 8 is less than one episode of max_new_tokens 16"),
        (["aggregation=PerConstantLength"], "method.aggregation.length: 1024 is not max_new_tokens 16"),
        (["steps=0"], "steps: 0, so the model is only evaluated"),
        (["prompts_per_step=20001"], "prompts_per_step: 20001 are more than the task's 20000 train items"),
    ],
)
def test_what_is_doubtful_is_a_warning(sets, warning):
    warnings = plan(*sets).warnings
    assert len(warnings) == 1 and warnings[0].startswith(warning), warnings


def test_the_recipes_settings_are_beyond_doubt():
    assert plan().warnings == ()


def test_values_and_sizes_in_words():
    assert [shown(value) for value in (None, True, 1e-6, 3, "a", [1, 2.5], {"a": None})] == [
        "null",
        "true",
        "1e-06",
        "3",
        "a",
        "[1, 2.5]",
        "{a: null}",
    ]
    assert [millions(n) for n in (38_912, 134_515_008, 1_235_000_000)] == ["38,912", "134.5 million", "1.2 billion"]
    assert [size_in_words(n) for n in (2**20, 538_060_032, 7 * 2**30)] == ["1.0 MiB", "513 MiB", "7.0 GiB"]


def test_a_run_on_a_file_of_pairs_draws_nothing_that_could_be_too_long(tmp_path):
    (tmp_path / "pairs.jsonl").write_text(
        "".join(json.dumps({"prompt": f"{n}+1=", "chosen": "a", "rejected": "b"}) + "\n" for n in range(9))
    )
    flags = {"model": "tiny", "task": str(tmp_path / "pairs.jsonl"), "method": "dpo"}
    assert plan("max_new_tokens=512", flags=flags).settings.max_new_tokens == 512


def test_a_size_that_is_not_known_stops_nothing_and_is_said():
    unknown = ModelShape(parameters=0, unknown="no such architecture")
    for sets in ([], ["lora.rank=4"], ["lora.targets=[q_prj]"]):
        made = make_plan(read_run(flags=FLAGS, sets=sets), unknown, FACTS, free_bytes=1)
        text = "\n".join(plan_lines(made))
        assert "trained   the model's size is not known: no such architecture" in text
        assert "memory    not estimated" in text and "MiB" not in text
        assert made.as_data()["weights"]["counted"] is False and not any("memory" in one for one in made.warnings)
