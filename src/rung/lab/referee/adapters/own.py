"""A loss, or an advantage function, of the user's own: `python own.py FILE`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import talk

path = Path(sys.argv[1]).resolve()
sys.path.insert(0, str(path.parent))
spec = importlib.util.spec_from_file_location(path.stem, path)
assert spec is not None and spec.loader is not None, "it ends in .py"
module = importlib.util.module_from_spec(spec)
sys.modules[path.stem] = module
spec.loader.exec_module(module)
talk.serve({name: one for name, one in vars(module).items() if callable(one) and not name.startswith("_")})
