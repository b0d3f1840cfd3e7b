"""The client against servers that fail in chosen ways."""

import base64
import concurrent.futures
import contextlib
import email.utils
import http.server
import json
import pickle
import re
import socket
import threading
import time

import pytest

from kerasseq.serving import (
    Answer,
    AttentionAnswer,
    Client,
    DeadlineExceeded,
    RequestRefused,
    ServerUnreachable,
    ServingError,
    VersionStatus,
    client,
)

# === Servers: each action answers one request ===


def reply(handler, code, document, **headers):
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    handler.send_response(code)
    for name, value in {"Content_Length": str(len(content)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(content)


def always(document, code=200, **headers):
    return lambda handler, _: reply(handler, code, document, **headers)


def failure(code, error="not now", **headers):
    return always({"error": error}, code, **headers)


def success(handler, document):
    """Returns texts in capitals, with their lengths as scores."""
    texts = [
        base64.b64decode(value["b64"]).decode() if isinstance(value, dict) else value for value in document["instances"]
    ]
    reply(handler, 200, {"predictions": [{"text": text.upper(), "score": len(text)} for text in texts]})


def slow(handler, document):
    time.sleep(0.05)
    success(handler, document)


def hang_up(handler, document):
    handler.close_connection = True


def break_off(handler, document):
    reply(handler, 200, b'{"predictions": ', Content_Length="1000")
    handler.close_connection = True


def silence(handler, document):
    handler.server.stopped.wait()
    handler.close_connection = True


def trickle(head, content, pause=0.02):
    """Sends the head at once and then byte after byte until the client or the test gives up."""

    def act(handler, document):
        handler.wfile.write(head)
        with contextlib.suppress(OSError):
            while not handler.server.stopped.wait(pause):
                handler.server.sent += handler.wfile.write(content)
        handler.close_connection = True

    return act


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        document = json.loads(body) if body else None
        with self.server.lock:
            self.server.requests.append((self.command, self.path, document, self.headers))
            self.server.connections.add(self.client_address)
            act = self.server.script[0] if len(self.server.script) == 1 else self.server.script.pop(0)
        act(self, document)

    do_GET = do_POST = handle_any

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    """Follows a script of actions, repeats the last one, and records requests and connections."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, *script):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.script, self.lock, self.stopped = list(script), threading.Lock(), threading.Event()
        self.requests, self.connections, self.sent = [], set(), 0

    def handle_error(self, request, address):
        pass  # The client has given up.


@contextlib.contextmanager
def serving(*script, model="upper", **arguments):
    """A server, and a client of its model."""
    with Server(*script) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            with Client(server.url, model, **arguments) as caller:
                yield server, caller
        finally:
            server.stopped.set()
            server.shutdown()
            thread.join()


@pytest.fixture
def waits(monkeypatch):
    """The waits between attempts, which pass at once."""
    waits = []
    monkeypatch.setattr(client.time, "sleep", waits.append)
    return waits


# === Requests and answers ===


def test_one_or_many_sources():
    with serving(success) as (server, caller):
        assert caller.generate([]) == caller.answers([]) == caller.nbest([]) == caller.attention([]) == []
        assert server.requests == []
        assert caller.generate("one") == caller.generate(b"one") == "ONE"
        assert caller.generate(["one", "two"]) == ["ONE", "TWO"]
        assert caller.generate(iter(["one"]), signature="greedy") == ["ONE"]
        assert caller.answers("four") == Answer("FOUR", 4.0)
        assert caller.answers(("four", "")) == [Answer("FOUR", 4.0), Answer("", 0.0)]
    document = {"signature_name": "serving_default", "instances": ["one"]}
    assert server.requests[0][:3] == ("POST", "/v1/models/upper:predict", document)
    assert server.requests[3][2]["signature_name"] == "greedy"


@pytest.mark.parametrize(
    ("source", "sent"),
    [
        ("", ""),
        ('a\0b ж 👍🏽 \u2028 " \\ \n', 'a\0b ж 👍🏽 \u2028 " \\ \n'),
        ("x" * 100_000, "x" * 100_000),
        ("\ud83d lone surrogate", "\ud83d lone surrogate"),
        (b"", {"b64": ""}),
        (b"plain", {"b64": "cGxhaW4="}),
        (b"\xff\x00\xfe", {"b64": "/wD+"}),
    ],
)
def test_what_is_sent(source, sent):
    with serving(always({"predictions": [{"text": "", "score": 0}]})) as (server, caller):
        caller.generate([source])
    assert server.requests[0][2]["instances"] == [sent]


def test_batches():
    sources = [f"source {number}" for number in range(70)]
    with serving(success) as (server, caller):
        assert caller.generate(sources) == [source.upper() for source in sources]
        assert [len(document["instances"]) for _, _, document, _ in server.requests] == [32, 32, 6]
        assert len(server.connections) == 1
    with serving(success, failure(500, "boom"), batch_size=2) as (_, caller):
        with pytest.raises(RequestRefused, match="boom") as raised:
            caller.generate(["a", "b", "c", "d", "e"])
    assert raised.value.__notes__ == ["Failed batch: sources 2 to 3 of 5."]


@pytest.mark.parametrize(("label", "path"), [(None, ""), ("sta/ble", "/labels/sta%2Fble")])
def test_paths(label, path):
    with serving(success, model="a/b é", label=label) as (server, caller):
        caller.generate("one")
    assert server.requests[0][1] == f"/v1/models/a%2Fb%20%C3%A9{path}:predict"


def test_headers_go_with_every_request(tmp_path, monkeypatch):
    """Also where a .netrc file has a password for the server."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with serving(success, headers={"Authorization": "Bearer token"}, batch_size=1) as (server, caller):
        caller.generate(["one", "two"])
    assert [headers["Authorization"] for *_, headers in server.requests] == ["Bearer token"] * 2


TOKENS = {"source_tokens": ["x", "", "</s>", "", ""], "target_tokens": ["a", "</s>", ""]}
PADDED = [[0.5, 0.25, 0.25, 0, 0], [1, 0, 0, 0, 0], [9, 9, 9, 9, 9]]
CUT = [[0.5, 0.25, 0.25], [1, 0, 0]]


@pytest.mark.parametrize(
    ("method", "row", "expected"),
    [
        ("answers", {"text": "", "score": -1, "problem": "no WAV"}, Answer("", -1.0, problem="no WAV")),
        ("answers", {"text": "a", "score": -1.0, "ignored_tokens": 8}, Answer("a", -1.0, ignored_tokens=8)),
        ("nbest", {"text": ["a", "b"], "score": [-0.5, -1]}, [("a", -0.5), ("b", -1.0)]),
        ("nbest", {"text": ["a", "", ""], "score": [-0.5, -1e9, -1e9]}, [("a", -0.5)]),
        (
            "attention",
            {"text": "a", "score": -1.5, "attention": PADDED, **TOKENS},
            AttentionAnswer("a", -1.5, ["x", "", "</s>"], ["a", "</s>"], CUT),
        ),
        (
            "attention",
            {"text": "a", "score": -1.5, "attention": PADDED, "attention_heads": [PADDED, PADDED], "ignored_tokens": 2,
             "generation_probability": [0.5, 1, 9], **TOKENS},
            AttentionAnswer("a", -1.5, ["x", "", "</s>"], ["a", "</s>"], CUT, [CUT, CUT], [0.5, 1], ignored_tokens=2),
        ),
    ],
)  # fmt: skip
def test_answers(method, row, expected):
    with serving(always({"predictions": [row]})) as (server, caller):
        assert getattr(caller, method)("x") == expected and getattr(caller, method)(["x"]) == [expected]
    assert server.requests[0][2]["signature_name"] == {"answers": "serving_default"}.get(method, method)


def test_replies_may_hold_bytes_that_are_not_text_and_nan():
    with serving(always(b'{"predictions": [{"text": "a\xff", "score": NaN}]}')) as (_, caller):
        answer = caller.answers("a")
    assert answer.text == "a\ufffd" and answer.score != answer.score


def test_status():
    entries = [
        {"version": "10", "state": "LOADING", "status": {"error_code": "OK", "error_message": ""}},
        {"version": "9", "state": "END", "status": {"error_code": "NOT_FOUND", "error_message": "no file"}},
    ]
    with serving(always({"model_version_status": entries}), label="new") as (server, caller):
        assert caller.status() == [VersionStatus(9, "END", "no file"), VersionStatus(10, "LOADING", "")]
    assert server.requests[0][:3] == ("GET", "/v1/models/upper", None)


def test_threads_share_a_client():
    with serving(slow, batch_size=3) as (server, caller):
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            calls = [[f"{thread} {number}" for number in range(5)] for thread in range(16)]
            assert list(pool.map(caller.generate, calls)) == [[text.upper() for text in call] for call in calls]
        assert len(server.requests) == 32 and len(server.connections) <= 8


# === Retries ===


@pytest.mark.parametrize("first", [failure(429), failure(502), failure(503), hang_up])
def test_retries(first, waits):
    with serving(first, first, success, first, success, batch_size=1) as (server, caller):
        assert caller.generate(["one", "two"]) == ["ONE", "TWO"]
        assert len(server.requests) == 5


def test_waits_grow(waits):
    with serving(failure(503)) as (server, caller), pytest.raises(RequestRefused):
        caller.generate("one")
    assert len(server.requests) == len(waits) + 1 == 4
    assert waits == sorted(waits) and 0 < waits[-1] < 1
    waits.clear()
    # A date has whole seconds: two of them are more than one from now.
    date = email.utils.formatdate(time.time() + 2, usegmt=True)
    with serving(failure(503, Retry_After="7"), failure(429, Retry_After=date), success) as (_, caller):
        assert caller.generate("one") == "ONE"
    assert waits == [7, pytest.approx(1.5, abs=0.6)]


def test_no_wait_beyond_the_deadline(waits):
    with serving(failure(503, Retry_After="60"), deadline=5) as (server, caller):
        with pytest.raises(DeadlineExceeded, match="deadline of 5 s. Received: status code 503, to retry in 60.0 s"):
            caller.generate("one")
        assert waits == [] and len(server.requests) == 1


def test_nobody_listens(waits):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    with Client(url, "upper") as caller, pytest.raises(ServerUnreachable, match="--rest_api_port") as raised:
        caller.generate("one")
    assert len(waits) == 3
    assert isinstance(raised.value, ServingError) and isinstance(raised.value, ConnectionError)


def test_nobody_accepts(monkeypatch, waits):
    """A server with a full queue of connections stays silent."""
    monkeypatch.setattr(client, "CONNECT_TIMEOUT", 0.1)
    with socket.socket() as full, contextlib.ExitStack() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            connection = waiting.enter_context(socket.socket())
            connection.setblocking(False)
            connection.connect_ex(full.getsockname())
        with Client(f"http://127.0.0.1:{full.getsockname()[1]}", "upper", deadline=20) as caller:
            with pytest.raises(ServerUnreachable, match="The connection to .* failed"):
                caller.generate("one")
    assert len(waits) == 3


def test_a_broken_reply():
    with serving(break_off) as (_, caller), pytest.raises(ServerUnreachable, match="The connection to .* failed"):
        caller.generate("one")


# === Refusals and replies that are none ===


@pytest.mark.parametrize(
    ("code", "error", "advice"),
    [
        (302, "its own text", ""),
        (400, "its own text.", "GET http://.*/v1/models/upper/labels/new/metadata lists"),
        (400, "Unrecognized servable version label: new", "version_labels.*--model_config_file"),
        (400, "Task size 100 is larger than maximum input batch size 64", r"batch_size=8\)"),
        (401, "who are you", r"headers=\{'Authorization'"),
        (404, "Servable not found for request: Latest(upper)", r"client.status\(\).*--model_name"),
        (413, "too {large}", "batch_size=8"),
        (500, "", ""),
        (503, "busy", "log"),
    ],
)
def test_refusals(code, error, advice, waits):
    with serving(failure(code, error), label="new") as (server, caller), pytest.raises(RequestRefused) as raised:
        caller.generate("one")
    assert re.search(f"answered with the status code {code}: {re.escape(error)}.*{advice}", str(raised.value))
    assert len(server.requests) == (4 if code == 503 else 1)
    for refusal in (raised.value, pickle.loads(pickle.dumps(raised.value))):
        assert (str(refusal), refusal.status_code, refusal.error) == (str(raised.value), code, error)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (always(b"<html>Hello</html>"), "must answer with JSON .*Received: <html>Hello</html>. Check that"),
        (always(b"<html>Hello</html>", 404), "status code 404: <html>Hello</html>"),
        (always(b"[" * 200_000), "must answer with JSON"),
        (always(b"[" * 200_000, code=500), "status code 500"),
        (always({"error": "moved"}, code=302, Location="http://["), "must answer"),
        (always(b""), "must answer with JSON .*Received: nothing"),
        (failure(503, Retry_After="Mon, 01 Jan 2027 00:00:00 +99999999999999999999"), "status code 503"),
        (always({"outputs": []}), "of a model exported by kerasseq.*KeyError: 'predictions'"),
        (always({"predictions": []}), "ValueError"),
        (always({"predictions": [1.0]}), "of a model exported by kerasseq"),
        (always({"predictions": [{"text": "a"}]}), "KeyError: 'score'"),
        (always({"predictions": [{"text": ["a"], "score": [1.0]}]}), "text must be a string"),
        (always({"predictions": [{"text": "a", "score": None}]}), "TypeError"),
        (always(b'{"predictions": [{"text": "a", "score": 1' + b"0" * 400 + b"}]}"), "OverflowError"),
        (always([]), "TypeError"),
    ],
)
def test_replies_of_other_servers(act, message, waits):
    with serving(act) as (_, caller), pytest.raises(ServingError, match=message):
        caller.generate("one")


