"""The ready tasks, one file each."""
