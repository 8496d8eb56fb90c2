"""The machine in a line, as results name it; never its own name."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch


def machine() -> str:
    """The GPU, or the processor with the number formats that matter; threads, torch."""
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.is_file() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    flags = next((line for line in lines if line.startswith("flags")), "").split()
    units = [unit for unit in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if unit in flags]
    formats = f" ({', '.join(units)})" if units else ""
    threads = torch.get_num_threads()
    several = f"{threads} thread{'s' * (threads > 1)}"
    return f"{os.cpu_count()} cores of {model}{formats}, {several}, torch {torch.__version__}"
