"""Pages on this machine: a small server on 127.0.0.1 that shows what people and models wrote as text, and nothing else.

`PageServer(routes, people=["anna"]).run()` serves Starlette routes behind `Guard`, which lets in only who came through
the printed link; `person(request)` says who that is. Needs the extra `pages`.
"""

from rung.lab.pages.guard import Guard, person
from rung.lab.pages.server import PageServer, Refused, read_object, shipped

__all__ = ["Guard", "PageServer", "Refused", "person", "read_object", "shipped"]
