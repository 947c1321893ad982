"""Headless Chromium, driven over a pipe in the DevTools protocol: nothing to install but the browser itself."""

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE_S = 20.0
"""A browser that says nothing for so long has failed."""

_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars", "--disable-dev-shm-usage"),
    *("--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-extensions", "--disable-default-apps", "--remote-debugging-pipe", "--force-color-profile=srgb"),
)
_KEYS = {
    "Tab": ("Tab", 9, ""),
    "Enter": ("Enter", 13, "\r"),
    "Space": ("Space", 32, " "),
    "Escape": ("Escape", 27, ""),
}


def find_chromium() -> str | None:
    """The browser's program, or None."""
    names = (os.environ.get("CHROMIUM") or "chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


class BrowserError(Exception):
    """The browser did not do what it was told."""


class Page:
    """A tab. Everything blocks until it has happened; what the page asked for and complained of is kept."""

    def __init__(self, concurrency_limit: "Wire") -> None:
        self._wire = concurrency_limit
        target = concurrency_limit.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        self._session = concurrency_limit.call("Target.attachToTarget", {"targetId": target, "flatten": True})[
            "sessionId"
        ]
        self._target = target
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def _call(self, method: str, **params: Any) -> Any:
        return self._wire.call(method, params, self._session)

    def open(self, path: Path, *, fragment: str = "") -> None:
        """Load a file, to the end of its own scripts."""
        self._wire.events.clear()
        failure = self._call("Page.navigate", url=path.as_uri() + fragment).get("errorText")
        if failure:
            raise BrowserError(failure)
        self._wire.wait_for("Page.loadEventFired", self._session)

    @property
    def complaints(self) -> list[str]:
        """Exceptions, errors and warnings of the page since it was opened."""
        self.evaluate("0")
        found = []
        for method, params in self._wire.events:
            if method == "Runtime.exceptionThrown":
                found.append(str(params["exceptionDetails"]))
            elif method == "Log.entryAdded" or (
                method == "Runtime.consoleAPICalled" and params["type"] in {"error", "warning", "assert"}
            ):
                found.append(str(params))
        return found

    @property
    def requests(self) -> list[str]:
        """What the page asked for since it was opened, itself left out."""
        self.evaluate("0")
        urls = [p["request"]["url"] for method, p in self._wire.events if method == "Network.requestWillBeSent"]
        return [url for url in urls[1:] if not url.startswith("data:")]

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited where it is a promise."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise BrowserError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def window(self, width: int, height: int = 800, *, dark: bool = False, scale: float = 1.0) -> None:
        """The window's size in CSS pixels, and whether its user likes it dark; a narrow one is a phone's."""
        size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 600}
        self._call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", media="", features=[scheme])

    def scripts(self, allowed: bool) -> None:
        """Whether the next page that is opened may run scripts."""
        self._call("Emulation.setScriptExecutionDisabled", value=not allowed)

    def click(self, selector: str) -> None:
        """Click with the mouse in the middle of the first element that the selector finds."""
        place = self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'center'}});"
            " const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self._call(
                "Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1, buttons=1
            )

    def press(self, key: str, times: int = 1) -> None:
        """Press a key of the keyboard, as a person does."""
        code, number, text = _KEYS[key]
        name = " " if key == "Space" else key
        for _ in range(times):
            for kind in ("keyDown", "keyUp"):
                typed = {"text": text} if text and kind == "keyDown" else {}
                self._call(
                    "Input.dispatchKeyEvent", type=kind, key=name, code=code, windowsVirtualKeyCode=number, **typed
                )

    def write(self, text: str) -> None:
        """Type a text into what has the focus."""
        self._call("Input.insertText", text=text)

    def screenshot(self, *, height: int | None = None) -> bytes:
        """The page as PNG: its window, or its first `height` CSS pixels."""
        options: dict[str, Any] = {"format": "png", "optimizeForSpeed": False}
        if height is not None:
            width = self.evaluate("innerWidth")
            options["clip"] = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
            options["captureBeyondViewport"] = True
        return base64.b64decode(self._call("Page.captureScreenshot", **options)["data"])

    def print(self) -> bytes:
        """The page on paper, as PDF."""
        return base64.b64decode(self._call("Page.printToPDF", printBackground=True)["data"])

    def close(self) -> None:
        """Close the tab."""
        self._wire.call("Target.closeTarget", {"targetId": self._target})


class Wire:
    """The pipe to the browser: calls and their answers; events are kept."""

    def __init__(self, reading: int, writing: int) -> None:
        self.events: list[tuple[str, Any]] = []
        self._reading = reading
        self._writing = writing
        self._rest = b""
        self._number = 0

    def call(self, method: str, params: Any, session: str | None = None) -> Any:
        """The result of a method."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._writing, data) :]
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']}")
                return answer["result"]

    def wait_for(self, event: str, session: str) -> None:
        """Until the event has come."""
        while not any(method == event for method, _ in self.events):
            self._next()

    def _next(self) -> Any:
        until = time.monotonic() + PATIENCE_S
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._reading], [], [], max(0.0, until - time.monotonic()))
            data = os.read(self._reading, 1 << 20) if ready else b""
            if not data:
                raise BrowserError("the browser does not answer")
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\0")
        message = json.loads(line)
        if "method" in message:
            self.events.append((message["method"], message["params"]))
        return message


@contextmanager
def chromium() -> Iterator[Wire]:
    """A browser with an empty profile, which ends with the block."""
    program = find_chromium()
    if program is None:
        raise BrowserError("there is no chromium")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process, reading, writing = _spawn(program, profile)
        try:
            yield Wire(reading, writing)
        finally:
            os.close(writing)
            os.close(reading)
            _end(process)


def _spawn(program: str, profile: str) -> tuple[int, int, int]:
    """Start the browser: its process's id, and where to read from it and to write to it."""
    reading, to_us = os.pipe()
    from_us, writing = os.pipe()
    # it reads commands from 3 and answers on 4; ours are moved out of the way of these
    ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 100) for end in (from_us, to_us)]
    nowhere = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1, 2)]
    process = os.posix_spawn(
        program,
        [program, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
        {**os.environ, "HOME": profile, "XDG_CONFIG_HOME": profile, "XDG_CACHE_HOME": profile},
        file_actions=[*nowhere, *((os.POSIX_SPAWN_DUP2, end, number) for number, end in enumerate(ends, 3))],
    )
    for end in (from_us, to_us, *ends):
        os.close(end)
    return process, reading, writing


def _end(process: int) -> None:
    """End the browser, by force after five seconds."""
    os.kill(process, signal.SIGTERM)
    for _ in range(50):
        if os.waitpid(process, os.WNOHANG)[0]:
            return
        time.sleep(0.1)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)


@contextmanager
def open_page(concurrency_limit: Wire) -> Iterator[Page]:
    """A tab of its own."""
    page = Page(concurrency_limit)
    try:
        yield page
    finally:
        page.close()
