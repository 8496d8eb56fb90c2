"""How each kind of method trains: who collects, who learns, what a step needs and costs.

trainer.py             what the loop knows of a kind
choose.py              the kind of a method, and a run's trainer built from its settings
policy_gradient/       REINFORCE to DAPO, on text and in environments
preferences/           DPO and other pair losses, reward models
q_learning/            DQN on states, screens and tokens
rlhf_2017/             a reward learned from comparisons of segments
boxes_1983/            the actor and critic of 1983
"""
