"""What each field of a TRL configuration is here: a setting of another name, or one that several fields make."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from rung.errors import did_you_mean
from rung.settings.layers import run_keys
from rung.settings.names import ELSEWHERE, data_of
from rung.settings.schema import Settings

METHODS = {"grpo": "grpo@trl", "rloo": "rloo", "dpo": "dpo"}
"""By the trainer: our method that its fields are laid over."""
TRL: Mapping[str, Any] = data_of("trl.yaml")
MACHINE = frozenset(TRL["machine"].split())
LOSSES = {
    "grpo": {"dapo", "grpo", "bnpo", "dr_grpo", "cispo", "luspo", "sapo", "vespo"},
    "dpo": {"sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot", "aot_unpaired"}
    | {"apo_zero", "apo_down", "discopop", "sft", "sigmoid_norm"},
}
UNBOUND = 1e6
"""A gradient norm that is never reached."""


def groups_of(trainer: str, part: str) -> list[dict[str, Any]]:
    return [TRL[part].get(name, {}) for name in ("any", "" if trainer == "dpo" else "sampled", trainer)]


def fields_of(trainer: str, part: str = "read") -> dict[str, Any]:
    """The defaults of a trainer's fields: of those that have a counterpart (`read`), or of those that have `none`."""
    groups = groups_of(trainer, part)
    by_words = groups if part == "read" else [those for group in groups for those in group.values()]
    return {name: default for those in by_words for name, default in those.items()}


def listed(value: Any) -> list[Any]:
    """Several, one or none as a list."""
    return cast("list[Any]", value) if isinstance(value, list) else [] if value is None else [value]


@dataclass(kw_only=True)
class Translation:
    """A configuration of TRL in our terms."""

    trainer: str
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    """As a settings file has them."""
    batch: list[str] = field(default_factory=list[str])
    """TRL's arithmetic of batches and steps, worked out."""
    differs: dict[str, str] = field(default_factory=dict[str, str])
    """By TRL's field: what is to be known because the meaning differs."""
    missing: dict[str, str] = field(default_factory=dict[str, str])
    """By TRL's field: what there is in place of it."""
    machine: list[str] = field(default_factory=list[str])
    """Fields that decide nothing of what is learnt."""

    def notes(self) -> Iterable[str]:
        """Everything that is to be known, in lines."""
        yield from self.batch
        for head, found in (("Means something else:", self.differs), ("Has no counterpart:", self.missing)):
            if found:
                yield from ("", head, *(f"  {name}: {words}" for name, words in found.items()))
        if self.machine:
            yield from ("", f"Of the machine, the log or the hub: {', '.join(self.machine)}")