# === Deadlines ===

OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "act",
    [
        silence,
        trickle(OK + b"Content-Length: 100000\r\n\r\n", b" "),
        trickle(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        trickle(OK + b"X-Long: ", b"x"),
    ],
    ids=["silence", "body", "chunks", "head"],
)
def test_deadline(act):
    with serving(act, deadline=0.15) as (_, caller):
        start = time.monotonic()
        with pytest.raises(DeadlineExceeded, match="within the deadline of 0.15 s.*deadline=0.3") as raised:
            caller.generate("one")
        assert 0.1 < time.monotonic() - start < 0.5
    assert isinstance(raised.value, ServingError) and isinstance(raised.value, TimeoutError)


def test_an_abandoned_call_stops():
    """Neither does it read an endless reply, nor send further requests."""
    with serving(trickle(OK + b"\r\n", b" " * 100_000, pause=0.001), deadline=0.1, batch_size=1) as (server, caller):
        with pytest.raises(DeadlineExceeded):
            caller.generate(["one", "two"])
        time.sleep(0.1)
        sent = server.sent
        time.sleep(0.1)
        assert server.sent == sent > 0 and len(server.requests) == 1
    with serving(failure(503), deadline=0.1) as (server, caller):
        with pytest.raises(DeadlineExceeded):
            caller.generate("one")
        assert len(server.requests) == 2


