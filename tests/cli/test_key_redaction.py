"""No output of the program holds the API key, wherever and however encoded the server returns it."""

import asyncio
import base64
import html
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.cli.commands import KEY, call, write_manifest
from tests.rehearsal import uuid

Answer = tuple[int, Mapping[str, str], object]


def encodings(key: str) -> dict[str, str]:
    """The key as it may be written somewhere; what is compared is the part that stands for the key alone."""
    raw = key.encode()
    every = {
        "plain": key,
        "upper": key.upper(),
        "lower": key.lower(),
        "percent": quote(key, safe=""),
        "every percent": "".join(f"%{byte:02X}" for byte in raw),
        "every percent, small": "".join(f"%{byte:02x}" for byte in raw),
        "percent twice": "".join(f"%25{byte:02X}" for byte in raw),
        "decimal entities": "".join(f"&#{byte};" for byte in raw),
        "hexadecimal entities": "".join(f"&#x{byte:x};" for byte in raw),
        "escapes of units": "".join(f"\\u{byte:04x}" for byte in raw),
        "escapes of bytes": "".join(f"\\x{byte:02x}" for byte in raw),
        "hexadecimal": raw.hex(),
        "hexadecimal, large": raw.hex().upper(),
        "hexadecimal with blanks": raw.hex(" "),
        "hexadecimal with colons": raw.hex(":").upper(),
        "hexadecimal with 0x": ", ".join(f"0x{byte:02x}" for byte in raw),
        "base32": base64.b32encode(raw).decode().rstrip("="),
        "html": html.escape(key),
        "json": json.dumps(json.dumps(key))[3:-3],
        "broken": f"{key[:9]}\n{key[9:]}",
        "broken by a return": f"{key[:9]}\r\n  {key[9:]}",
    }
    for shift in range(3):
        text = base64.b64encode(bytes(shift) + raw).decode()[-(-shift * 8 // 6) : (shift + len(raw)) * 8 // 6]
        every[f"base64, {shift}"] = text
        every[f"base64, {shift}, of URLs"] = text.replace("+", "-").replace("/", "_")
        every[f"base64, {shift}, broken"] = f"{text[:11]}\n{text[11:]}"
    return every


ENCODINGS = encodings(KEY)
SHOWN = list(ENCODINGS.values())
FORMS = {
    form.lower(): encoding
    for encoding, shown in ENCODINGS.items()
    for form in (shown, json.dumps(shown)[1:-1], html.escape(shown), quote(shown))
}
"""Each encoding as an output may write it, in lower case."""


def refresh(n: int) -> str:
    """A model's refresh call."""
    return f"POST /api/v1/models/{uuid(n)}/refresh"


def accepted(n: int, **more: object) -> Answer:
    """The usual answer to it."""
    return 200, {}, {"jobId": f"job-{n}", "status": "running", **more}


class Place:
    """A place of the server's answers. `extra` are settings of each model, `answer` what the server says to a request.

    `deadline` is that of the run: long enough for each model's answer.
    """

    def __init__(
        self, answer: Callable[[str, int, str], Answer | None], *, deadline: str = "8s", **extra: object
    ) -> None:
        self.answer = answer
        self.deadline = deadline
        self.extra = extra


def _posts(make: Callable[[int, str], Answer]) -> Callable[[str, int, str], Answer | None]:
    return lambda asked, n, shown: make(n, shown) if asked.startswith("POST") else None


def _polls(make: Callable[[str], Answer]) -> Callable[[str, int, str], Answer | None]:
    return lambda asked, n, shown: make(shown) if "/jobs/" in asked else None


def _models(asked: str, n: int, shown: str) -> Answer | None:
    del n
    if not asked.startswith("GET /api/v1/models?"):
        return None
    records = [
        {
            "id": uuid(number),
            "name": f"m{number}",
            "modelKind": "SHARED",
            "connectionId": f"c-{text}",
            "branches": [{"id": uuid(500 + number), "name": f"b {text}"}],
        }
        for number, text in enumerate(SHOWN, 1)
    ]
    others = [{"id": uuid(900 + k), "name": f"wanted {text}", "modelKind": "SHARED"} for k, text in enumerate(SHOWN)]
    return 200, {}, {"records": records + others, "pageInfo": {"hasNextPage": False}}


PLACES = {
    "the words of a refusal": Place(_posts(lambda n, shown: (400, {}, {"detail": f"no {shown} here"}))),
    "a page": Place(_posts(lambda n, shown: (403, {"Content-Type": "text/html"}, f"<p>Go away, {shown}!</p>"))),
    "a redirect": Place(_posts(lambda n, shown: (302, {"Location": f"https://x.invalid/{quote(shown)}"}, ""))),
    "an error with the refresh": Place(_posts(lambda n, shown: (500, {}, {"error": {"message": shown}}))),
    "an unreadable answer": Place(_posts(lambda n, shown: (200, {}, f"<html>{shown}"))),
    "the job's id": Place(_posts(lambda n, shown: accepted(n, jobId=shown.replace("\n", " ").replace("\r", "")))),
    "the first status": Place(_posts(lambda n, shown: accepted(n, status=f"running {shown}"))),
    "the last status": Place(_polls(lambda shown: (200, {}, {"status": f"busy {shown}"})), timeout="300ms"),
    "a long status": Place(_polls(lambda shown: (200, {}, {"status": f"{'b' * 70}{shown}"})), timeout="300ms"),
    "the words of a poll": Place(
        _polls(lambda shown: (404, {}, {"detail": shown})), deadline="3s", timeout="300ms", retries=0
    ),
    "names of models": Place(_models, model="wanted", id=None),
    "names of branches": Place(_models, branch="b", connection=None),
    "connections": Place(_models, connection=None),
}


@contextmanager
def server(place: Place) -> Iterator[tuple[str, list[bytes]]]:
    """An instance that answers so, in a thread; its address, and the bodies that a webhook got."""
    told: list[bytes] = []
    up: list[tuple[int, asyncio.AbstractEventLoop]] = []
    ready = threading.Event()

    def reply(asked: str, body: bytes) -> Answer:
        if asked.startswith("POST /hook"):
            told.append(body)
            return 200, {}, {}
        n = next((k for k in range(1, len(SHOWN) + 1) if uuid(k) in asked or asked.endswith(f"/job-{k}/status")), 1)
        answer = place.answer(asked, n, SHOWN[n - 1])
        if answer is not None:
            return answer
        return accepted(n) if asked.startswith("POST") else (200, {}, {"status": "COMPLETED"})

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next((int(line[15:]) for line in head.lower().split("\r\n") if line.startswith("content-length:")), 0)
        body = await reader.readexactly(length)
        status, headers, said = reply(head.split(" HTTP/", 1)[0], body)
        data = said.encode() if isinstance(said, str) else json.dumps(said).encode()
        lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(data)}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + data)
        await writer.drain()
        writer.close()

    async def main() -> None:
        over = asyncio.Event()
        listening = await asyncio.start_server(serve, "127.0.0.1", 0)
        up.append((listening.sockets[0].getsockname()[1], asyncio.get_running_loop()))
        stop.append(over.set)
        ready.set()
        async with listening:
            await over.wait()

    stop: list[Callable[[], None]] = []
    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    assert ready.wait(10)
    port, loop = up[0]
    try:
        yield f"http://127.0.0.1:{port}", told
    finally:
        loop.call_soon_threadsafe(stop[0])
        thread.join(10)


