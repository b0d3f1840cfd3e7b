"""The server's HTTP side, on Starlette and uvicorn."""

import asyncio
import logging
import socket
import sys
import threading
import time

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from kerasseq.serving.server import requests
from kerasseq.serving.server.documents import document_of, serialize
from kerasseq.serving.server.models import ServedModels
from kerasseq.serving.server.refusals import Refusal

logger = logging.getLogger("kerasseq")

UPDATE_EVERY = 1.0  # seconds
TOO_LARGE = 413


def application(models: ServedModels, max_bytes: int) -> Starlette:
    """An ASGI application that answers as TensorFlow Serving's REST API does.

    Args:
        models: the `ServedModels`.
        max_bytes: int, the largest body of a request.
    """

    async def respond(request: Request) -> Response:
        path, start = request.scope["raw_path"].decode("ascii", "replace"), time.perf_counter()
        response = await answer(request, path)
        print(
            f"{request.method} {path} {response.status_code} in {1e3 * (time.perf_counter() - start):.0f} ms",
            file=sys.stderr,
        )
        return response

    async def answer(request: Request, path: str) -> Response:
        if not path.lower().startswith("/v1/"):
            return PlainTextResponse("Not Found", 404)
        try:
            if request.method == "GET":
                return reply(200, await run_in_threadpool(lambda: serialize(requests.get(models, path))))
            body = await body_of(request, max_bytes)
            if body is None:
                return error(TOO_LARGE, f"The request has more than {max_bytes:,} bytes, see --max-megabytes.")
            prediction = await run_in_threadpool(requests.post, models, path, body)
            outputs = await asyncio.wrap_future(prediction.outputs)
            return reply(200, await run_in_threadpool(lambda: serialize(document_of(outputs, prediction.in_rows))))
        except Refusal as refusal:
            return error(refusal.http_code, str(refusal))
        except ClientDisconnect:
            return Response()
        except Exception as problem:  # A request never ends the server.
            logger.exception("%s %s", request.method, path)
            return error(500, f"{type(problem).__name__}: {problem}")

    return Starlette(routes=[Route("/{path:path}", respond, methods=["GET", "POST"])])


async def body_of(request: Request, max_bytes: int) -> bytes | None:
    """The body of a request; `None` if it is too large."""
    parts, received = [], 0
    async for part in request.stream():
        received += len(part)
        if received > max_bytes:
            return None
        parts.append(part)
    return b"".join(parts)


def reply(code: int, content: bytes) -> Response:
    return Response(content, code, {"Content-Type": "application/json"})


def error(code: int, message: str) -> Response:
    return reply(code, serialize({"error": message}))


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections; callers wait until the server runs.

    Raises:
        OSError: if the port is taken, or the host is not one of this machine.
    """
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
        listening.listen(128)
    except OSError:
        listening.close()
        raise
    return listening


def run(models: ServedModels, listening: socket.socket, max_bytes: int) -> None:
    """Answers until the process is asked to end. Loads versions that appear, and ends those that go."""
    config = uvicorn.Config(application(models, max_bytes), log_level="warning", access_log=False)
    ended = threading.Event()
    updates = threading.Thread(target=keep_up, args=(models, ended), daemon=True)
    updates.start()
    try:
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        ended.set()
        models.close()


def keep_up(models: ServedModels, ended: threading.Event) -> None:
    """Brings models up to date again and again. Tells a problem once."""
    problem = None
    while not ended.wait(UPDATE_EVERY):
        try:
            models.update()
            problem = None
        except (OSError, ValueError) as new:
            if str(new) != problem:
                problem = str(new)
                logger.warning("The models stay as they are: %s", new)
