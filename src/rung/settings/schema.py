"""What a run is asked to do: every setting, its type, its range and its default.

Frozen and closed: an unknown key, a wrong type (a bool is not a whole number), NaN or a value out of range is refused.
`Settings(model="tiny", method="grpo", task="arithmetic")` is enough for a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, Strict
from pydantic_core import PydanticCustomError

from rung.settings import objects
from rung.settings.given import nested
from rung.settings.layers import settled
from rung.settings.learner import GradientSettings, LearnerSettings
from rung.settings.objects import GIVEN, MethodSettings
from rung.settings.sampler import SamplerSettings
from rung.settings.section import Amount, Count, Data, Section
from rung.tasks.own_environment import MCP, PYTHON, is_file_name

if TYPE_CHECKING:
    from rung.methods import Method

SMALL = "small"
"""As a model: a small network, for environments."""
SAMPLES = "samples"
"""As `pairs.source`: the model's own samples."""


_ByName = BeforeValidator(lambda value: objects.named_rewards(value)[0])
_EngineByName = BeforeValidator(lambda value: objects.named_sampler(value)[0])


class TaskSettings(Section):
    """A task's name (or data file) and the options it is loaded with."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Data]
    name: str = Field(min_length=1)

    def options(self) -> dict[str, Any]:
        """What `load_task(name, seed=..., **options)` takes."""
        return dict(self.model_extra or {})

    @property
    def skip_bad_rows(self) -> bool:
        """Whether rows that cannot be used are left out: an option that every text task has."""
        return bool(self.options().get("skip_bad_rows", False))

    def slug(self) -> str:
        """The name as part of a folder's name: `chain_sum` for `reasoning_gym/chain_sum`, `rows` for `a/rows.jsonl`."""
        path = PurePath(self.name.removeprefix(GIVEN))
        name = path.stem if path.suffix in (".jsonl", ".parquet") else path.name
        return "".join(mark if mark.isascii() and (mark.isalnum() or mark in "-_") else "-" for mark in name) or "task"


class RewardSettings(Section):
    """One reward: total = ∑ weight · reward."""

    function: str = Field(min_length=1)
    """`task` (the task's own rewards, each weight times this one), `path/file.py:function`, or the folder of a reward
    model (`rung train reward_model`). A folder of several such folders is an ensemble: the mean of their scores."""
    weight: float = 1.0
    """Weight in the total."""
    name: str | None = None
    """Name in reports; None: the function's own name."""

    @property
    def part(self) -> str:
        """The name under which the reward is reported."""
        if self.name is not None or ":" in self.function:
            return self.name or self.function.rpartition(":")[2]
        path = PurePath(self.function)
        return path.parent.name if path.name == "final" else path.name


class LoraSettings(Section):
    """Train a low-rank change of the weights instead of all of them."""

    rank: int = Field(16, ge=1)
    """Rank of the change: a higher one is closer to training all weights."""
    alpha: float = Field(32.0, gt=0)
    """The change is scaled by alpha / rank."""
    targets: Annotated[tuple[str, ...], Strict(False)] | None = None
    """Names of the layers that are adapted; None: the model's usual ones."""


class NetworkSettings(Section):
    """The small network of policy-gradient methods in environments."""

    hidden: Annotated[tuple[Annotated[int, Field(ge=1, le=8192)], ...], Strict(False), Field(min_length=1)] = (64, 64)
    """Width of each hidden layer of tanh, in the policy and in the critic."""


def _tools(names: tuple[str, ...]) -> tuple[str, ...]:
    if all(name.startswith((GIVEN, MCP)) or is_file_name(name) or name == PYTHON for name in names):
        return names
    raise PydanticCustomError("tools", "FILE.py:FUNCTION, FILE.py:CLASS, mcp:COMMAND, python, or functions from Python")


Tools = Annotated[
    tuple[str, ...], Strict(False), BeforeValidator(lambda value: objects.named_tools(value)[0]), AfterValidator(_tools)
]