@pytest.mark.parametrize("where", PLACES)
def test_no_output_shows_the_key(
    where: str, capfd: Any, tmp_path: Path, own_state: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the server says, in whatever encoding: no stream, report, metric, message or file of the state shows the key."""
    place = PLACES[where]
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    with server(place) as (url, told):
        models = [
            {
                name: value
                for name, value in {"id": uuid(n), "name": f"m{n}", "connection": f"c{n}", **place.extra}.items()
                if value is not None
            }
            for n in range(1, len(SHOWN) + 1)
        ]
        manifest = write_manifest(
            tmp_path,
            *models,
            instances={
                "sim": {
                    "base_url": url,
                    "api_keys": ["${OMNI_API_TOKEN}"],
                    "rate_limit": {"requests": 5000, "per": "1s"},
                }
            },
            notify=[{"webhook": f"{url}/hook", "on": "always"}],
        )
        formats = [word for s in ("json", "jsonl", "xml", "md", "html", "csv") for word in ("--report", f"r.{s}")]
        done = call(
            capfd, "run", manifest, "-v", "--json", "--metrics-file", "m.prom", *formats, "--deadline", place.deadline
        )
    assert len(told) == 1, done.err
    assert done.document["summary"]["total"] == len(SHOWN)
    texts = {"stdout": done.out, "stderr": done.err, "webhook": told[0].decode()}
    plain = call(capfd, "report")
    texts |= {"summary": plain.out, "history": call(capfd, "history", "--json").out}
    for path in (*tmp_path.glob("r.*"), tmp_path / "m.prom", tmp_path / "summary.md", *(tmp_path / "state").rglob("*")):
        if path.is_file():
            texts[str(path)] = path.read_bytes().decode("latin-1")
    assert len(texts) > 12
    for name, text in texts.items():
        folded = text.lower()
        for form, encoding in FORMS.items():
            assert form not in folded, f"{name}: {encoding}"
