"""The command line, one file a command or two: it reads arguments, calls the library, prints what comes back.

train.py (train, check)   resume.py   sft.py   evaluate.py (eval)   compare.py   diagnose.py   chat.py   label.py
methods.py (methods, explain, diff)   tasks.py (tasks, explain-metric)
planning.py   settings, task, rewards, model and folder looked at together: the plan, or all problems
comparing.py  the same for a comparison
options.py    arguments that several commands share
output.py     text for people, one JSON object for programs
failing.py    errors as messages and exit codes
folders.py    the folder of a new run, the model of an old one
"""
