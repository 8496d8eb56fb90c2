"""Deep RL from human preferences (Christiano et al. 2017): a reward learned from pairs of segments."""
