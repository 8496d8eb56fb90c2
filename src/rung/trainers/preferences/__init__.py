"""Learning from pairs: DPO and other pair losses, and reward models."""
