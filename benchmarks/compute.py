"""One process: the compute type that rung chooses on this machine."""

from __future__ import annotations

from workload import answer, model_folder

from rung.models.language.load import load_policy

answer({"compute": str(load_policy(str(model_folder())).compute_dtype).removeprefix("torch.")})
