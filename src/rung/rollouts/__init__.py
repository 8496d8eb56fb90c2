"""How episodes are collected.

`sampling.py` is a sampler's interface; `sampler.py` is the one that draws from the learner's own weights.
"""
