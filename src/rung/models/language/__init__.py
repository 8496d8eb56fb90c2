"""Language models: loading, decoding, packed passes, log-probs, LoRA, reward models."""
