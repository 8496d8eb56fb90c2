"""Property tests try the same examples in every `make test`; `make test-all` draws new ones."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("steady", derandomize=True)
if not os.environ.get("RUNG_NEW_EXAMPLES"):
    settings.load_profile("steady")
