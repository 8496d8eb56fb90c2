"""What is trained: a Hugging Face causal language model as a policy, and a small one made from scratch.

`load.load_policy` reads a folder, a hub id or a GGUF file; `tiny.tiny_model` makes a small transformer;
`policy.TextPolicy` is what the rest of the library sees: it encodes prompts, gives log-probabilities of a batch,
and saves itself as an ordinary Hugging Face folder. `decoder` and `whole_model` are its two ways through a network.
"""

import os

# oneDNN keeps what it compiled for every shape, by default 1,024 of them: 400 MB more where shapes change every step.
# It reads this at the first product of matrices.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")
