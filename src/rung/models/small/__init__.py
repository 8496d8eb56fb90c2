"""Small networks for environments: policies, Q-networks and ensembles of reward predictors."""
