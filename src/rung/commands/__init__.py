"""The command line: it reads arguments, calls the library, prints what comes back.

train.py      train, check, resume
catalogue.py  methods, explain, diff, tasks, settings, explain-metric
recipes.py    sft, pairs, rlhf
view.py       view, diagnose
evaluate.py (eval)   compare.py   chat.py   label.py
comparing.py  the arguments of compare and all that is wrong with them
options.py    arguments that several commands share
output.py     text for people, one JSON object for programs
"""
