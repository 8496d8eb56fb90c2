"""The files of a run: metrics, timings, samples, the console and the trackers."""
