"""A real Chromium, and a server that must hear nothing from it."""

from __future__ import annotations

import http.server
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """This machine's Chromium, without a window. These tests fail without one: a page nobody has opened is untested."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    assert found is not None, f"needs one of {', '.join(NAMES)}: apt-get install chromium (make test does, as root)"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS.split())
        yield browser
        browser.close()


@dataclass
class Canary:
    """Counts who asks it for anything. As another port of this machine it is another origin."""

    heard: list[str] = field(default_factory=list)
    cookies: set[str] = field(default_factory=set)
    pages: dict[str, str] = field(default_factory=dict)
    port: int = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Canary:
        canary = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                canary.cookies.add(self.headers.get("Cookie", ""))
                if self.path in canary.pages:
                    data = canary.pages[self.path].encode()
                else:
                    canary.heard.append(self.path)
                    data = b""
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


@dataclass
class Watched:
    """A page whose console, errors and dialogs are kept."""

    page: Page
    said: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, page: Page) -> Watched:
        it = cls(page)
        page.set_default_timeout(20_000)
        page.on("console", lambda message: it.said.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: it.said.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (it.said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("popup", lambda _: it.said.append("popup"))
        return it

    def open(self, link: str) -> None:
        """Through the printed link, until the first pair is there (or that there is none)."""
        self.page.goto(link)
        self.page.wait_for_selector("#asking:not([hidden]), #resting:not([hidden])")

    def texts(self) -> tuple[str, str]:
        """What stands on the left and on the right."""
        return tuple(self.page.locator(f"#{side} .theirs").first.inner_text() for side in ("left", "right"))  # type: ignore[return-value]

    def look(self) -> None:
        """Two seconds pass, as the page measures them: a press too soon after a pair has come is not taken."""
        self.page.evaluate("{ const now = performance.now() + 2000; performance.now = () => now; }")

    def after(self, press: str) -> str:
        """Looks, presses a key, and returns what the page says when it is done."""
        self.look()
        self.page.evaluate("document.getElementById('said').textContent = ''")
        self.page.keyboard.press(press)
        self.page.wait_for_selector("#said:not(:empty)")
        self.page.wait_for_selector("body:not(.waiting)")
        return self.page.locator("#said").inner_text()
