"""What rung does on every causal language model of transformers, measured on a small random model of each.

    python docs/architectures.py                 measures all, then writes architectures.json and architectures.md
    python docs/architectures.py gpt2 mixtral    measures these anew and keeps the rest
    python docs/architectures.py --page          writes architectures.md from architectures.json

Each architecture is measured in a process of its own, which is ended after DEADLINE_S seconds of the processor.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from small_models import small_model

DEADLINE_S = 60
RECORD, PAGE = Path(__file__).with_suffix(".json"), Path(__file__).with_suffix(".md")


def measured(kind: str) -> dict[str, Any]:
    """Everything that is measured of one architecture; what fails is told in words."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    from rung.models.language.policy import TextPolicy
    from rung.models.language.tiny import tiny_tokenizer

    found: dict[str, Any] = {"class": MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[kind]}
    try:
        model = small_model(kind)
        found["weights"] = sum(weight.numel() for weight in model.parameters())
        policy = TextPolicy(model, tiny_tokenizer())
        found["engine"] = policy.engine.name
    except Exception as error:  # noqa: BLE001  (whatever an architecture fails with is what is to be told)
        return found | {"not": _words(error)}
    measures: dict[str, Callable[[Any, str], Any]] = {
        "logits": _logits,
        "step": _step,
        "lora": _lora,
        "critic": _critic,
        "reward model": _reward_model,
        "saved": _saved,
    }
    for name, measure in measures.items():
        try:
            torch.manual_seed(0)
            found[name] = measure(TextPolicy(small_model(kind), tiny_tokenizer()), kind)
        except Exception as error:  # noqa: BLE001
            found[name] = {"not": _words(error)}
    return found


IDS = torch.tensor([[7, 20, 33, 9, 41, 60, 12, 88, 35, 50, 17, 23]])
START = 5
"""How many of them are the prompt."""


def _log_probs(model: Any) -> torch.Tensor:
    """transformers' own log-probs of the answer's tokens."""
    with torch.no_grad():
        logits = model(input_ids=IDS, use_cache=False).logits.float()
    return logits[0, START - 1 : -1].log_softmax(-1).gather(-1, IDS[0, START:, None])[:, 0]


def _gap(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one.detach().flatten() - other.detach().flatten()).abs().max())


def _batch() -> Any:
    from rung.batch import Batch

    actions = IDS[:, START:]
    nothing = torch.zeros(actions.shape)
    return Batch(
        contexts=(IDS[0, :START],),
        actions_BT=actions,
        action_mask_BT=torch.ones_like(actions, dtype=torch.bool),
        sampler_log_probs_BT=nothing,
        rewards_BT=nothing,
        discounts_BT=nothing,
        cut_BT=nothing.bool(),
        bootstrap_BT=nothing,
        group_ids_B=torch.zeros(1, dtype=torch.int64),
        scores_B=torch.zeros(1),
        truncated_B=torch.zeros(1, dtype=torch.bool),
    )


def _logits(policy: Any, kind: str) -> dict[str, Any]:
    return {"gap": _gap(policy(_batch()).log_probs_BT, _log_probs(policy.model))}


def _step(policy: Any, kind: str) -> dict[str, Any]:
    """One step of REINFORCE through the gate: drawn, judged, learnt; and the sampler's law beside the learner's."""
    import rung
    from rung.rollouts.sampler import InProcessSampler

    with torch.no_grad():
        before = {name: weight.clone() for name, weight in policy.trainable().items()}
    trainer = _trainer(rung, policy)
    try:
        trainer.step()
    finally:
        trainer.close()
    moved = sum(not torch.equal(weight, before[name]) for name, weight in policy.trainable().items())
    from rung.random import Stream
    from rung.rollouts.sampling import Prompt

    asked = {"samples_per_prompt": 2, "max_new_tokens": 6, "temperature": 1.0, "stream": Stream(0, 0, "t")}
    prompts = [Prompt("a", 0, policy.encode("1+1=")), Prompt("b", 1, policy.encode("12+34="))]
    gap = max(_learnt(policy, one) for one in InProcessSampler(policy).sample(prompts, **asked))
    return {"gap": gap, "moved": moved, "weights": len(before), "said": [one for one in trainer.notes if one]}


