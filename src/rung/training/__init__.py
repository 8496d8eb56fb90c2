"""The loop, the update, checkpoints: where task, sampler, rewards, method and report meet. No method is named here."""
