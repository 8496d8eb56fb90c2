"""Several methods on one task at one budget: the same prompts, the same held-out items, several seeds.

plan.py says what is compared, runs.py makes the runs, each in a process of its own, and results.py reads
them (reading.py) as comparison.json, with the verdict, and comparison.html (page.py).
"""
