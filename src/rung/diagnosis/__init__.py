"""What is wrong with a run, in words, from its stored folder alone.

    stored.py      a run's folder, read: metrics, settings, evaluations, the first and the last samples
    finding.py     one thing that is wrong: evidence, likely cause, the setting to change
    illnesses.py   all illnesses, each a pure function from the run to a finding or nothing; `diagnose`
    signal.py, reward_parts.py, start.py, lengths.py, repeats.py         is there anything to learn, and is it learnt
    policy_change.py, learning_rate.py, environments.py                  how the policy moved
    numbers.py, ending.py                                                is the run itself whole

Thresholds are those of the live warnings (`rung.reports.warnings`) and of the metrics' healthy ranges
(`rung.reports.metric_list`). What a run shows that learns is no illness: symptoms that a rising held-out score belies
are left alone.
"""
