"""Q-learning: DQN on states, on screens and on tokens."""
