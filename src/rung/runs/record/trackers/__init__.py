"""Trackers, which are sent a run's numbers as well: TensorBoard, Weights & Biases or trackio, by `reporting.tracker`.

    tracker.py       what a tracker is: it opens with the rows so far, takes one row a step, closes
    tensorboard.py, wandb.py, trackio.py    one file each, thin over the library
    tracking.py      a tracker that can fail without harm to the run

None is on by default. Nothing goes over the network unless the user says so in the library's own way
(WANDB_MODE=online). metrics.jsonl stays the record: a tracker is told from it, and a resumed run tells it anew, so a
step is there once.
"""