def test_the_deadline_includes_all_batches():
    with serving(slow, deadline=0.2, batch_size=1) as (server, caller):
        with pytest.raises(DeadlineExceeded):
            caller.generate(["one"] * 10)
        assert len(server.requests) < 6
        assert caller.generate(["one", "two"]) == ["ONE", "TWO"]  # The next call has its own.


# === Arguments ===


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"url": "localhost:8501"}, "url must be an address .*Received: url='localhost:8501'"),
        ({"url": "ftp://localhost"}, "url must be"),
        ({"url": "http://:8501"}, "url must be"),
        ({"url": "http://localhost:port"}, "url must be"),
        ({"url": "http://exa mple.com"}, "url must be"),
        ({"url": "http://localhost/?x=1#f"}, "url must be"),
        ({"url": "http://me:secret@localhost:8501"}, "Received: url='http://...@localhost:8501'"),
        ({"url": None}, "url must be"),
        ({"headers": {"Authorization": 3}}, "headers must be a dict from str to str"),
        ({"headers": "Bearer"}, "headers must be a dict from str to str"),
        ({"model": ""}, "model must be the name"),
        ({"model": 3}, "model must be the name"),
        ({"label": ""}, "label must be the label of a version. Received: label=''"),
        ({"deadline": 0}, "deadline must be a positive number of seconds. Received: deadline=0"),
        ({"deadline": float("inf")}, "deadline must be"),
        ({"deadline": None}, "deadline must be"),
        ({"batch_size": 0}, "batch_size must be a positive integer. Received: batch_size=0"),
        ({"batch_size": 1.5}, "batch_size must be a positive integer"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Client(**{"url": "http://localhost:8501", "model": "upper", **arguments})


@pytest.mark.parametrize("sources", [None, 3, ["a", 3], [["a"]], [None], [bytearray(b"a")]])
def test_bad_sources(sources):
    with serving(success) as (server, caller):
        with pytest.raises(ValueError, match="sources must be .*str or bytes.* Received: "):
            caller.generate(sources)
    assert server.requests == []
