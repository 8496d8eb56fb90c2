"""The reward of the README's first lines."""


def short(prompts, completions, **columns):
    return [float(len(text) < 6) for text in completions]
