"""Parts: the small frozen dataclasses that fill a method's slots and are called with the batch.

Each part holds its numbers, calls one formula, and says in words and in a formula what it does. Nothing here loops,
samples or updates. One file a slot.
"""
