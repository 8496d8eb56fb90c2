"""Several methods on one task at one budget: the same prompts, the same held-out items, several seeds.

plan.py      what is compared: a folder's comparison.yaml, and where everything lies in that folder
child.py     one run in a process of its own, which ends with the process that began it
runs.py      all runs, some at a time; it goes on where it stopped
reading.py   one finished run as numbers
results.py   all runs as comparison.json, with the verdict (verdict.py, seed_statistics.py)
page.py, curves.py   comparison.html
compare.py   all of this from beginning to end
"""
