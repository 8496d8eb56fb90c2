"""What is wrong with a run, in words, from its stored folder alone.

    stored.py      a run's folder, read: metrics, settings, evaluations, the first and the last samples
    finding.py     one thing that is wrong: evidence, likely cause, the setting to change
    illnesses.py   all illnesses, each a pure function from the run to a finding or nothing; `diagnose`
    warnings.py    those that are said while a run trains, from its metrics alone
    signal.py, reward_parts.py             is there anything to learn, and is it learnt
    policy_change.py, learning_rate.py, environments.py     how the policy moved
    numbers.py, ending.py                  is the run itself whole

What a run shows that learns is no illness: symptoms that a rising held-out score belies are left alone.
"""