class TurnSettings(Section):
    """Episodes over several turns, in which an environment or tools answer the policy."""

    most: int | None = Field(None, ge=1)
    """Turns of an episode at most; None: as many as the task says, 8 as a rule. Each has max_new_tokens at most."""
    deadline_s: float = Field(10.0, gt=0)
    """Seconds for each answer of an environment, and for each call of a tool."""


class EvaluationSettings(Section):
    """How the held-out score is measured during a run."""

    every: int = Field(10, ge=0)
    """Steps between evaluations; 0: only at the start and at the end."""
    num_items: int = Field(64, ge=1)
    """Held-out items: the first ones, the same each time."""
    num_samples: int = Field(1, ge=1)
    """Completions per item."""
    temperature: float = Field(0.0, ge=0)
    """Temperature of the evaluation's samples; 0: the most likely token each time."""


class SavingSettings(Section):
    """When checkpoints are written."""

    every: int = Field(10, ge=0)
    """Steps between checkpoints; the last step is always saved; 0: only that one."""
    keep: int = Field(2, ge=1)
    """Checkpoints that are kept, the newest."""
    best: bool = False
    """Keep the weights of the highest held-out score too; they, not the last ones, are what `final` holds and `rung
    eval` scores. The highest of several noisy scores flatters: score it anew with another seed."""


class BudgetSettings(Section):
    """Limits of what a run may spend: it ends, evaluated and saved, with the step that reaches the first of them.

    Evaluations are not counted.
    """

    tokens: Count | None = None
    """Generated tokens; in an environment, actions."""
    trained: Count | None = None
    """Tokens that were learnt from, each counted once however many passes are made over it."""
    steps: Count | None = None
    """Environment steps."""
    seconds: Amount | None = None
    """Seconds of sampling, rewarding and learning; evaluations and checkpoints are not counted."""
    flops: Amount | None = None
    """Floating-point operations, estimated from the counts of tokens and parameters."""

    def limits(self) -> dict[str, float]:
        """The limits that are set, by axis."""
        return {axis: limit for axis, limit in self.as_data().items() if limit is not None}


class RewardingSettings(Section):
    """Which reward counts as accuracy, and limits for rewards that are slow or fail."""

    accuracy: Annotated[str | None, BeforeValidator(objects.reward_name)] = None
    """Name of the reward that tells right from wrong, which group filters, `right` and the held-out score follow;
    `task`: the task's own. None: the task's own where it is among the rewards, else the first."""

    deadline_s: float = Field(10.0, gt=0)
    """Seconds a reward may take for one request."""
    max_failed_share: float = Field(0.1, ge=0, le=1)
    """The run stops when more than this share of a step's episodes could not be judged."""


class ReportingSettings(Section):
    """What is measured, shown and sent beside the metrics."""

    kl_rows: int = Field(8, ge=0)
    """Episodes per step on which the KL to the starting model is measured; 0: not measured."""
    samples_every: int = Field(10, ge=0)
    """Steps between sample completions on the console; 0: none are shown. All are stored."""
    page: bool = True
    """Write report.html at the end, and film an episode where there is one."""
    tracker: Literal["tensorboard", "wandb", "trackio"] | None = None
    """A tracker that is sent the metrics as well; None: none. W&B stays offline unless WANDB_MODE=online."""


class PreferenceSettings(Section):
    """The labels of a learned reward; how they are used is the method's slot `learned_reward`."""

    labels: int = Field(700, ge=1)
    """Pairs of segments that are labelled in the whole run."""
    labeller: Literal["oracle", "people"] = "oracle"
    """Who answers: a synthetic oracle that knows the task's own reward, or people through `rung label`."""
    folder: str | None = None
    """Folder of the clips that people compare, and of their votes."""
    most_waiting: int = Field(20, ge=0)
    """The run waits while more questions than this are unanswered."""
    oracle_error: float = Field(0.0, ge=0, le=1)
    """Share of the synthetic oracle's answers that are random."""


