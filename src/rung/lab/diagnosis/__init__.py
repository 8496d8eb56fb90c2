"""What is wrong with a run: one table of rules, asked while the run trains and of its stored folder.

rules.yaml says what each rule says, rules.py joins it with the rule's function. A function sees an ObservedRun
(observed.py, read by stored.py) and gives the evidence. A run that learns is not ill: most rules are silent while the
held-out score has risen beyond its interval.
"""
