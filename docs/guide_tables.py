"""The generated parts of the guides: metrics, what can be wrong with a run, names elsewhere, errors, comparisons."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rung.errors import RungError
from rung.lab.diagnosis.rules import RULES
from rung.runs.metrics import METRICS, TEXT
from rung.settings.names import ELSEWHERE
from rung.trainers.reading import read_run

RESULTS = Path(__file__).parent.parent / "experiments" / "results"
FIRST = (
    *("held_out/score", "reward/mean", "groups/no_spread", "entropy", "kl/start", "length/mean", "length/truncated"),
    *("clip/share", "grad/norm", "sampler_gap/mean", "critic/explained_variance", "preference/accuracy"),
)
"""The metrics to look at first."""
LIBRARIES = {
    "trl": """num_generations per_device_train_batch_size gradient_accumulation_steps steps_per_generation
        num_iterations max_completion_length learning_rate beta epsilon epsilon_high loss_type ref_model_sync_steps
        lr_scheduler_type warmup_ratio reward_funcs model_name_or_path eval_steps save_steps report_to
        gradient_checkpointing bf16 lora_r target_modules max_prompt_length top_p num_train_epochs""",
    "verl": """rollout.n train_batch_size ppo_mini_batch_size ppo_micro_batch_size_per_gpu ppo_epochs
        max_response_length clip_ratio_low clip_ratio_high kl_loss_coef kl_ctl.kl_coef entropy_coeff loss_agg_mode gamma
        lam grad_clip custom_reward_function.path train_files total_epochs total_training_steps test_freq save_freq
        enable_gradient_checkpointing top_k""",
    "sb3": """n_steps batch_size n_epochs n_envs gamma gae_lambda clip_range clip_range_vf ent_coef vf_coef
        max_grad_norm target_kl total_timesteps policy_kwargs learning_rate buffer_size learning_starts train_freq
        target_update_interval exploration_fraction exploration_final_eps eval_freq""",
}
"""What users of each library type, in the order of its own documentation."""
MISTAKES: Sequence[tuple[dict[str, str], Sequence[str]]] = (
    ({"model": "tiny", "method": "grpo", "task": "arithmetic"}, ("stepz=5",)),
    ({"model": "tiny", "method": "grpo", "task": "arithmetic"}, ("lr=1e-5",)),
    ({"model": "tiny", "method": "grpo", "task": "arithmetic"}, ("steps=many",)),
    ({"model": "tiny", "method": "grpo", "task": "arithmetic"}, ("method.samples_per_prompt=1",)),
    ({"model": "tiny", "method": "grpoo", "task": "arithmetic"}, ()),
    ({"model": "tiny", "method": "grpo", "task": "arithmetic"}, ("method.critic=ValueFunction",)),
)
"""What people type by mistake: the flags and the `--set`s of `rung train`."""


def table(head: str, rows: Iterator[Sequence[str]]) -> str:
    lines = [f"| {head} |", f"|{' --- |' * (head.count('|') + 1)}"]
    return "\n".join([*lines, *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)])


def first_metrics() -> str:
    rows = ((f"`{m.name}`, {m.unit}", m.meaning, m.healthy, m.what_to_do) for m in (METRICS[name] for name in FIRST))
    return table("metric | what it is | healthy | otherwise", rows)


def illnesses() -> str:
    """Every rule of `rung diagnose`, in the words for a run on text."""
    head = "how bad | what is said | the usual cause | what to change"
    return table(head, (_said(dict(rule.said)) for rule in RULES))


def _said(said: dict[str, Any]) -> Sequence[str]:
    return said["severity"], *(_filled(said[part]) for part in ("says", "cause", "change"))


def _filled(text: str) -> str:
    """The words of a run on text; what only a run knows stands as `…`."""
    words = vars(TEXT)
    return re.sub(r"\{(\w+)\}", lambda found: str(words.get(found[1], "…")), text)


def names(library: str) -> str:
    return table("there | here | what differs", (_name(library, one) for one in LIBRARIES[library].split()))


def _name(library: str, theirs: str) -> Sequence[str]:
    if (library, theirs) == ("sb3", "batch_size"):  # there the size of a minibatch, elsewhere prompts
        return f"`{theirs}`", *_name(library, "mini_batch_size")[1:]
    if theirs not in ELSEWHERE:  # the same name in both
        return f"`{theirs}`", f"`{theirs}`", ""
    ours, words = ELSEWHERE[theirs]
    return f"`{theirs}`", ", ".join(f"`{one}`" for one in ours) or "nothing", words


def errors() -> str:
    """What is typed by mistake, and the error as it is."""
    parts: list[str] = []
    for flags, sets in MISTAKES:
        options = [f"--{name} {value}" for name, value in flags.items() if name != "method"]
        typed = " ".join(("rung train", flags["method"], *options, *(f"--set {one}" for one in sets)))
        try:
            read_run(flags=flags, sets=list(sets)).required()
        except RungError as error:
            parts += [f"`{typed}`", "", "```text", _short(f"error: {error}"), "```", ""]
        else:
            raise AssertionError(f"{typed} is no mistake any more")
    return "\n".join(parts).rstrip()


def _short(text: str) -> str:
    """Without the long list of every valid name."""
    return re.sub(r"; valid: ([^;\n]*)", lambda found: f"; valid: {', '.join(found[1].split(', ')[:4])}, ...", text)


def _comparison(head: str, to: str, below: str) -> str:
    run = json.loads((RESULTS / "default_comparison.json").read_text(encoding="utf-8"))

    def rows() -> Iterator[Sequence[str]]:
        for row in sorted(run["methods"], key=lambda row: -row["score"]):
            low, high = (f"{100 * end:.1f}" for end in row["interval"])
            yield f"`{row['method']}`", f"{100 * row['score']:.1f} %", f"{low} {to} {high}"

    origin = {"start": f"{100 * run['start']:.1f}", "machine": run["machine"], "commit": run["commit"]}
    return table(head, rows()) + "\n\n" + below.format(**origin)


def which_text() -> str:
    below = "Before training: {start} %. Three seeds, equal generated tokens; {machine}, commit {commit}."
    return _comparison("method | right on held-out sums | interval", "to", below)


def which_text_ja() -> str:
    below = "訓練前は {start} %。3 シード、同じ生成トークン数。{machine}、コミット {commit}。"
    return _comparison("手法 | 検証用の計算問題の正答率 | 区間", "～", below)


def _control(head: str, of: str, never: str) -> str:
    run = json.loads((RESULTS / "cartpole.json").read_text(encoding="utf-8"))

    def rows() -> Iterator[Sequence[str]]:
        for name, found in run["methods"].items():
            steps = sorted(at for at in found["first_at"].values() if at is not None)
            middle = f"{steps[len(steps) // 2] / 1000:.0f}" if steps else never
            yield f"`{name}`", of.format(found["solved"], len(run["seeds"])), middle, f"{found['final_iqm']:.0f}"

    return table(head, rows())


def which_control() -> str:
    head = "method | seeds that reached 475 of 500 | steps until then, thousands, median | last score, IQM"
    return _control(head, "{} of {}", "never")


def which_control_ja() -> str:
    head = "手法 | 475 点に届いたシード | そこまでのステップ（千、中央値） | 最後のスコア"
    return _control(head, "{1} 中 {0}", "届かず")


GUIDE_PARTS: dict[str, Callable[[], str]] = {
    "first_metrics": first_metrics,
    "illnesses": illnesses,
    "errors": errors,
    **{f"names_{library}": lambda library=library: names(library) for library in LIBRARIES},
    **{one.__name__: one for one in (which_text, which_text_ja, which_control, which_control_ja)},
}
GUIDES = (
    *("docs/which_method.md", "docs/ja/which_method.md", "docs/coming_from.md", "docs/understanding.md"),
    "docs/troubleshooting.md",
)