class OwnPairsSettings(Section):
    """Where a method that learns from pairs gets them."""

    source: Literal["file", "samples"] = "file"
    """`file`: the task is a file of pairs. `samples`: the model's own answers to the task's train prompts, ranked by
    the task's rewards, drawn before the first update and counted in the run's budget."""
    k: int = Field(4, ge=2)
    """Samples of each prompt."""
    pairs_per_prompt: int = Field(1, ge=1)
    """Pairs kept of one prompt, at most; chosen at random among those that differ in reward."""
    passes: int = Field(3, ge=1)
    """Passes over the pairs. Drawing ends when the rest of the budget is needed for them."""
    seconds_share: float = Field(0.5, gt=0, lt=1)
    """Share of a budget of seconds that goes to drawing, as the time of a pass is not known beforehand."""


class Settings(Section):
    """Everything that decides a run.

    >>> Settings(model="tiny", method="grpo", task="arithmetic").resolved_method().samples_per_prompt
    64
    """

    model: Annotated[str, BeforeValidator(objects.model_text)] = Field(min_length=1)
    """A Hugging Face folder or hub id, a `.gguf` file, or `tiny`; `small` is a small network, for environments."""
    method: Annotated[MethodSettings, BeforeValidator(objects.method_of), AfterValidator(objects.sound)]
    """A method's name (`rung methods`) and the slots that differ from its definition."""
    task: Annotated[TaskSettings, BeforeValidator(objects.task_text)]
    """A task's name, or a .jsonl or .parquet file, and the options it is loaded with."""
    teacher: Annotated[str | None, BeforeValidator(objects.model_text)] = None
    """The model that `distillation` learns from: a folder, a hub id or a `.gguf` file, with the same tokenizer."""
    seed: int = Field(0, ge=0, le=2**63 - 1)
    """Seed of every random stream of the run."""
    steps: int = Field(100, ge=0)
    """Length of the run; with a budget, its longest. One step: sample, reward, update."""
    budget: BudgetSettings = BudgetSettings()
    """Limits of what the run may spend."""
    prompts_per_step: int = Field(16, ge=1)
    """Different prompts per step. The batch has prompts_per_step x method.samples_per_prompt samples."""
    num_environments: int = Field(8, ge=1)
    """Environments that are stepped together; a method with a horizon takes that many steps of each."""
    max_new_tokens: int = Field(128, ge=1)
    """Tokens of a completion at most; a longer one is cut."""
    temperature: float = Field(1.0, gt=0)
    """Temperature of the training samples; 1 is the model's own distribution."""
    rewards: Annotated[tuple[RewardSettings, ...], Strict(False), _ByName] = ()
    """Rewards, added by their weights; empty: the task's own. `rewarding.accuracy` says which counts as accuracy."""
    tools: Tools = ()
    """Python functions, with types and a docstring, that the policy may call; none: only those of the task."""
    turns: TurnSettings = TurnSettings()
    """Episodes over several turns."""
    lora: LoraSettings | None = None
    """None: all weights are trained."""
    network: NetworkSettings = NetworkSettings()
    """The small network, for environments."""
    learner: LearnerSettings = LearnerSettings()
    """How gradients are computed."""
    sampler: Annotated[SamplerSettings, _EngineByName] = SamplerSettings()
    """How completions are drawn."""
    evaluation: EvaluationSettings = EvaluationSettings()
    """How the held-out score is measured."""
    saving: SavingSettings = SavingSettings()
    """When checkpoints are written."""
    rewarding: RewardingSettings = RewardingSettings()
    """Which reward counts as accuracy, and limits for rewards that are slow or fail."""
    preferences: PreferenceSettings = PreferenceSettings()
    """The labels of a learned reward."""
    pairs: OwnPairsSettings = OwnPairsSettings()
    """Where a method that learns from pairs gets them."""
    reporting: ReportingSettings = ReportingSettings()
    """What is measured, shown and sent beside the metrics."""

    def resolved_method(self) -> Method:
        """The method with this run's slots. Raises SettingsError with every problem in them."""
        return self.method.resolved()

    def changed(self, changes: Mapping[str, Any]) -> Settings:
        """A copy with other values at some dotted keys. Raises SettingsError with every problem.

        >>> Settings(model="tiny", method="grpo", task="arithmetic").changed({"evaluation.every": 5}).evaluation.every
        5
        """
        data, given = objects.taken_apart(changes, self.method.parts)
        return settled(Settings, [self.as_data(), *(nested(key, value) for key, value in data.items())], given.parts)