def _trainer(rung: Any, policy: Any) -> Any:
    return rung.trainer(
        model=policy,
        method="reinforce",
        task="arithmetic",
        rewards=[_length],
        prompts_per_step=2,
        max_new_tokens=6,
        evaluation={"num_items": 1},
    )


def _length(completions: list[str], **_: Any) -> list[float]:
    return [float(len(text)) + 1 for text in completions]


def _learnt(policy: Any, episode: Any) -> float:
    """How far the learner's log-probs of an episode are from the sampler's."""

    from dataclasses import replace

    from rung.batch import Judgement
    from rung.trainers.assemble import assemble

    judged = replace(episode, judgement=Judgement(total=1.0, parts={}, accuracy=1.0))
    with torch.no_grad():
        return _gap(policy(assemble([judged])).log_probs_BT[0], torch.as_tensor(episode.log_probs))


def _lora(policy: Any, kind: str) -> dict[str, Any]:
    """Default layers, one random change, saved and read again by transformers."""
    from rung.models.language.lora import Lora, add_adapter, usual_targets
    from rung.models.language.policy import TextPolicy

    base, layers = _log_probs(policy.model), list(usual_targets(policy.model))
    add_adapter(policy.model, Lora(rank=2, alpha=8), seed=0)
    adapted = TextPolicy(policy.model, policy.tokenizer)
    weights = adapted.trainable()
    first = _gap(adapted(_batch()).log_probs_BT, base)
    said = list(adapted.tried())
    adapted(_batch()).log_probs_BT.sum().backward()
    with torch.no_grad():
        for one in weights.values():
            if one.grad is not None:  # the others stay as they are: a text does not pass through them
                one.normal_(0, 0.3)
    now = adapted(_batch()).log_probs_BT
    told = {"layers": layers, "weights": sum(one.numel() for one in weights.values())}
    again, missing = _reread(adapted)
    return told | {
        "first": first,
        "said": said,
        "moved": _gap(now, base),
        "gap": _gap(_log_probs(again), now),
        "reference": _gap(adapted.reference()(_batch()).log_probs_BT, base),
        "missing": missing,
    }


def _critic(policy: Any, kind: str) -> dict[str, Any]:
    policy.add_critic(separate=False)
    out = policy(_batch(), with_values=True)
    (out.values_BT + 1).square().sum().backward()
    return {"gap": float(out.values_BT.detach().abs().max())}


def _reward_model(policy: Any, kind: str) -> dict[str, Any]:
    """A reward model's score beside that of transformers' classifier, which reads what was saved."""
    from transformers import AutoModelForSequenceClassification

    from rung.models.language.reward_model import RewardModel

    model = RewardModel(policy, seed=0)
    score = model.answer_values(_batch())
    with tempfile.TemporaryDirectory() as folder:
        model.save(folder)
        again = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        theirs = again(input_ids=IDS).logits
    return {"gap": _gap(score, theirs)}


def _saved(policy: Any, kind: str) -> dict[str, Any]:
    again, missing = _reread(policy)
    return {"gap": _gap(_log_probs(again), _log_probs(policy.model)), "missing": missing}


def _reread(policy: Any) -> tuple[Any, int]:
    from transformers import AutoModelForCausalLM

    with tempfile.TemporaryDirectory() as folder:
        policy.save(folder)
        model, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    return model.float().eval(), len(info["missing_keys"]) + len(info["unexpected_keys"])


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:240]}"


def in_child(kind: str, deadline_s: int = DEADLINE_S) -> dict[str, Any]:
    """`measured` in a process of its own."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(10 * deadline_s)
            resource.setrlimit(resource.RLIMIT_CPU, (deadline_s, deadline_s))
            found = measured(kind)
            with os.fdopen(writer, "w") as pipe:
                json.dump(found, pipe)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else {"class": "", "not": f"no answer within {deadline_s} seconds"}


INTRODUCTION = """# Architectures

Every causal language model that transformers {version} has, each as a small random model, two or more layers of width
32, measured in float32 by `python docs/architectures.py`. A number is the largest difference in nats (in points of the
score for a reward model).

