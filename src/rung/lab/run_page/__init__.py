"""Look inside runs: a page on this machine with their curves, samples, tokens, prompts and time, also while they train.

`ViewerPage([OpenedRun(Path("runs/a"))]).routes()` is what `rung view` serves. It reads run folders and writes nothing.
"""
