"""A run: a folder, the loop that fills it, and everything that is kept there.

run.py, loop.py            `train` and `resume`; the one training loop, and a signal's stop
began.py, checkpoint.py    what a run began with, and what survives a kill
folder.py                  one process a folder; the folder of a new run
plan.py, planning.py       what a run will do and need, before it does
evaluate.py, statistics.py the held-out score and its intervals
record/, metrics/          the files of a run, and what each number in them means
recipes/                   runs made of runs: the tiny model, fine-tuning, pairs, RLHF
"""
