"""What holds for every test: no hub is asked, and property tests try the same examples in every `make test`.

`make test-all` draws new ones.
"""

from __future__ import annotations

import os

from hypothesis import settings

pytest_plugins = ["made_up_reports"]
os.environ["RUNG_COMPUTE"] = "float32"  # the same numbers on a processor with bfloat16 units as on one without
os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when the hub's library is imported

settings.register_profile("steady", derandomize=True)
if not os.environ.get("RUNG_NEW_EXAMPLES"):
    settings.load_profile("steady")
