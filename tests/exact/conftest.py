"""Lets the tests here import their instrument, `enumeration`, and the script that prints the table, `table`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
