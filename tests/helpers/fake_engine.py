"""An engine of a few lines over the real protocol: a Llama in plain torch, on the weights that were delivered.

Started by a script that stands for an interpreter (`engines.py`). The file RUNG_FAKE says what it does wrong.
"""

import json
import os
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from rung.rollouts.engine import serving


class Fake:
    def __init__(self, folder):
        self.config = json.loads(Path(folder, "config.json").read_text())
        self.weights, self.rows, self.cached, self.updates = {}, {}, {}, 0

    def about(self):
        return {"engine": "fake 1", "longest": self.config["max_position_embeddings"]}

    def begin(self):
        self.updates += 1
        self.weights = dict(self.weights)

    def load(self, weights):
        left_out = {"label": "", "layer": "model.layers.1."}.get(wrong())
        for name, tensor in weights:
            if self.updates == 1 or left_out is None or not name.startswith(left_out):
                self.weights[name] = tensor.clone()

    def end(self):
        if wrong() != "head":  # else it goes on with a copy of its own
            tied = self.config["tie_word_embeddings"]
            self.head = self.weights["model.embed_tokens.weight" if tied else "lm_head.weight"]
        self.cached = self.cached if wrong() == "cache" else {}

    def add(self, row, tokens, *, seed, temperature, most, ends):
        self.rows[row] = (list(tokens), torch.Generator().manual_seed(seed), temperature, most, ends)

    def drop(self, row):
        self.rows.pop(row, None)

    @torch.no_grad()
    def step(self):
        if is_now("hang"):
            time.sleep(1000)
        for row, (tokens, luck, temperature, most, ends) in list(self.rows.items()):
            log_probs = (self.log_probs(tokens)[-1] / (temperature or 1)).log_softmax(-1)
            token = int(log_probs.argmax() if temperature == 0 else log_probs.exp().multinomial(1, generator=luck))
            self.rows[row] = ([*tokens, token], luck, temperature, most - 1, ends)
            if ended := token in ends or most == 1:
                del self.rows[row]
            yield row, [token], [float(log_probs[token])], ended
        if len(self.rows) < 4 and is_now("dies"):
            print("out of memory, it said", flush=True)
            os._exit(3)

    @torch.no_grad()
    def score(self, rows):
        every = [self.log_probs(row)[:-1].gather(1, torch.tensor(row[1:])[:, None])[:, 0].tolist() for row in rows]
        return [self.cached.setdefault(str(row), said[-1]) for row, said in zip(rows, every, strict=True)], every

    def log_probs(self, tokens):
        c, w = self.config, self.weights
        heads, groups, width = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
        angles = c["rope_parameters"]["rope_theta"] ** -(torch.arange(0, width, 2) / width)
        angles = (torch.arange(len(tokens))[:, None] * angles).repeat(1, 2)

        def turned(x):
            return x * angles.cos() + torch.cat([-x[..., width // 2 :], x[..., : width // 2]], -1) * angles.sin()

        def norm(x, name):
            return F.rms_norm(x, x.shape[-1:], w[name + ".weight"], c["rms_norm_eps"])

        x = w["model.embed_tokens.weight"][torch.tensor(tokens)]
        for layer in range(c["num_hidden_layers"]):
            at = f"model.layers.{layer}."
            read = norm(x, at + "input_layernorm")
            q, k, v = (
                (read @ w[f"{at}self_attn.{one}_proj.weight"].T).view(len(tokens), -1, width).transpose(0, 1)
                for one in "qkv"
            )
            k, v = (one.repeat_interleave(heads // groups, 0) for one in (turned(k), v))
            seen = F.scaled_dot_product_attention(turned(q), k, v, is_causal=True).transpose(0, 1).flatten(1)
            x = x + seen @ w[at + "self_attn.o_proj.weight"].T
            read = norm(x, at + "post_attention_layernorm")
            gate, up = (read @ w[f"{at}mlp.{one}_proj.weight"].T for one in ("gate", "up"))
            x = x + (F.silu(gate) * up) @ w[at + "mlp.down_proj.weight"].T
        return (norm(x, "model.norm") @ self.head.T).log_softmax(-1)


def wrong():
    """What the test says."""
    return Path(os.environ["RUNG_FAKE"]).read_text().removeprefix("once ")


def is_now(fault):
    """Whether this is wrong now, and never again where it was to be once."""
    place = Path(os.environ["RUNG_FAKE"])
    found = wrong() == fault
    if found and place.read_text().startswith("once "):
        place.write_text("")
    return found


def skipping(take):
    """A bucket that goes missing on the engine's side."""
    return lambda self, header, payload: (
        None if wrong() == "bucket" and "layers.1.mlp" in str(header) else take(self, header, payload)
    )


if sys.argv[-1] == "version":
    print("fake 1")
else:
    torch.set_num_threads(1)
    serving._Weights.take = skipping(serving._Weights.take)
    serving.serve(Fake(sys.argv[-1]), sys.argv[-1])
