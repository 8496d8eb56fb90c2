"""What is wrong with a run: one table of rules, asked while the run trains and of its stored folder.

    rules.yaml     what each rule says: severity, cause, what to change
    rules.py       the table of rules, each with its function; `diagnose`
    warnings.py    the rules that need metrics alone, asked after every step of a run that trains
    finding.py     one thing that is wrong: evidence, likely cause, the setting to change
    observed.py    a run as the rules see it: its metrics so far, and what else its folder holds
    stored.py      reads a run's folder
    numbers.py, reward_parts.py, signal.py, lengths.py, repeats.py,
    learning_rate.py, policy.py, control.py, ending.py        the rules, by what they look at

A run that learns is not ill: most rules are silent while the held-out score has risen beyond its interval.
"""
