"""The rows of variants.yaml by their public names: `variants.DR_GRPO` is `METHODS["dr_grpo"]`."""

from __future__ import annotations

from rung.methods import METHODS, Method


def __getattr__(name: str) -> Method:
    method = METHODS.get(name.lower().replace("_plus_plus", "++")) if name.isupper() else None
    if method is None:
        raise AttributeError(f"rung.methods.variants has no {name}")
    return method
