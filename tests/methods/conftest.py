"""Lets the tests here import their helpers, `method_batches` and `trl_numbers`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
