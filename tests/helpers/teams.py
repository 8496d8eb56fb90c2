"""Teams of processes in which tests run the same function, with small random models and batches of text for them."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed.distributed_c10d as c10d

from rung.batch import Batch, Episode, Judgement
from rung.models.language.lora import Lora, add_adapter
from rung.models.language.policy import TextPolicy
from rung.models.language.tiny import tiny_model
from rung.random import generator
from rung.settings import LearnerSettings
from rung.trainers.assemble import assemble
from rung.trainers.team import Team

Work = Callable[[Team], Any]
DEADLINE_S = 60.0


def _joined(work: Work, rank: int, size: int, folder: str, results: Any) -> None:
    torch.set_num_threads(1)
    for place, name in ((c10d, "_pickler"), (c10d, "_unpickler"), (torch, "save"), (torch, "load")):
        assert hasattr(place, name)
        setattr(place, name, _refuse)  # nothing that goes between the processes may be pickled
    try:
        team = Team(rank, size, Path(folder), LearnerSettings(deadline_s=DEADLINE_S, device="cpu"))
        results.put((rank, work(team)))
        team.close()
    except BaseException:
        results.put((rank, AssertionError(traceback.format_exc())))
        raise


def _refuse(*_: Any, **__: Any) -> Any:
    raise AssertionError("a pickle was made or read")


def in_team(work: Work, size: int, folder: Path) -> dict[int, Any]:
    """What each of so many processes found, by rank."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    ranks = [context.Process(target=_joined, args=(work, rank, size, str(folder), results)) for rank in range(size)]
    found: dict[int, Any] = {}
    for process in ranks:
        process.start()
    try:
        for _ in ranks:
            rank, one = results.get(timeout=10 * DEADLINE_S)
            if isinstance(one, AssertionError):
                raise one
            found[rank] = one
    finally:
        for process in ranks:
            process.join(10)
            process.kill()
    return found


def small_policy(
    *,
    lora: bool = False,
    seed: int = 0,
    exact: bool = True,
    low: bool = False,
    width: int = 24,
    critic: bool | None = None,
    characters: str = "0123456789",
    foreign: bool = False,
) -> TextPolicy:
    """A random model of two layers; `exact`: in float64; `low`: products in bfloat16; `foreign`: of an architecture
    that rung's decoder does not know. `critic`: whether it has a network of its own, None: none."""
    policy = tiny_model(seed, characters=characters, layers=2, width=width)
    made = policy.model
    if foreign:
        from transformers import GPT2Config, GPT2LMHeadModel

        torch.manual_seed(seed)
        made = GPT2LMHeadModel(GPT2Config(vocab_size=14, n_positions=64, n_embd=width, n_layer=2, n_head=2)).eval()
    model = made.double() if exact and not low else made
    if lora:
        add_adapter(model, Lora(rank=2), seed=seed)
        with torch.no_grad():  # B is zero at first, and so would be A's gradient
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    parameter.add_(0.02)
        model = model.double() if exact else model
    policy = TextPolicy(model, policy.tokenizer, compute_dtype=torch.bfloat16 if low else torch.float32)
    if critic is not None:
        policy.add_critic(separate=critic)
    return policy


def text_batch(step: int, *, groups: int = 5, samples: int = 3, flat: bool = False) -> Batch:
    """Groups of answers of unequal length; one could not be judged, and one group has no spread, or with `flat` all."""
    draw = generator((7, step))
    episodes: list[Episode] = []
    for group in range(groups):
        context = draw.integers(4, 14, size=int(draw.integers(2, 6)))
        for sample in range(samples):
            ids = draw.integers(4, 14, size=int(draw.integers(1, 6)))
            total = 1.0 if flat or group == 1 else float(draw.random())  # no two alike: KL-Cov chooses among tokens
            failed = group == 2 and sample == 0
            judgement = Judgement(
                total=None if failed else total, parts={}, accuracy=total, status="timeout" if failed else "ok"
            )
            episodes.append(
                Episode(
                    item=str(group),
                    group=group,
                    sample=sample,
                    context=context,
                    actions=ids,
                    action_mask=np.ones(len(ids), bool),
                    log_probs=np.full(len(ids), -2.5, np.float32),
                    terminated=sample > 0,
                    truncated=sample == 0,
                    judgement=judgement,
                )
            )
    return assemble(episodes)


def whole(team: Team | None, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors, gathered where they are sharded; in rank 0 alone."""
    found = dict(tensors) if team is None else team.whole(tensors)
    return {name: tensor.detach().clone() for name, tensor in found.items()}
