"""Building a model from a stranger's configuration: within bounds of size and time, and never with code of its own."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.modules import module as hooks

from rung.errors import DataError
from rung.models.language.folder import foreign

MOST_S = 120.0
SPARE = 1 << 27
"""Numbers beyond twice those that the files hold: buffers that no file has."""


class UnknownArchitecture(DataError):
    """A model that this transformers cannot build."""


def configuration(folder: Path, config: Any) -> Any:
    """The configuration as transformers reads it. DataError where it has no such architecture, or cannot."""
    from transformers import AutoConfig
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind, file = config["model_type"], folder / "config.json"
    if kind not in CONFIG_MAPPING:
        own = ", and asks for code of its own (auto_map), which rung does not run" if "auto_map" in config else ""
        use = "use a model whose architecture is part of transformers, or a newer transformers"
        raise UnknownArchitecture([f"model: {file}: transformers does not know the architecture '{kind}'{own}; {use}"])
    with foreign(f"model: {file} cannot be read as a configuration of {kind}"):
        return AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)


@contextmanager
def bounded(where: str = "model", held: float = math.inf) -> Iterator[None]:
    """While inside, no model may be built that is larger than its files, which hold so many numbers, or that takes
    minutes to build.

    Its parts are counted as they are made on torch's meta device, before there is memory for them. DataError then.
    """
    began, numbers = time.monotonic(), 0

    def made(_: nn.Module, __: str, part: Tensor | nn.Module | None) -> None:
        nonlocal numbers
        if isinstance(part, Tensor) and part.is_meta:
            numbers += part.numel()
        if numbers > 2 * held + SPARE:
            raise DataError(
                [
                    f"{where}: the configuration describes a model of over {numbers:,} numbers, and its files hold "
                    f"{held:,}; expected files that fit together: get or export the model again"
                ]
            )
        if time.monotonic() - began > MOST_S:
            raise DataError([f"{where}: its parts took more than {MOST_S:g} s to make; expected a smaller model"])

    with ExitStack() as stack:
        for register in (
            hooks.register_module_parameter_registration_hook,
            hooks.register_module_buffer_registration_hook,
            hooks.register_module_module_registration_hook,
        ):
            stack.enter_context(register(made))
        yield
