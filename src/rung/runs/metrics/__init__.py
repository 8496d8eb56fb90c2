"""Every metric with its meaning, its healthy range and what to do outside it."""
