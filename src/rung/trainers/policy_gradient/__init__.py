"""Policy gradients: REINFORCE, actor-critic, TRPO, PPO, GRPO, DAPO and others."""