class _ModelAndTask(Section):
    """What is done with a model on a task."""

    model: Annotated[str, BeforeValidator(objects.model_text)] = Field(min_length=1)
    """A Hugging Face folder or hub id, a `.gguf` file, or `tiny`."""
    task: Annotated[TaskSettings, BeforeValidator(objects.task_text)]
    """A task's name, or a .jsonl or .parquet file, and the options it is loaded with."""
    seed: int = Field(0, ge=0, le=2**63 - 1)
    """Seed of every random stream."""


class SFTSettings(_ModelAndTask):
    """Everything that decides a fine-tuning on a task's worked examples (`rung sft`)."""

    steps: int = Field(700, ge=0)
    """Updates."""
    examples_per_step: int = Field(32, ge=1)
    """Worked examples an update learns from."""
    learning_rate: float | None = Field(None, gt=0)
    """Peak learning rate; it rises over the warm-up, then falls to 0. None: 3e-3 for `tiny`, 2e-5 for any other."""
    weight_decay: float = Field(0.0, ge=0)
    """AdamW's weight decay."""
    warmup_steps: int = Field(20, ge=0)
    """Steps over which the learning rate rises."""
    evaluation_items: int = Field(128, ge=1)
    """Held-out items that are scored before and after, answered greedily."""
    max_new_tokens: int = Field(16, ge=1)
    """Tokens of a completion at most, in the evaluation."""
    learner: GradientSettings = GradientSettings()
    """How gradients are computed."""


class PairsSettings(_ModelAndTask):
    """Everything that decides pairs made from a model's own samples (`rung pairs`)."""

    k: int = Field(4, ge=2)
    """Samples of each prompt."""
    prompts: int = Field(512, ge=1)
    """Different prompts; all of the task's train items when there are fewer."""
    pairs_per_prompt: int = Field(1, ge=1)
    """Pairs kept of one prompt, at most; chosen at random among those that differ in reward."""
    temperature: float = Field(1.0, gt=0)
    """Temperature of the samples; 1 is the model's own distribution."""
    max_new_tokens: int = Field(128, ge=1)
    """Tokens of a completion at most; a longer one is cut."""
    rewards: Annotated[tuple[RewardSettings, ...], Strict(False), _ByName] = ()
    """Rewards that rank the answers to a prompt; empty: the task's own rewards."""
    rewarding: RewardingSettings = RewardingSettings()
    """Which reward counts as accuracy, and limits for rewards that are slow or fail."""
    learner: GradientSettings = GradientSettings()
    """Device and number format of the model."""


class EvalSettings(Section):
    """What `rung eval` measures: k completions of each held-out item."""

    task: Annotated[TaskSettings, BeforeValidator(objects.task_text)]
    """A task's name, or a .jsonl or .parquet file, and the options it is loaded with."""
    k: int = Field(8, ge=1)
    """Completions per item."""
    items: int = Field(256, ge=1)
    """Items: the first ones, or all when there are fewer."""
    temperature: float = Field(1.0, ge=0)
    """Temperature of the samples; 0: the most likely token each time."""
    max_new_tokens: int = Field(128, ge=1)
    """Tokens of a completion at most; a longer one is cut."""
    seed: int = Field(0, ge=0, le=2**63 - 1)
    """Seed of the items and of the samples."""
    split: Literal["held_out", "train"] = "held_out"
    """Which of the task's items are answered."""
    rewards: Annotated[tuple[RewardSettings, ...], Strict(False), _ByName] = ()
    """Rewards of the completions; the accuracy is the score. Empty: as in the run, else the task's own."""
    rewarding: RewardingSettings = RewardingSettings()
    """The accuracy, as in the run where the rewards are; limits for rewards that are slow or fail."""
    tools: Tools = ()
    """Python functions that the policy may call; empty: as in the run."""
    turns: TurnSettings = TurnSettings()
    """Episodes over several turns."""
