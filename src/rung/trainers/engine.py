"""An engine that draws, as settings ask for it: what fits it, where it is, how it is run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from rung.errors import SettingsError
from rung.methods.parts.protocols import fact
from rung.models.language.decoder import FAMILY
from rung.models.language.load import compute_type
from rung.rollouts.engine.delivery import format_name
from rung.settings import Settings
from rung.settings.sampler import VLLM, SamplerSettings
from rung.trainers.ranks import ONE, Ranks
from rung.trainers.ranks import on_gpu as learns_on_gpu
from rung.whole_files import cache_folder

if TYPE_CHECKING:
    from rung.models.language.policy import TextPolicy
    from rung.models.language.size import ModelShape
    from rung.rollouts.engine.sampler import EngineSampler

ROWS = 256
"""Completions that an engine draws at once, where the settings do not say."""
HEAD_WIDTHS = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
"""The widths of attention heads for which vLLM 0.32 has an attention on a CPU."""
_OWN = ("engines", "ahead", "python", "cache_gib", "start_s", "request_s", "delivery_s")


def engine_fits(settings: Settings, method: Any, *, draws: bool) -> Iterator[str]:
    """What an engine cannot do with these settings. `draws`: the kind of method may have its answers from one."""
    asked, defaults = settings.sampler, SamplerSettings()
    if asked.engine != VLLM:
        for name in _OWN:
            if getattr(asked, name) != getattr(defaults, name):
                yield f"sampler.{name}: it is of an engine beside the learner, and none is asked for; set engine={VLLM}"
        return
    if not draws:
        yield (
            f"sampler.engine: got {VLLM}, which draws for policy gradients on text; '{method.name}' on "
            f"'{settings.task.name}' draws otherwise, or not at all; set in_process"
        )
        return
    if method.behaviour is not None:
        yield (
            f"sampler.engine: got {VLLM}, but the answers that '{method.name}' learns from are another model's, and an "
            "engine holds the policy's weights; set in_process"
        )
    if not asked.ahead:
        return
    refills = method.keep_group is not None and method.keep_group.refill
    if refills:
        yield (
            f"sampler.ahead: got {asked.ahead}, but method.keep_group draws further prompts until enough groups are "
            "kept, so the next step's are not known yet; set 0, or method.keep_group.refill=false"
        )
    corrects = method.correction is not None or fact(method.objective, "ratio_to_sampler", False)
    if not corrects and "correction" not in settings.method.overrides():
        yield (
            f"sampler.ahead: got {asked.ahead}, so answers are of an older policy, and '{method.name}' takes them as "
            "the current one's; set method.correction=TruncatedImportance, or method.correction=null to go on without"
        )


def python_of(settings: Settings) -> str:
    """The interpreter that has the engine."""
    return settings.sampler.python or str(cache_folder() / "engine" / "bin" / "python")


def cache_gib(settings: Settings) -> int:
    """Memory of an engine on a CPU for keys and values."""
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return settings.sampler.cache_gib or max(1, whole // 8 // settings.sampler.engines // 2**30)


def engine_dtype(settings: Settings) -> torch.dtype:
    """The number format of engines: that of the learner's products."""
    place = torch.device("cuda" if learns_on_gpu(settings.learner) else "cpu")
    return compute_type(settings.learner.compute, place)


@dataclass(frozen=True, kw_only=True)
class EnginePlan:
    """What each engine will hold and what a step sends, in bytes."""

    python: str
    dtype: str
    engines: int
    ahead: int
    weights: int
    """The model's weights, and of a LoRA the base of what is adapted."""
    cache: int | None
    """Keys and values; None: on a GPU as much as is free."""
    delivered: int
    """Weights that a step sends to each."""
    prompts: int
    """Tokens of prompts that a step sends, at most, where every engine has rows of every prompt; what is gone on with
    after a change of weights comes to them."""
    answers: int
    """Tokens and log-probs that a step brings, at most."""

    def as_data(self) -> dict[str, Any]:
        return {**asdict(self), "engine": VLLM}


