"""Lets the tests here import their helper, `masked_arrays`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
