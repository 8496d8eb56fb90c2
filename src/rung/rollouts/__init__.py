"""How episodes are collected. `sampling.py` is a sampler's interface, `sampler.py` draws from the learner's own weights."""
