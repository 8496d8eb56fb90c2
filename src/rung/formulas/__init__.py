"""One pure function, one equation, on torch tensors. Nothing here knows a model, a task or a method.

Every function takes and returns small arrays whose names carry their dimensions (B rows, T steps), checks the
shapes first, and reads no masked slot: NaN there changes nothing. Means and sums over a batch are separate, in
`aggregations`, with counts that the caller takes over the whole batch.
"""
