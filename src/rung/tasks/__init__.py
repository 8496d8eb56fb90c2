"""What the policy faces: items to answer, the rewards that judge the answers, worked examples.

`task.py` has the shapes, `load.py` finds a task by its name or file, `order.py` says which items a step takes,
`rows.py` reads data files, `library/` holds the ready tasks.
"""
