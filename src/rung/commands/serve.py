"""`rung serve`: a trained language model behind an OpenAI-compatible address on this machine."""

from __future__ import annotations

import secrets
from functools import partial
from pathlib import Path
from typing import Annotated

from rung.commands.evaluate import asked_policy
from rung.commands.shared import argument, option, say, tell
from rung.errors import MissingExtra


def serve(
    model: Annotated[str, argument("chat.model")],
    port: Annotated[int, option("port")] = 0,
    name: Annotated[str | None, option("serve.name")] = None,
) -> None:
    """Serve a model to OpenAI clients on this machine.

    Answers on 127.0.0.1 alone, to who sends the printed key. Ctrl-C stops it.
    """
    try:
        from rung.lab.pages import PageServer
        from rung.lab.serving import KeyGuard, Serving
    except ModuleNotFoundError as error:
        raise MissingExtra("rung serve", "pages") from error
    serving = Serving(asked_policy(model), name or Path(model).resolve().name)
    key = secrets.token_urlsafe(32)
    guard = partial(KeyGuard, key=key)
    with PageServer(
        serving.routes(), guard=guard, port=port, refused=lambda words: tell(f"warning: {words}")
    ) as server:
        say(f"OPENAI_BASE_URL=http://127.0.0.1:{server.port}/v1 OPENAI_API_KEY={key}")
        say(f"the model is '{serving.name}'; Ctrl-C stops it")
        server.run()