class Work:
    """One translation: fields are taken, one or several at a time, until none is left."""

    def __init__(self, trainer: str, given: Mapping[str, Any], processes: int, rows: int | None) -> None:
        self.trainer, self.given, self.processes, self.rows = trainer, given, processes, rows
        self.defaults, self.problems, self.updates = fields_of(trainer), list[str](), 1
        self.left = set(self.defaults)
        self.total: float | None = None
        self.found = Translation(trainer=trainer, settings={"method": {"name": METHODS[trainer]}})

    def translated(self) -> Translation:
        self._names()
        self._batch()
        self._steps()
        self._optimizer()
        {"grpo": self._grpo, "rloo": self._rloo, "dpo": self._dpo}[self.trainer]()
        self._rewards()
        self._when()
        self._renamed()
        self._rest()
        return self.found

    def take(self, name: str) -> Any:
        """A field's value, or its default. Whoever takes it answers for it."""
        self.left.discard(name)
        return self.given.get(name, self.defaults[name])

    def number(self, name: str, least: float = -math.inf) -> Any:
        """A field that is a number; a whole one where its default is whole."""
        value, whole = self.take(name), isinstance(self.defaults[name], int)
        try:
            number = float(value) if not isinstance(value, bool) else math.nan
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number) or number < least or (whole and number != int(number)):
            kind = "a whole number" if whole else "a number"
            bound = "" if least == -math.inf else f", {least:g} or more"
            self.problems.append(f"{name}: got {value!r:.80}, expected {kind}{bound}")
            return self.defaults[name]
        return int(number) if whole else number

    def put(self, key: str, value: Any) -> None:
        into = self.found.settings
        *sections, last = key.split(".")
        for section in sections:
            into = into.setdefault(section, {})
        into[last] = value

    def part(self, slot: str, name: str, **numbers: Any) -> None:
        self.put(f"method.{slot}", {"part": name, **numbers})

    def _names(self) -> None:
        if isinstance(model := self.take("model_name_or_path"), str):
            self.put("model", model)
        else:
            self.found.missing["model_name_or_path"] = "is not named; give --model to rung train"
        data = self.take("dataset_name")
        if not isinstance(data, str):
            self.found.missing["dataset_name"] = "is not named; give --task to rung train"
            return
        file = data if data.endswith((".jsonl", ".parquet")) else f"{data.rpartition('/')[2]}.jsonl"
        self.put("task", file)
        if file != data:
            columns = "prompt, chosen, rejected" if self.trainer == "dpo" else "prompt, answer"
            self.found.differs["dataset_name"] = f"is read from no hub; write its rows ({columns}) to {file}"

    def _batch(self) -> None:
        each, together = self.number("per_device_train_batch_size", 1), self.number("gradient_accumulation_steps", 1)
        at_once = each * self.processes
        if self.trainer == "dpo":
            self.put("method.pairs_per_step", at_once * together)
            counted = f"{each} a device x {together} accumulated x {self.processes} processes"
            self.found.batch = [f"{counted} = {at_once * together} pairs a step"]
            return
        samples_each, passes = self.number("num_generations", 2), self.number("num_iterations", 1)
        whole, parts = self.take("generation_batch_size"), self.take("steps_per_generation")
        for name, value in (("generation_batch_size", whole), ("steps_per_generation", parts)):
            if value is not None and not (type(value) is int and value > 0):
                self.problems.append(f"{name}: got {value!r:.80}, expected a whole number, 1 or more")
                return
        if whole is not None and parts is not None:
            self.problems.append("generation_batch_size, steps_per_generation: both are given; TRL takes one of them")
            return
        if whole is not None and whole % at_once:
            self.problems.append(f"generation_batch_size: got {whole}, expected a multiple of {at_once}, as TRL does")
            return
        parts = whole // at_once if whole is not None else parts or together
        if parts % together and (together % parts or passes > 1):
            self.problems.append(
                f"steps_per_generation: got {parts} with gradient_accumulation_steps {together}: some updates would "
                "take samples of two generations; make it a multiple"
            )
            return
        samples, updates = at_once * max(parts, together), max(parts // together, 1)
        if samples % samples_each:
            words = f"got {samples_each}, which does not divide the {samples} samples of a generation"
            self.problems.append(f"num_generations: {words}")
            return
        self.put("prompts_per_step", samples // samples_each)
        self.put("method.samples_per_prompt", samples_each)
        self.put("method.num_epochs", passes)
        self.put("method.num_minibatches", updates)
        self.updates = updates * passes
        self.found.batch = [
            f"{each} a device x {max(parts, together)} steps per generation x {self.processes} processes = {samples} "
            f"samples a step: {samples // samples_each} prompts with {samples_each} samples each",
            f"updates a step: {self.updates} ({updates} x num_iterations {passes}); TRL's steps are updates, ours are "
            "generations with all their updates",
        ]

    def _steps(self) -> None:
        most, epochs = self.number("max_steps"), self.number("num_train_epochs", 0)
        settings = self.found.settings
        each = settings.get("prompts_per_step") or settings["method"].get("pairs_per_step")
        if most > 0:
            steps = math.ceil(most / self.updates)
            self.found.batch.append(f"steps: max_steps {most} / {self.updates} = {steps}")
        elif each is None:
            return
        elif self.rows is not None:
            steps = math.ceil(self.rows * epochs / each)
            self.found.batch.append(f"steps: {self.rows} rows x {epochs:g} epochs / {each} = {steps}")
        else:
            words = f"steps are rows x {epochs:g} / {each}; give --rows N (100 steps stand in the settings)"
            self.found.missing["num_train_epochs"] = words
            self.put("steps", 100)
            return
        self.put("steps", steps)
        self.total = float(steps * self.updates)

    def _updates(self, name: str, value: Any) -> float | None:
        """TRL's steps; a number below 1 is a share of them all."""
        if value is None or isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            self.problems.append(f"{name}: got {value!r:.80}, expected a number, 0 or more")
        elif not 0 < value < 1:
            return float(value)
        elif self.total is not None:
            return value * self.total
        else:
            self.found.missing[name] = "is a share of all steps, which are not known; give --rows N"
        return None

    def _optimizer(self) -> None:
        adam = str(self.take("optim"))
        if not adam.startswith("adamw"):
            self.found.missing["optim"] = f"{adam:.40}: AdamW takes its place"
        if self.trainer == "dpo":
            self.put("method.optimizer.part", "AdamW")
        for name, key in (
            *(("learning_rate", "learning_rate"), ("adam_beta1", "beta1"), ("adam_beta2", "beta2")),
            *(("adam_epsilon", "epsilon"), ("weight_decay", "weight_decay")),
        ):
            self.put(f"method.optimizer.{key}", self.number(name))
        self.put("method.optimizer.max_grad_norm", self.number("max_grad_norm", 0) or UNBOUND)
        falls = str(self.take("lr_scheduler_type"))
        self.put("method.optimizer.anneal", not falls.startswith("constant"))
        if falls not in ("linear", "constant", "constant_with_warmup"):
            self.found.differs["lr_scheduler_type"] = f"{falls:.40}: the rate falls to 0 in a line here"
        steps, share = (self._updates(name, self.take(name)) for name in ("warmup_steps", "warmup_ratio"))
        self.put("method.optimizer.warmup_steps", math.ceil(steps or share or 0))

    def _grpo(self) -> None:
        loss, level = self._loss(), self.take("importance_sampling_level")
        low, high, delta = self.number("epsilon", 0), self.take("epsilon_high"), self.take("delta")
        high = low if high is None else high
        length = self.number("max_completion_length", 1)
        self.put("max_new_tokens", length)
        if loss in ("sapo", "vespo"):
            self.found.missing["loss_type"] = f"{loss}: PPO's clip takes its place"
        if level not in ("token", "sequence"):
            self.problems.append(f"importance_sampling_level: got {level!r:.40}, expected token or sequence")
        if loss == "cispo":
            if not isinstance(high, int | float) or high < 1:
                words = f"{high!r:.40}: TRL caps the weight itself, ours at 1 or above; 1 stands here"
                self.found.differs["epsilon_high"] = words
                high = 1.0
            self.part("objective", "ClippedWeight", high=high)
        elif level == "sequence":
            self.part("objective", "SequenceClippedSurrogate", low=low, high=high)
            if delta is not None:
                self.found.missing["delta"] = "the sequence's clip has no second bound"
        else:
            self.part("objective", "ClippedSurrogate", low=low, high=high, dual=delta)
        aggregations = {"grpo": "PerSequence", "sapo": "PerSequence", "luspo": "PerEpisode"}
        if loss == "dr_grpo":
            self.part("aggregation", "PerConstantLength", length=length)
        else:
            self.part("aggregation", aggregations.get(loss, "PerToken"))
        if loss == "bnpo":
            self.found.differs["loss_type"] = "bnpo: TRL's mean is over a micro-batch's tokens, ours over the update's"
        self._scaling()
        beta, unbiased = self.number("beta", 0), self.take("use_bias_correction_kl")
        self._reference("KLInLoss", beta, {"times_ratio": unbiased} if beta else {})
        if (turns := self.take("max_tool_calling_iterations")) is not None:
            self.put("turns.most", turns + 1 if isinstance(turns, int) else turns)

    def _loss(self) -> str:
        losses = [str(one) for one in listed(self.take("loss_type"))]
        loss = losses[0] if losses else ""
        if len(losses) > 1:
            self.found.missing["loss_type"] = f"several losses: only the first, {loss:.40}, stands here"
        if loss not in LOSSES[self.trainer]:
            near = did_you_mean(loss, LOSSES[self.trainer])
            self.problems.append(f"loss_type: got {loss!r:.40}, expected one of TRL's losses{near}")
        return loss

    def _scaling(self) -> None:
        scale = self.take("scale_rewards")
        scale = {True: "group", False: "none"}.get(scale, scale) if isinstance(scale, bool) else scale
        if scale == "none":
            self.part("advantage", "GroupCentred")
        elif scale == "batch":
            self.part("advantage", "GroupCentredBatchScaled", epsilon=1e-4, ddof=1)
        elif scale != "group":
            self.problems.append(f"scale_rewards: got {scale!r:.40}, expected group, batch or none")

    def _reference(self, part: str, beta: float, more: Mapping[str, Any]) -> None:
        moves, every = self.take("sync_ref_model"), self.number("ref_model_sync_steps", 1)
        if not beta:
            self.put("method.reference_kl", None)
            return
        if moves:
            more = {**more, "refresh_every": max(1, round(every / self.updates))}
            self.found.differs["sync_ref_model"] = "the whole policy becomes the reference here, not a share of it"
        self.part("reference_kl", part, coefficient=beta, **more)

    def _rloo(self) -> None:
        self.put("max_new_tokens", self.number("max_completion_length", 1))
        self._reference("KLInReward", self.number("beta", 0), {})
        low, high = self.number("epsilon", 0), self.take("epsilon_high")
        if self.updates > 1:
            self.part("objective", "ClippedSurrogate", low=low, high=low if high is None else high)
            self.found.differs["epsilon"] = "bounds each token's ratio here, TRL's the whole answer's"
        if self.take("normalize_advantages"):
            self.part("whiten", "Whiten", epsilon=1e-4, ddof=1)
            self.found.differs["normalize_advantages"] = "over tokens here, so that long answers weigh more in the mean"

    def _dpo(self) -> None:
        loss, beta, flipped = self._loss(), self.number("beta"), self.number("label_smoothing", 0)
        losses: dict[str, tuple[str, dict[str, Any]]] = {
            "sigmoid": ("ConservativeDPOLoss", {"flipped": flipped}) if flipped else ("DPOLoss", {}),
            "robust": ("RobustDPOLoss", {"flipped": flipped}),
            "sigmoid_norm": ("DPOLoss", {"per_token": True}),
            "ipo": ("IPOLoss", {"per_token": True}),
            "apo_zero": ("APOZeroLoss", {}),
            "apo_down": ("APODownLoss", {}),
        }
        if loss not in losses:
            self.found.missing["loss_type"] = f"{loss}: DPO's own loss takes its place"
        part, numbers = losses.get(loss, ("DPOLoss", {}))
        self.part("loss", part, **{"tau" if part == "IPOLoss" else "beta": beta}, **numbers)
        if flipped and loss not in ("sigmoid", "robust"):
            self.found.missing["label_smoothing"] = f"the loss {loss} has none"

    def _rewards(self) -> None:
        if self.trainer == "dpo":
            return
        named, weights = [str(one) for one in listed(self.take("reward_funcs"))], self.take("reward_weights")
        if named:
            parts = [one.rpartition(".") for one in named if "." in one]
            files = " ".join(f"--reward {module.replace('.', '/')}.py:{name}" for module, _, name in parts)
            told = f"; yours would be {files}" if files else ""
            words = f"{', '.join(named):.200}: the task's own reward counts{told} (docs/own.md)"
            self.found.missing["reward_funcs"] = words
        if weights is not None:
            self.found.missing["reward_weights"] = f"{weights!s:.80}: --reward FILE.py:FUNCTION=WEIGHT"
        if (model := self.take("reward_model_name_or_path")) is not None:
            words = f"{model!s:.80}: rewards take a model of rung train reward_model"
            self.found.missing["reward_model_name_or_path"] = words
        if self.take("mask_truncated_completions"):
            self.part("drop_rows", "DropTruncated")

    def _when(self) -> None:
        for what, section in (("eval", "evaluation"), ("save", "saving")):
            period, strategy = self.take(f"{what}_steps"), str(self.take(f"{what}_strategy")).lower()
            steps: float | None = None
            if strategy == "steps":
                period = self.given.get("logging_steps", 10) if period is None else period
                steps = self._updates(f"{what}_steps", period)
            elif strategy == "best":
                self.put("saving.best", True)
            elif strategy != "no":
                self.found.missing[f"{what}_strategy"] = f"{strategy:.40}: say {section}.every in steps"
            if strategy == "no" or steps is not None:
                self.put(f"{section}.every", max(1, round(steps / self.updates)) if steps else 0)
        if self.take("load_best_model_at_end"):
            self.put("saving.best", True)
        self._tracker()
        if (half := self.take("bf16")) is not None:
            self.put("learner.compute", "bfloat16" if half else "float32")
        self._lora()

    def _tracker(self) -> None:
        for one in listed(self.take("report_to")):
            if one in ("tensorboard", "wandb", "trackio"):
                self.put("reporting.tracker", one)
            elif one not in (None, "none"):
                self.found.missing["report_to"] = f"{one!s:.40}: expected tensorboard, wandb or trackio"

    def _lora(self) -> None:
        rank, alpha, targets = self.number("lora_r", 1), self.number("lora_alpha"), self.take("lora_target_modules")
        if not self.take("use_peft"):
            return
        every = targets in ("all-linear", ["all-linear"])
        targets = None if every else targets.split() if isinstance(targets, str) else targets
        self.put("lora", {"rank": rank, "alpha": float(alpha), "targets": targets})
        if self.given.get("lora_dropout", 0.05):
            dropout = self.given.get("lora_dropout", 0.05)
            self.found.missing["lora_dropout"] = f"{dropout!s:.40}: there is no dropout here"

    def _renamed(self) -> None:
        """Fields that are a setting of another name, or of the same."""
        keys = run_keys(Settings, METHODS[self.trainer])
        for name in [one for one in self.defaults if one in self.left]:
            ours, words = ELSEWHERE.get(name, ((name,), ""))
            key = next(key for key in keys if any(key == one or key.endswith(f".{one}") for one in ours))
            whole = isinstance(self.defaults[name], int | float) and not isinstance(self.defaults[name], bool)
            value = self.number(name) if whole else self.take(name)
            if value is not None:
                self.put(key, value)
                if words and name in self.given:
                    self.found.differs[name] = f"{key}: {words}"

    def _rest(self) -> None:
        for group in groups_of(self.trainer, "none"):
            for words, those in group.items():
                for name, default in those.items():
                    if name in self.given and self.given[name] != default:
                        self.found.missing.setdefault(name, f"{self.given[name]!s:.80}: {words}")
        self.found.machine = [name for name in self.given if name in MACHINE]
