"""A real Chromium, driven over its DevTools protocol."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import websocket

RECORD_VIOLATIONS = """
    window.policyViolations = [];
    document.addEventListener("securitypolicyviolation", (event) => {
        window.policyViolations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`);
        // for other worlds of the same frame
        document.documentElement.dataset.policyViolations = window.policyViolations.join("; ");
    });
"""
FILL = """((selector, value) => {
    const input = document.querySelector(selector);
    // React keeps its own copy of the value: the element's setter updates it
    Object.getOwnPropertyDescriptor(Object.getPrototypeOf(input), "value").set.call(input, value);
    input.dispatchEvent(new Event("input", { bubbles: true }));
    input.dispatchEvent(new Event("change", { bubbles: true }));
    // a field that waits until its user stops typing hands its value on at once when it is left
    input.dispatchEvent(new FocusEvent("focusout", { bubbles: true }));
})"""


class Browser:
    """One page of a headless Chromium with its own profile; closed at the end of the block."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._folder = folder
        self._last_id = 0

    def __enter__(self) -> Self:
        log = self._folder / "chromium.log"
        with log.open("w") as output:
            self._process = subprocess.Popen(
                [
                    self._program,
                    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,2000"),
                    *("--remote-debugging-port=0", "--remote-allow-origins=*", f"--user-data-dir={self._folder / 'profile'}"),
                    "about:blank",
                ],
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + 120
        while not (found := re.search(r"DevTools listening on ws://([^/]+)/", log.read_text(errors="replace"))):
            assert time.monotonic() < deadline, log.read_text(errors="replace")
            time.sleep(0.1)
        pages = json.loads(urllib.request.urlopen(f"http://{found[1]}/json", timeout=60).read())
        page = next(page for page in pages if page["type"] == "page")
        self._socket = websocket.create_connection(page["webSocketDebuggerUrl"], timeout=120)
        self._call("Page.enable")
        self._call("Page.addScriptToEvaluateOnNewDocument", source=RECORD_VIOLATIONS)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._socket.close()
        self._process.terminate()
        self._process.wait(timeout=60)

    def open(self, url: str) -> None:
        """Opens a page."""
        self._call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, expression: str, seconds: float = 90) -> None:
        """Waits until an expression is true."""
        deadline = time.monotonic() + seconds
        while not self.run(expression):
            assert time.monotonic() < deadline, (
                f"not true within {seconds} s: {expression}\n{self.run('document.body.innerText')}"
            )
            time.sleep(0.02)

    def run_in_frame(self, url_part: str, expression: str) -> Any:
        """The value of a JavaScript expression in the frame whose URL has this part; None if there is no such frame."""
        frames = [child["frame"] for child in self._call("Page.getFrameTree")["frameTree"].get("childFrames", [])]
        frame = next((frame for frame in frames if url_part in frame["url"]), None)
        if frame is None:
            return None
        world = self._call("Page.createIsolatedWorld", frameId=frame["id"])
        answer = self._call(
            "Runtime.evaluate",
            expression=expression,
            contextId=world["executionContextId"],
            returnByValue=True,
            awaitPromise=True,
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_in_frame(self, url_part: str, expression: str, seconds: float = 90) -> None:
        """Waits until an expression is true in a frame."""
        deadline = time.monotonic() + seconds
        while not self.run_in_frame(url_part, expression):
            assert time.monotonic() < deadline, f"not true within {seconds} s: {expression}\n{self._call('Page.getFrameTree')}"
            time.sleep(0.1)

    def press(self, key: str, *, text: str = "") -> None:
        """Presses a key of the keyboard, such as Tab or Enter."""
        code = {"Tab": 9, "Enter": 13, " ": 32, "ArrowDown": 40, "Escape": 27}.get(key, 0)
        pressed = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": code}
        self._call("Input.dispatchKeyEvent", type="keyDown", **pressed, **({"text": text} if text else {}))
        self._call("Input.dispatchKeyEvent", type="keyUp", **pressed)

    def type(self, text: str) -> None:
        """Types a text into what has the focus."""
        self._call("Input.insertText", text=text)

    def show_as(self, *, width: int = 1280, height: int = 2000, scheme: str = "light") -> None:
        """The size of the window, and the colour scheme that the person prefers."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self._call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def set_timezone(self, zone: str) -> None:
        """The time zone of the person; '' for that of this machine."""
        self._call("Emulation.setTimezoneOverride", timezoneId=zone)

    def screenshot(self, file: Path) -> None:
        """A picture of the whole page."""
        answer = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(answer["data"]))

    def fill(self, selector: str, value: str) -> None:
        """Fills in a field."""
        self.run(f"{FILL}({json.dumps(selector)}, {json.dumps(value)})")

    @property
    def violations(self) -> list[str]:
        """What the page's Content-Security-Policy has blocked so far."""
        found: list[str] = self.run("window.policyViolations")
        return found

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._last_id += 1
        self._socket.send(json.dumps({"id": self._last_id, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == self._last_id:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result