def engine_plan(
    settings: Settings, network: ModelShape, *, trained: int, items: int, new_tokens: int, prompt_tokens: int
) -> EnginePlan | None:
    """The plan of an engine; None where none is asked for. `items`: prompts of a step, of so many tokens at most."""
    if settings.sampler.engine != VLLM:
        return None
    on_gpu, dtype = learns_on_gpu(settings.learner), engine_dtype(settings)
    whole = network.parameters * dtype.itemsize
    return EnginePlan(
        python=python_of(settings),
        dtype=format_name(dtype),
        engines=settings.sampler.engines,
        ahead=settings.sampler.ahead,
        weights=whole * (2 if settings.lora else 1),
        cache=None if on_gpu else cache_gib(settings) * 2**30,
        delivered=trained * 4 if settings.lora else whole,
        prompts=(items + settings.sampler.engines - 1) * prompt_tokens * 4,
        answers=new_tokens * 8,
    )


def engine_sampler(settings: Settings, policy: TextPolicy, ranks: Ranks = ONE) -> EngineSampler:
    """The sampler that starts engines when it is asked. SettingsError where there is no such model or place for one."""
    from rung.rollouts.engine.engines import EngineSettings
    from rung.rollouts.engine.sampler import EngineSampler
    from rung.rollouts.engine.source import Source

    if problems := [*_misfits(policy), *_no_place(settings, policy)]:
        raise SettingsError(problems)
    asked = settings.sampler
    threads = {"OMP_NUM_THREADS": str(settings.learner.threads or torch.get_num_threads())}
    gpus = _gpus_of_engines(settings, policy) if policy.device.type == "cuda" else [{}] * asked.engines
    return EngineSampler(
        Source(policy, ranks.shared, ranks.whole),
        EngineSettings(
            python=python_of(settings),
            environments=[threads | gpu for gpu in gpus],
            rows=asked.rows_at_once or ROWS,
            cache_gib=cache_gib(settings),
            start_s=asked.start_s,
            request_s=asked.request_s,
            delivery_s=asked.delivery_s,
            ahead=asked.ahead,
        ),
    )


def _misfits(policy: TextPolicy) -> Iterator[str]:
    name, config = type(policy.model).__name__, policy.model.config
    if policy.engine_reason is not None:
        yield (
            f"sampler.engine: {VLLM} is given weights by their names, which was tried with {', '.join(FAMILY)} as rung "
            f"computes them, and {policy.engine_reason}; set in_process"
        )
        return
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    if policy.device.type == "cpu" and width not in HEAD_WIDTHS:
        yield (
            f"sampler.engine: the attention heads of this {name} are {width} wide, and on a CPU {VLLM} has "
            f"{', '.join(map(str, HEAD_WIDTHS))}; set in_process, or take another model"
        )


def _no_place(settings: Settings, policy: TextPolicy) -> Iterator[str]:
    needed, there = settings.learner.processes + settings.sampler.engines, torch.cuda.device_count()
    if policy.device.type == "cuda" and there < needed:
        yield (
            f"sampler.engine: {needed} GPUs are needed, one for each process that learns and for each engine, and "
            f"torch sees {there} here. Set in_process, by which those that learn draw too"
        )


def _gpus_of_engines(settings: Settings, policy: TextPolicy) -> Sequence[dict[str, str]]:
    """The GPUs that nobody learns on, by the names that this process sees them under."""
    count, processes = torch.cuda.device_count(), settings.learner.processes
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = seen.split(",") if seen else [str(number) for number in range(count)]
    first = (policy.device.index or 0) + 1 if processes == 1 else processes
    chosen = [names[(first + number) % count] for number in range(settings.sampler.engines)]
    return [{"CUDA_VISIBLE_DEVICES": name} for name in chosen]
