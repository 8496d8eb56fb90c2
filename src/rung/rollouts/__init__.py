"""How episodes are collected: `sampler.Sampler` draws from the learner's own weights; `streams.Stream` is its luck."""