| column | is measured |
| --- | --- |
| pass | `decoder`: rung's own forward pass, where each prompt is read once; `model`: the model's own |
| log-probs | the learner's beside those of transformers' logits |
| step | a whole step through the gate: drawn, judged, learnt; the sampler's log-probs beside the learner's |
| cache | how texts are continued: `yes`; `no`: each token reads the whole text again, which is exact and slow |
| LoRA | on the default layers, changed at random, saved merged, and read again by transformers |
| critic | values and their gradient, from a layer on the last hidden state |
| reward | a reward model's score beside that of transformers' own classifier, which read what was saved |
| saved | saved, and read again by transformers |

`no` has a number, and below the table the reason. {counts}

"""
ALLOWED = 1e-4
"""The largest difference that is rounding."""
COLUMNS = {"log-probs": "logits", "step": "step", "LoRA": "lora", "critic": "critic", "reward": "reward model"}
COLUMNS |= {"saved": "saved"}


def supported(part: Any) -> bool:
    """Whether a measure was taken, and what was measured is rounding."""
    return isinstance(part, dict) and "not" not in part and part["gap"] <= ALLOWED and not part.get("missing")


def page(record: Mapping[str, Any]) -> str:
    """architectures.md from what was recorded."""
    reasons: dict[str, int] = {}
    lines = ["| model | class | pass | cache | " + " | ".join(COLUMNS) + " |", "| --- " * (4 + len(COLUMNS)) + "|"]
    rows = record["rows"]
    for kind, row in rows.items():
        engine = "decoder" if "decoder" in row.get("engine", "") else "model" if "engine" in row else "none"
        step = row.get("step", row)
        again = any("whole text again" in note for note in step.get("said", ()))
        cache = "" if "not" in step else "no" if again else "yes"
        parts = [row if "not" in row else row.get(name) for name in COLUMNS.values()]
        cells = [_cell(part, row["class"], reasons) for part in parts]
        lines.append(f"| `{kind}` | {row.get('class', '')} | {engine} | {cache} | {' | '.join(cells)} |")
    notes = [f"{number}. {reason}" for reason, number in reasons.items()]
    trained = sum(supported(row.get("step")) and supported(row.get("saved")) for row in rows.values())
    parts = ", ".join(
        f"{title.lower() if title != 'LoRA' else title} {sum(supported(row.get(name)) for row in rows.values())}"
        for title, name in COLUMNS.items()
    )
    counts = f"Of {len(rows)} model types {trained} are trained and saved; by column: {parts}."
    head = INTRODUCTION.format(version=record["transformers"], counts=counts)
    return head + "\n".join([*lines, "", *notes]) + "\n"


def _cell(part: Any, name: str, reasons: dict[str, int]) -> str:
    if part is None:
        return ""
    if "not" in part:
        reason = part["not"].replace(name or "\n", "the class")
        return f"no ({reasons.setdefault(reason, len(reasons) + 1)})"
    if part.get("missing"):
        return f"no ({reasons.setdefault('weights are lost in what is saved', len(reasons) + 1)})"
    number = "0" if part["gap"] == 0 else f"{part['gap']:.0e}"
    return number if part["gap"] <= ALLOWED else f"**{number}**"


def main(kinds: list[str]) -> None:
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    import rung.library  # noqa: F401  (once, before the processes)

    warnings.filterwarnings("ignore")
    transformers.utils.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    logging.disable(logging.WARNING)
    rows = json.loads(RECORD.read_text())["rows"] if RECORD.is_file() and kinds else {}
    for kind in kinds or list(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES):
        begun = time.monotonic()
        rows[kind] = in_child(kind)
        _record(rows)
        print(f"{kind}  {time.monotonic() - begun:.1f} s", flush=True)


def _record(rows: Mapping[str, Any]) -> None:
    from transformers import __version__
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    ordered = {kind: rows[kind] for kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES if kind in rows}
    RECORD.write_text(json.dumps({"transformers": __version__, "rows": ordered}, indent=1) + "\n")


if __name__ == "__main__":
    if "--page" not in sys.argv:
        main(sys.argv[1:])
    PAGE.write_text(page(json.loads(RECORD.read_text())))
