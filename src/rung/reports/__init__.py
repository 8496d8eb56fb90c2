"""What a run says about itself: metrics with meaning, files, console, warnings, pictures and the report page.

metrics.py      every metric: meaning, healthy range, what to do (metric.py, metric_list.py)
statistics.py   mean@k, pass@k, maj@k, intervals, the paired difference
warnings.py     the usual deaths of a run, found in its metrics and said in words
files.py        a run's folder: metrics.jsonl, timings.jsonl, samples; cut back on resume
json_lines.py   one JSON object a line, safe against kill -9 and a full disk
samples.py      completions with rewards as Parquet, one part a step, merged at the end
aside.py        a file appears whole or not at all
visible.py      hostile text made harmless to look at
console.py      the live line, progress bar and sample completions
pictures.py     the curves
environment_words.py  how runs in environments are spoken of
page.py         report.html: one file, no network (page_data.py, page_sections.py, page_assets.py)
"""
