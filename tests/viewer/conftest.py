"""Runs made up for the viewer, and the helpers beside the tests."""

from __future__ import annotations

import sys
from pathlib import Path

here = Path(__file__).parent
sys.path[:0] = [str(here), str(here.parent / "preferences")]  # `made_up_runs`; the labelling page's `browser`
