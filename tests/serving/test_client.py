"""The client against servers that fail in ways which the test chooses."""

import base64
import concurrent.futures
import contextlib
import dataclasses
import email.utils
import http.server
import json
import pickle
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


def upper(value):
    """What the test's model makes of one row: the text in capitals, and its length as the score."""
    text = base64.b64decode(value["b64"]).decode("utf-8", "replace") if isinstance(value, dict) else value
    return {"text": text.upper(), "score": float(len(text))}


def success(handler, document):
    reply(handler, 200, {"predictions": [upper(value) for value in document["instances"]]})


def reply(handler, code, document, **headers):
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    handler.send_response(code)
    for name, value in {"Content-Length": str(len(content)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(content)


def always(document, code=200, **headers):
    return lambda handler, _: reply(handler, code, document, **headers)


def failure(code, error="not now", **headers):
    return always({"error": error}, code, **headers)


class Server(http.server.ThreadingHTTPServer):
    """Answers request after request as `script` says, and then always by its last entry; notes what it was asked."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, *script):
        super().__init__(("127.0.0.1", 0), Handler)
        self.script, self.lock = list(script), threading.Lock()
        self.requests, self.times, self.connections = [], [], set()
        self.stopped = threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, address):
        pass  # A client that has given up.


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        document = json.loads(body) if body else None
        with self.server.lock:
            self.server.times.append(time.monotonic())
            self.server.requests.append((self.command, self.path, document))
            self.server.connections.add(self.client_address)
            act = self.server.script[0] if len(self.server.script) == 1 else self.server.script.pop(0)
        act(self, document)

    do_GET = do_POST = handle_any

    def log_message(self, *arguments):
        pass


@contextlib.contextmanager
def serving(*script, **arguments):
    """A server and a client of its model `upper`."""
    with Server(*script) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            with Client(server.url, "upper", **arguments) as client:
                yield server, client
        finally:
            server.stopped.set()
            server.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(client, "FIRST_WAIT", 0.02)


# === Requests and answers ===


def test_one_or_many_sources():
    with serving(success) as (server, client):
        assert client.generate("one") == "ONE"
        assert client.generate(b"one") == "ONE"
        assert client.generate(["one", "two"]) == ["ONE", "TWO"]
        assert client.generate(("one",), signature="greedy") == ["ONE"]
        assert client.answers("four") == Answer("FOUR", 4.0)
        assert client.answers(["four", ""]) == [Answer("FOUR", 4.0), Answer("", 0.0)]
    assert server.requests[0] == (
        "POST",
        "/v1/models/upper:predict",
        {"signature_name": "serving_default", "instances": ["one"]},
    )
    assert [document["signature_name"] for _, _, document in server.requests].count("greedy") == 1


def test_an_empty_list_makes_no_request():
    with serving(success) as (server, client):
        assert client.generate([]) == client.answers([]) == client.nbest([]) == client.attention([]) == []
    assert server.requests == []


@pytest.mark.parametrize(
    ("source", "bytes_sent"),
    [
        (b"plain", b"plain"),
        (b"\xff\x00\xfe", b"\xff\x00\xfe"),
        ("\ud83d alone", b"\xed\xa0\xbd alone"),
        (b"", b""),
    ],
)
def test_bytes_are_sent_in_base64(source, bytes_sent):
    with serving(success) as (server, client):
        client.generate([source])
    ((_, _, document),) = server.requests
    assert document["instances"] == [{"b64": base64.b64encode(bytes_sent).decode()}]


@pytest.mark.parametrize("source", ["", "a\0b", 'ж 👍🏽 \u2028 " \\ \n', "x" * 100_000])
def test_text_is_sent_as_it_is(source):
    with serving(success) as (server, client):
        assert client.generate(source) == source.upper()
    assert server.requests[0][2]["instances"] == [source]


def test_batches_keep_the_order():
    sources = [f"source {number}" for number in range(70)]
    with serving(success) as (server, client):
        assert client.generate(sources) == [source.upper() for source in sources]
        assert [len(document["instances"]) for _, _, document in server.requests] == [32, 32, 6]
        assert len(server.connections) == 1  # It is kept.
    with serving(success, batch_size=1) as (server, client):
        client.generate(sources[:3])
        assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ({}, "/v1/models/a%2Fb%20%C3%A9"),
        ({"label": "stable"}, "/v1/models/a%2Fb%20%C3%A9/labels/stable"),
        ({"version": 7}, "/v1/models/a%2Fb%20%C3%A9/versions/7"),
    ],
)
def test_paths(arguments, path):
    with serving(success) as (server, _), Client(f"{server.url}/", "a/b é", **arguments) as client:
        client.generate("one")
    assert server.requests[0][1] == f"{path}:predict"


def test_headers_go_with_every_request():
    def needs_token(handler, document):
        if handler.headers.get("Authorization") == "Bearer token":
            success(handler, document)
        else:
            reply(handler, 401, {"error": "who are you"})

    with serving(needs_token, headers={"Authorization": "Bearer token"}) as (_, client):
        assert client.generate(["one", "two"]) == ["ONE", "TWO"]
    with serving(needs_token) as (_, client), pytest.raises(RequestRefused, match=r"headers=\{'Authorization'"):
        client.generate("one")


def test_problems_of_sources():
    document = {"predictions": [{"text": "", "score": -1.0, "problem": "not a WAV file"}]}
    with serving(always(document)) as (_, client):
        assert client.answers(b"RIFF") == Answer("", -1.0, problem="not a WAV file")


def test_a_failing_batch_is_named():
    with serving(success, failure(500, "boom"), batch_size=2) as (_, client):
        with pytest.raises(RequestRefused, match="boom") as raised:
            client.generate(["a", "b", "c", "d", "e"])
    assert raised.value.__notes__ == ["The sources are those from 2 to 3 of 5."]


def test_nbest():
    row = {"text": ["Merci.", "Je vous remercie."], "score": [-0.5, -1]}
    with serving(always({"predictions": [row]})) as (server, client):
        expected = [("Merci.", -0.5), ("Je vous remercie.", -1.0)]
        assert client.nbest("Thanks.") == expected and client.nbest(["Thanks."]) == [expected]
    assert server.requests[0][2]["signature_name"] == "nbest"


def test_attention_without_padding():
    row = {
        "text": "a", "score": -1.5, "source_tokens": ["x", "", "</s>", "", ""], "target_tokens": ["a", "</s>", ""],
        "attention": [[0.5, 0.25, 0.25, 0, 0], [1, 0, 0, 0, 0], [9, 9, 9, 9, 9]],
    }  # fmt: skip
    more = {
        "attention_heads": [row["attention"], row["attention"]],
        "generation_probability": [0.5, 1, 9],
        "ignored_tokens": 2,
    }
    attention = [[0.5, 0.25, 0.25], [1, 0, 0]]
    expected = AttentionAnswer("a", -1.5, ["x", "", "</s>"], ["a", "</s>"], attention)
    expected_more = dataclasses.replace(
        expected, attention_heads=[attention, attention], generation_probability=[0.5, 1], ignored_tokens=2
    )
    for document, answer in [(row, expected), ({**row, **more}, expected_more)]:
        with serving(always({"predictions": [document]})) as (server, client):
            assert client.attention("x") == answer and client.attention(["x"]) == [answer]
        assert server.requests[0][2]["signature_name"] == "attention"


def test_status():
    entries = [
        {"version": "10", "state": "LOADING", "status": {"error_code": "OK", "error_message": ""}},
        {"version": "9", "state": "END", "status": {"error_code": "NOT_FOUND", "error_message": "no file"}},
    ]
    with serving(always({"model_version_status": entries}), version=9) as (server, client):
        assert client.status() == [VersionStatus(9, "END", "no file"), VersionStatus(10, "LOADING", "")]
    assert server.requests == [("GET", "/v1/models/upper", None)]


def test_bytes_of_a_reply_that_are_no_text():
    content = b'{"predictions": [{"text": "a\xff", "score": NaN}]}'
    with serving(always(content)) as (_, client):
        answer = client.answers("a")
    assert answer.text == "a\ufffd" and answer.score != answer.score


def test_threads_share_a_client():
    def slow(handler, document):
        time.sleep(0.01)
        success(handler, document)

    with serving(slow, batch_size=2) as (server, client):
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            calls = [[f"{thread} {number}" for number in range(5)] for thread in range(40)]
            assert list(pool.map(client.generate, calls)) == [[text.upper() for text in call] for call in calls]
        assert len(server.requests) == 120
        assert len(server.connections) <= 8  # Each thread takes one that is kept, and makes one only if all are in use.


# === Failures ===


@pytest.mark.parametrize("code", [429, 502, 503])
def test_retries(code):
    with serving(failure(code), failure(code), success) as (server, client):
        assert client.generate("one") == "ONE"
        assert len(server.requests) == 3 and len(server.connections) == 1


def test_each_batch_has_its_retries():
    with serving(failure(503), success, failure(503), success, retries=1, batch_size=1) as (server, client):
        assert client.generate(["one", "two"]) == ["ONE", "TWO"]


def test_waits_grow(monkeypatch):
    monkeypatch.setattr(client, "FIRST_WAIT", 0.1)
    with serving(failure(503), failure(503), success) as (server, connected):
        connected.generate("one")
    first, second = (later - earlier for earlier, later in zip(server.times, server.times[1:], strict=False))
    assert 0.05 <= first and 0.1 <= second


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after(as_date):
    # A date has whole seconds: two of them are more than one from now.
    value = email.utils.formatdate(time.time() + 2, usegmt=True) if as_date else "1"
    with serving(failure(503, Retry_After=value), success) as (server, client):
        assert client.generate("one") == "ONE"
    assert server.times[1] - server.times[0] > 0.95


def test_a_wait_beyond_the_deadline_is_not_begun():
    with serving(failure(503, "busy", Retry_After="60"), deadline=5) as (server, client):
        start = time.monotonic()
        with pytest.raises(DeadlineExceeded, match="next try would be in 60.0 s, after the deadline of 5 s.*busy"):
            client.generate("one")
        assert time.monotonic() - start < 1 and len(server.requests) == 1


@pytest.mark.parametrize(("code", "tries"), [(400, 1), (404, 1), (413, 1), (500, 1), (501, 1), (302, 1), (503, 3)])
def test_refusals(code, tries):
    with serving(failure(code, "its own text"), retries=2) as (server, client):
        with pytest.raises(
            RequestRefused, match=f"upper:predict answered with the code {code}: its own text"
        ) as raised:
            client.generate("one")
        assert (raised.value.status_code, raised.value.error) == (code, "its own text")
        assert len(server.requests) == tries
    copied = pickle.loads(pickle.dumps(raised.value))
    assert (str(copied), copied.status_code, copied.error) == (str(raised.value), code, "its own text")


@pytest.mark.parametrize(
    ("code", "error", "advice"),
    [
        (404, "Servable not found for request: Latest(upper)", r"client.status\(\).*--model_name"),
        (400, 'Serving signature name: "x" not found', "GET http://.*/v1/models/upper/labels/new/metadata shows"),
        (400, "Unrecognized servable version label: new", "version_labels.*--model_config_file"),
        (400, "Task size 100 is larger than maximum input batch size 64", r"batch_size=32\).*max_batch_size"),
        (403, "no", r"headers=\{'Authorization'"),
    ],
)
def test_refusals_say_what_to_do(code, error, advice):
    with serving(failure(code, error), label="new") as (_, client):
        with pytest.raises(RequestRefused, match=advice):
            client.generate("one")


@pytest.mark.parametrize(
    "act",
    [
        always(b"[" * 200_000),
        always(b"[" * 200_000, code=500),
        always(b'{"predictions": [{"text": "a", "score": 1' + b"0" * 400 + b"}]}"),
        always({"predictions": [{"text": "a", "score": True}]}),
        always({"error": "moved"}, code=302, Location="http://["),
        failure(503, Retry_After="Mon, 01 Jan 2027 00:00:00 +99999999999999999999"),
        always(b"[]", Content_Length="5, 6"),
    ],
)
def test_replies_of_no_server_have_an_error_of_the_client(act):
    with serving(act, retries=0) as (_, client), pytest.raises(ServingError):
        client.generate("one")


def test_redirections_are_not_read(monkeypatch):
    """A body without end costs nothing: the code alone is looked at, after at most LONGEST_REPLY bytes."""
    monkeypatch.setattr(client, "LONGEST_REPLY", 1 << 20)
    sent = []

    def endless(handler, document):
        handler.send_response(302)
        handler.send_header("Location", "http://localhost:1/")
        handler.end_headers()
        with contextlib.suppress(OSError):
            while not handler.server.stopped.is_set():
                sent.append(handler.wfile.write(b" " * 65_536))

    with serving(endless) as (_, caller), pytest.raises(ServingError, match="more than 1048576 bytes"):
        caller.generate("one")
    assert sum(sent) < 1 << 26


def test_hypotheses_that_a_search_did_not_find():
    document = {"predictions": [{"text": ["a", "", ""], "score": [-0.5, -1e9, -1e9]}]}
    with serving(always(document)) as (_, client):
        assert client.nbest("one") == [("a", -0.5)]


def test_tokens_that_were_not_read():
    document = {"predictions": [{"text": "a", "score": -1.0, "ignored_tokens": 876}]}
    with serving(always(document)) as (_, client):
        assert client.answers("one").ignored_tokens == 876


def test_a_refusal_without_json():
    with serving(always(b"<html>Not here</html>", 404)) as (_, client):
        with pytest.raises(RequestRefused, match="code 404: <html>Not here</html>"):
            client.status()


def test_a_connection_that_never_comes_about_is_tried_again(monkeypatch):
    """A server whose queue of connections is full answers nothing, until it has room again."""
    monkeypatch.setattr("kerasseq.serving.client.CONNECTION_WAIT", 0.2)
    with socket.socket() as full, contextlib.ExitStack() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            connection = waiting.enter_context(socket.socket())
            connection.setblocking(False)
            connection.connect_ex(full.getsockname())
        with Client(f"http://127.0.0.1:{full.getsockname()[1]}", "upper", retries=2, deadline=20) as client:
            start = time.monotonic()
            with pytest.raises(ServerUnreachable, match="No connection to .* after 3 tries"):
                client.generate("one")
    assert 0.6 <= time.monotonic() - start < 10


def test_nobody_listens():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    with Client(url, "upper", retries=1) as client:
        with pytest.raises(ServerUnreachable, match="No connection to .* after 2 tries.*--rest_api_port") as raised:
            client.generate("one")
    assert isinstance(raised.value, ServingError) and isinstance(raised.value, ConnectionError)


def test_a_server_that_hangs_up():
    def hang_up(handler, document):
        handler.close_connection = True

    def break_off(handler, document):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b'{"predictions": ')
        handler.close_connection = True

    with serving(hang_up, break_off, success) as (server, client):
        assert client.generate("one") == "ONE"
        assert len(server.requests) == 3
    with serving(break_off, retries=0) as (_, client), pytest.raises(ServerUnreachable, match="broke off"):
        client.generate("one")


def silence(handler, document):
    handler.server.stopped.wait()
    handler.close_connection = True


def trickle(handler, content):
    for place in range(len(content)):
        if handler.server.stopped.wait(0.02):
            break
        handler.wfile.write(content[place : place + 1])
        handler.wfile.flush()
    handler.close_connection = True


def trickled_body(handler, document):
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    trickle(handler, b" " * 100_000)


def trickled_chunks(handler, document):
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    trickle(handler, b"1\r\n \r\n" * 10_000)


def trickled_head(handler, document):
    trickle(handler, b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 10_000)


@pytest.mark.parametrize("act", [silence, trickled_body, trickled_chunks, trickled_head])
def test_deadline(act):
    with serving(act, deadline=0.3) as (_, client):
        start = time.monotonic()
        with pytest.raises(DeadlineExceeded, match="within the deadline of 0.3 s.*deadline=0.6") as raised:
            client.generate("one")
        assert 0.25 < time.monotonic() - start < 0.6
    assert isinstance(raised.value, ServingError) and isinstance(raised.value, TimeoutError)


def test_the_deadline_is_for_all_batches():
    def slow(handler, document):
        time.sleep(0.1)
        success(handler, document)

    with serving(slow, deadline=0.35, batch_size=1) as (server, client):
        start = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            client.generate(["one"] * 10)
        assert time.monotonic() - start < 0.6
        assert client.generate(["one", "two"]) == ["ONE", "TWO"]  # The next call has its own.


def test_slow_but_in_time():
    content = json.dumps({"predictions": [upper("one")]}).encode()

    def slow(handler, document):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        for start in range(0, len(content), 8):
            handler.wfile.write(content[start : start + 8])
            time.sleep(0.01)

    with serving(slow, deadline=5) as (_, client):
        assert client.generate("one") == "ONE"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"<html>Hello</html>", "The reply is no JSON .*Received: <html>Hello</html>. Check that the address"),
        ({"outputs": []}, "not that of a model exported by kerasseq.*KeyError: 'predictions'"),
        ({"predictions": []}, "0 rows for 1 sources"),
        ({"predictions": [1.0]}, "not that of a model exported by kerasseq"),
        ({"predictions": [{"text": "a"}]}, "KeyError: 'score'"),
        ({"predictions": [{"text": ["a"], "score": [1.0]}]}, "the text is no string"),
        ({"predictions": [{"text": "a", "score": None}]}, "the score is no number"),
        ([], "TypeError"),
    ],
)
def test_replies_that_make_no_sense(document, message):
    with serving(always(document)) as (_, client):
        with pytest.raises(ServingError, match=message):
            client.generate("one")


# === Arguments ===


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"url": "localhost:8501"}, "url must be http://.*Received: url='localhost:8501'"),
        ({"url": "ftp://localhost"}, "url must be"),
        ({"url": "http://:8501"}, "url must be"),
        ({"url": "http://localhost:port"}, "url must be"),
        ({"url": 8501}, "url must be"),
        ({"url": "http://localhost:99999"}, "url must be"),
        ({"url": "http://exa mple.com"}, "url must be"),
        ({"url": "http://a..b"}, "url must be"),
        ({"url": "http://localhost/?x=1#f"}, "url must be"),
        ({"url": "http://me:secret@localhost:8501"}, "credentials go into headers. Received: url='...@localhost:8501'"),
        ({"headers": {"Authorization": 3}}, "headers must be a dict from str to str. Received: a dict"),
        ({"headers": "Bearer"}, "headers must be a dict from str to str. Received: a str"),
        ({"url": None}, "url must be"),
        ({"model": ""}, "model must be the name"),
        ({"model": 3}, "model must be the name"),
        ({"label": ""}, "label must be"),
        ({"label": "stable", "version": 1}, "Either a label or a version.*label='stable', version=1"),
        ({"version": "1"}, "version must be an integer of at least 0. Received: version='1'"),
        ({"version": True}, "version must be"),
        ({"deadline": 0}, "deadline must be a positive number of seconds. Received: deadline=0"),
        ({"deadline": float("inf")}, "deadline must be"),
        ({"deadline": None}, "deadline must be"),
        ({"retries": None}, "retries must be an integer of at least 0. Received: retries=None"),
        ({"retries": -1}, "retries must be an integer of at least 0"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Client(**{"url": "http://localhost:8501", "model": "upper", **arguments})


@pytest.mark.parametrize("sources", [None, 3, ["a", 3], [["a"]], [None], [bytearray(b"a")]])
def test_bad_sources(sources):
    with serving(success) as (server, client):
        with pytest.raises(ValueError, match="must be .*str or bytes.* Received: "):
            client.generate(sources)
        with pytest.raises(ValueError, match="signature must be .*Received: signature=None"):
            client.generate("a", signature=None)
    assert server.requests == []


def test_a_closed_client():
    with serving(success) as (_, client):
        assert client.generate("one") == "ONE"
        client.close()
        client.close()
        with pytest.raises(ValueError, match="The client is closed"):
            client.generate("one")
