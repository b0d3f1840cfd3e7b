"""A client of exported models in TensorFlow Serving, over its REST API.

The file needs nothing but Python and `requests` (with urllib3 2.1 or newer): copied, it works on machines without
TensorFlow and without kerasseq.
"""

import base64
import concurrent.futures
import contextlib
import dataclasses
import datetime
import email.utils
import json
import math
import random
import threading
import time
import urllib.parse

import requests

# Codes of a server, or of a proxy before it, that will soon do better. Not 504: the server may still be at work on the
# request that took too long.
RETRIED = (429, 502, 503)
CONNECTION_WAIT = 3.0  # seconds for a connection to come about, at most
FIRST_WAIT, LONGEST_WAIT = 0.1, 5.0  # seconds between two tries
CHUNK = 65_536  # bytes of a reply read at once, at most
LONGEST_REPLY = 1 << 28  # bytes
NO_HYPOTHESIS = -5e8  # Scores below are of no hypothesis: a search may find fewer than it could.
SHOWN = 500  # characters of a reply in the text of an error

NEEDS_CREDENTIALS = "Give what the proxy asks for: Client(..., headers={{'Authorization': 'Bearer ...'}})."
# What to do about a refusal, by its code.
ADVICE = {
    401: NEEDS_CREDENTIALS,
    403: NEEDS_CREDENTIALS,
    400: "GET {url}/metadata shows the model's signatures and their inputs.",
    404: (
        "client.status() shows the versions of a model that are loaded. Models, versions and labels are named where "
        "the server is started: --model_name, or --model_config_file."
    ),
    413: "Send fewer or shorter sources at once: Client(..., batch_size=8).",
    429: "Send less at once, or give it more tries: Client(..., retries=10).",
    503: "Look at client.status() and the server's log, or give it more tries: Client(..., retries=10).",
    504: "Send fewer sources at once: Client(..., batch_size=8).",
}
ADVICE_FOR_LABELS = (
    "Labels are given by `version_labels` in the server's --model_config_file; without them the server knows none."
)
ADVICE_FOR_SIZES = "Send fewer sources at once: Client(..., batch_size=32), or what the server's max_batch_size says."
ADVICE_BY_TEXT = {"version label": ADVICE_FOR_LABELS, "batch size": ADVICE_FOR_SIZES}


# === Errors ===


class ServingError(Exception):
    """A call of a model server failed; also raised as it is for replies that make no sense."""


class DeadlineExceeded(ServingError, TimeoutError):
    """The call did not end within its deadline."""


class ServerUnreachable(ServingError, ConnectionError):
    """No connection to the server came about, or none lasted."""


class RequestRefused(ServingError):
    """The server answered, with an error.

    Attributes:
        status_code: int, HTTP's code.
        error: str, the server's own text.
    """

    def __init__(self, message, status_code=None, error=None):
        super().__init__(message)
        self.status_code = status_code
        self.error = error


# === Answers ===


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the model made of one source.

    Attributes:
        text: str.
        score: float, the sampler's score of the text.
        problem: str, what is wrong with a sound or an image, such as that it is none; empty if nothing is.
        ignored_tokens: int, how many tokens of the source were not read, or `None` where the model does not say.
    """

    text: str
    score: float
    problem: str = dataclasses.field(default="", kw_only=True)
    ignored_tokens: int | None = dataclasses.field(default=None, kw_only=True)


@dataclasses.dataclass(frozen=True)
class AttentionAnswer(Answer):
    """An answer with its tokens, and what the model looked at for each of them; without padding.

    Attributes:
        text: str.
        score: float.
        problem, ignored_tokens: as in `Answer`.
        source_tokens: list of str, END included.
        target_tokens: list of str, END included where the text has ended.
        attention: list of one list of floats for each target token, one float for each source token.
        attention_heads: list of such matrices, one for each head, or `None` for a model without several heads.
        generation_probability: list of floats, how likely each target token was generated and not copied, or `None` for
            a model that does not copy.
    """

    source_tokens: list
    target_tokens: list
    attention: list
    attention_heads: list | None = None
    generation_probability: list | None = None


@dataclasses.dataclass(frozen=True)
class VersionStatus:
    """How one version of a model is.

    Attributes:
        version: int.
        state: str: `"START"`, `"LOADING"`, `"AVAILABLE"`, `"UNLOADING"` or `"END"`.
        error: str, why it could not be loaded; empty if all is well.
    """

    version: int
    state: str
    error: str


# === Client ===


class Client:
    """Calls an exported model in TensorFlow Serving.

    Every method is one call, with one deadline. A try that fails because there is no connection, or with the codes 429,
    502 or 503, is made again after a growing, random wait; a model gives the same answer for the same source, so
    nothing can happen twice. Several threads may share a client: connections are kept, and one thread at a time has
    each of them. `close`, or the end of a `with` block, closes them.

    Args:
        url: str, the server's REST address, such as `"http://localhost:8501"`.
        model: str, the name under which the server knows the model.
        label: str, the label of a version, such as `"stable"`. Default: the version, or the latest one.
        version: int, the number of a version. Default: the one with the label, or the latest one.
        deadline: float, the most seconds a whole call may take, tries, waits, and all batches included.
        retries: int, the most tries after the first, for each batch.
        batch_size: int, the most sources in one request. A call gives all answers or, if a batch fails, none.
        headers: dict of str, sent with every request, such as `{"Authorization": "Bearer ..."}` for a proxy. (Names of
            files with certificates are read from the variable `REQUESTS_CA_BUNDLE`.)

    Raises:
        ValueError: if an argument is none of these, or both a label and a version are given.

    Example:

    ```python
    with Client("http://localhost:8501", "translation_en_fr") as client:
        client.generate(["Thank you.", "It's raining."])  # ["Merci.", "Il pleut."]
        client.generate("Thank you.", signature="greedy")  # "Merci."
    ```
    """

    def __init__(self, url, model, label=None, version=None, deadline=30.0, retries=3, batch_size=32, headers=None):
        if not is_address(url):
            raise ValueError(
                "url must be http:// or https:// and a host, such as 'http://localhost:8501', without a user's name; "
                f"credentials go into headers. Received: url={without_credentials(url)!r}."
            )
        if not isinstance(model, str) or not model:
            raise ValueError(f"model must be the name of a served model. Received: model={model!r}.")
        if label is not None and (not isinstance(label, str) or not label):
            raise ValueError(f"label must be the label of a version, such as 'stable'. Received: label={label!r}.")
        if version is not None and label is not None:
            raise ValueError(
                f"Either a label or a version chooses what is called. Received: label={label!r}, version={version!r}."
            )
        if isinstance(deadline, bool) or not isinstance(deadline, (int, float)) or not 0 < deadline < math.inf:
            raise ValueError(f"deadline must be a positive number of seconds. Received: deadline={deadline!r}.")
        numbers = [("retries", retries, 0), ("batch_size", batch_size, 1)]
        for name, number, least in numbers if version is None else [("version", version, 0), *numbers]:
            if isinstance(number, bool) or not isinstance(number, int) or number < least:
                raise ValueError(f"{name} must be an integer of at least {least}. Received: {name}={number!r}.")
        headers = {} if headers is None else headers
        if not isinstance(headers, dict) or not all(isinstance(text, str) for text in [*headers, *headers.values()]):
            raise ValueError(f"headers must be a dict from str to str. Received: a {type(headers).__name__}.")
        self.model, self.label, self.version = model, label, version
        self.deadline, self.retries, self.batch_size = deadline, retries, batch_size
        self.url = f"{url.rstrip('/')}/v1/models/{urllib.parse.quote(model, safe='')}"
        self._sessions = Sessions(headers)

    def generate(self, sources, signature="serving_default"):
        """Generates a text for every source.

        Args:
            sources: list of str, for models that read text, or of bytes, for sounds, images, and texts that need not be
                UTF-8; or a single one.
            signature: str, `"serving_default"` for the sampler that was exported, or `"greedy"`. `nbest` and
                `attention` have methods of their own.

        Returns:
            list of str, in the order of the sources; for a single source not a list but its one text.

        Raises:
            ValueError: if a source is neither str nor bytes, or the client is closed.
            DeadlineExceeded: if the call does not end in time.
            ServerUnreachable: if no try found a server.
            RequestRefused: if the server answers with an error.
            ServingError: if the reply is not that of an exported model.

        Example:

        ```python
        client.generate(["Thank you."])  # ["Merci."]
        ```
        """
        return self._of_each(sources, signature, lambda reply: answer_of(reply).text)

    def answers(self, sources, signature="serving_default"):
        """Generates a text with its score for every source.

        Args:
            sources: as in `generate`.
            signature: as in `generate`.

        Returns:
            list of `Answer`; for a single source its one `Answer`.

        Raises:
            the errors of `generate`.

        Example:

        ```python
        client.answers(["Thank you."])  # [Answer(text="Merci.", score=-0.12, problem="")]
        ```
        """
        return self._of_each(sources, signature, answer_of)

    def nbest(self, sources):
        """The hypotheses that the exported sampler found for every source.

        Args:
            sources: as in `generate`.

        Returns:
            list of lists of (text, score), the best first; for a single source its one list.

        Raises:
            the errors of `generate`.

        Example:

        ```python
        client.nbest("Thank you.")  # [("Merci.", -0.1), ("Je vous remercie.", -1.2)]
        ```
        """
        return self._of_each(sources, "nbest", hypotheses_of)

    def attention(self, sources):
        """Generates a text for every source, with its tokens and the attention behind them.

        Args:
            sources: as in `generate`; long ones are cut, as the model's `attention` signature does.

        Returns:
            list of `AttentionAnswer`; for a single source its one `AttentionAnswer`.

        Raises:
            the errors of `generate`; `RequestRefused` for a model without attention.

        Example:

        ```python
        answer = client.attention("Thank you.")
        len(answer.attention) == len(answer.target_tokens)  # True
        ```
        """
        return self._of_each(sources, "attention", attention_answer_of)

    def status(self):
        """Which versions of the model the server has, whatever version or label the client calls.

        Returns:
            list of `VersionStatus`, by version.

        Raises:
            the errors of `generate`; `RequestRefused` with the code 404 for a model that the server does not know.

        Example:

        ```python
        client.status()  # [VersionStatus(version=1, state="AVAILABLE", error="")]
        ```
        """
        reply = self._call("GET", self.url, Clock(self.deadline))
        with understood(reply):
            versions = [
                VersionStatus(int(entry["version"]), entry["state"], entry.get("status", {}).get("error_message", ""))
                for entry in reply["model_version_status"]
            ]
        return sorted(versions, key=lambda status: status.version)

    def close(self):
        """Closes the connections. A closed client makes no more calls."""
        self._sessions.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    # === Predict ===

    def _of_each(self, sources, signature, read):
        """What `read` makes of the reply for each source; of one source alone, if it came alone."""
        if not isinstance(signature, str) or not signature:
            raise ValueError(f"signature must be the name of a signature. Received: signature={signature!r}.")
        alone = isinstance(sources, (str, bytes))
        try:
            values = [json_value(source) for source in ([sources] if alone else sources)]
        except TypeError:
            raise ValueError(
                f"sources must be a list of str or bytes, or a single one. Received: {shown(sources)}."
            ) from None
        clock = Clock(self.deadline)
        results = []
        for start in range(0, len(values), self.batch_size):
            rows = values[start : start + self.batch_size]
            try:
                reply = self._call("POST", f"{self._chosen_url()}:predict", clock, request_body(rows, signature))
            except ServingError as error:
                if len(values) > self.batch_size:
                    error.add_note(f"The sources are those from {start} to {start + len(rows) - 1} of {len(values)}.")
                raise
            with understood(reply):
                predictions = reply["predictions"]
                if len(predictions) != len(rows):
                    raise ValueError(f"{len(predictions)} rows for {len(rows)} sources")
                results.extend(read(prediction) for prediction in predictions)
        return results[0] if alone else results

    def _chosen_url(self):
        if self.label is not None:
            return f"{self.url}/labels/{urllib.parse.quote(self.label, safe='')}"
        return self.url if self.version is None else f"{self.url}/versions/{self.version}"

    # === Tries ===

    def _call(self, method, url, clock, body=None):
        """The JSON of the server's reply, after as many tries as it takes."""
        self._sessions.check_open()
        for tries in range(self.retries + 1):
            try:
                reply = self._sessions.exchange(method, url, clock, body)
                if reply.status_code == 200:
                    return parsed(reply)
                failure = self._refusal(reply, url)
                if reply.status_code not in RETRIED:
                    raise failure
                asked_wait = retry_after(reply.headers)
            except requests.Timeout as error:
                if isinstance(error, requests.ConnectTimeout) and clock.remaining() > 0:
                    failure, asked_wait = self._unreachable(error, url, tries), 0.0
                else:
                    raise self._too_late(url, tries) from error
            except requests.ConnectionError as error:
                failure, asked_wait = self._unreachable(error, url, tries), 0.0
            except (requests.RequestException, ValueError) as error:  # ValueErrors are those of urllib3.
                raise ServingError(
                    f"{url} did not answer as HTTP servers do ({type(error).__name__}: {error}). Check that the "
                    "address is that of TensorFlow Serving's REST API."
                ) from error
            if tries == self.retries:
                raise failure
            wait = max(asked_wait, min(FIRST_WAIT * 2**tries, LONGEST_WAIT) * random.uniform(0.5, 1.0))
            if wait >= clock.remaining():
                raise DeadlineExceeded(
                    f"The next try would be in {wait:.1f} s, after the deadline of {self.deadline} s. The last one, of "
                    f"{count(tries + 1, 'try', 'tries')}, failed: {failure}"
                ) from failure
            time.sleep(wait)

    def _too_late(self, url, tries):
        return DeadlineExceeded(
            f"{url} did not answer within the deadline of {self.deadline} s, after {count(tries + 1, 'try', 'tries')}. "
            f"Send fewer sources, or wait longer: Client(..., deadline={2 * self.deadline})."
        )

    def _unreachable(self, error, url, tries):
        failure = ServerUnreachable(
            f"No connection to {url} after {count(tries + 1, 'try', 'tries')}: {error}. Check that the server "
            "runs, and that the address has its REST port (--rest_api_port; 8501 in the Docker image)."
        )
        failure.__cause__ = error
        return failure

    def _refusal(self, reply, url):
        try:
            error = str(json.loads(reply.text)["error"])
        except (ValueError, KeyError, TypeError, RecursionError):
            error = shown(reply.text) if reply.text else "no text"
        advice = ADVICE.get(reply.status_code, "")
        advice = next((special for text, special in ADVICE_BY_TEXT.items() if text in error), advice)
        message = f"{url} answered with the code {reply.status_code}: {error.rstrip().removesuffix('.')}. "
        return RequestRefused((message + advice.format(url=self._chosen_url())).strip(), reply.status_code, error)


# === Requests ===


def is_address(url):
    """Whether it is the address of a host, with no or with a possible port."""
    try:
        parts = urllib.parse.urlsplit(url)
        requests.Request("GET", url).prepare()
        parts.hostname.encode("idna")
        whole = parts.scheme in ("http", "https") and parts.port != 0
        return whole and not ("@" in parts.netloc or parts.query or parts.fragment)
    except (AttributeError, TypeError, ValueError):
        return False


def json_value(source):
    """A source as JSON: text as it is, bytes in base64, as text with half of a surrogate pair, which is no UTF-8."""
    if isinstance(source, str):
        try:
            source.encode("utf-8")
            return source
        except UnicodeEncodeError:
            source = source.encode("utf-8", "surrogatepass")
    if not isinstance(source, bytes):
        raise ValueError(f"A source must be str or bytes. Received: {shown(source)}.")
    return {"b64": base64.b64encode(source).decode("ascii")}


def without_credentials(url):
    """An address for the text of an error: what stands before an @ may be a password."""
    return url if not isinstance(url, str) or "@" not in url else "..." + url[url.rindex("@") :]


def request_body(rows, signature):
    document = {"signature_name": signature, "instances": rows}
    return json.dumps(document, ensure_ascii=False).encode("utf-8")


class Clock:
    """Counts down the seconds of a call."""

    def __init__(self, seconds):
        self._end = time.monotonic() + seconds

    def remaining(self):
        return self._end - time.monotonic()


@dataclasses.dataclass
class Reply:
    status_code: int
    headers: dict
    text: str


class Session(requests.Session):
    """Follows no redirections: `requests` reads the bodies of those that it is not to follow, however long."""

    def resolve_redirects(self, *arguments, **keywords):
        return iter(())


class Sessions:
    """Sessions of `requests`, each in one thread at a time: they are not made for several."""

    def __init__(self, headers):
        self._headers = headers
        self._lock = threading.Lock()
        self._idle = []
        self._closed = False

    def exchange(self, method, url, clock, body):
        """Sends one request and returns the reply, or raises a `requests.RequestException`.

        The work is done in another thread, which is left to itself when the time is over: looking up a name, and what a
        server trickles before the body, cannot be interrupted.
        """
        future = concurrent.futures.Future()

        def work():
            try:
                future.set_result(self._exchange(method, url, clock, body))
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=work, daemon=True).start()
        try:
            return future.result(timeout=max(clock.remaining(), 0.0))
        except concurrent.futures.TimeoutError as error:
            raise requests.Timeout("The deadline has passed") from error

    def _exchange(self, method, url, clock, body):
        session = self._take()
        try:
            headers = {**({"Content-Type": "application/json"} if body else {}), **self._headers}
            seconds = max(clock.remaining(), 0.001)
            timeout = (min(seconds, CONNECTION_WAIT), seconds)
            with session.request(
                method, url, data=body, headers=headers, timeout=timeout, stream=True, allow_redirects=False
            ) as response:
                # A server does not check that strings are UTF-8.
                text = read_body(response, clock).decode("utf-8", "replace")
                reply = Reply(response.status_code, response.headers, text)
        except BaseException:
            session.close()
            raise
        self._give_back(session)
        return reply

    def _take(self):
        with self._lock:
            return self._idle.pop() if self._idle else Session()

    def _give_back(self, session):
        with self._lock:
            if not self._closed:
                self._idle.append(session)
                return
        session.close()

    def check_open(self):
        if self._closed:
            raise ValueError("The client is closed, and makes no more calls. Make a new one: Client(url, model).")

    def close(self):
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for session in idle:
            session.close()


def read_body(response, clock):
    """The body of a response, with a look at the clock whenever something has come."""
    pieces, size = [], 0
    while True:
        try:
            piece = response.raw.read1(CHUNK, decode_content=True)
        except Exception as error:  # Of urllib3's own kinds, which requests does not translate here.
            if clock.remaining() <= 0:
                raise requests.Timeout(str(error)) from error
            raise requests.ConnectionError(f"the reply broke off: {error}") from error
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)
        size += len(piece)
        if size > LONGEST_REPLY:
            raise ServingError(f"The reply has more than {LONGEST_REPLY} bytes. Send fewer sources at once.")
        if clock.remaining() <= 0:
            raise requests.Timeout("The deadline has passed")


def retry_after(headers):
    """Seconds to wait, as a server asks for them: a number, or a date."""
    value = headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        date = email.utils.parsedate_to_datetime(value)
        if date.tzinfo is None:
            date = date.replace(tzinfo=datetime.UTC)
        return max(0.0, (date - datetime.datetime.now(datetime.UTC)).total_seconds())
    except (ValueError, ArithmeticError):
        return 0.0


# === Replies ===


@contextlib.contextmanager
def understood(reply):
    """A context for reading a reply: what it lacks becomes a `ServingError` that shows it."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise ServingError(
            f"The reply is not that of a model exported by kerasseq, or of another signature ({type(error).__name__}: "
            f"{error}). Received: {shown(reply)}. Check the name of the model and of the signature."
        ) from error


def parsed(reply):
    try:
        return json.loads(reply.text)
    except (ValueError, RecursionError) as error:
        raise ServingError(
            f"The reply is no JSON ({error}). Received: {shown(reply.text)}. Check that the address is that of "
            "TensorFlow Serving's REST API."
        ) from error


def answer_of(reply):
    (text,), (score,) = texts_of([reply["text"]]), scores_of([reply["score"]])
    (problem,) = texts_of([reply.get("problem", "")])
    return Answer(text, score, problem=problem, ignored_tokens=reply.get("ignored_tokens"))


def hypotheses_of(reply):
    hypotheses = list(zip(texts_of(reply["text"]), scores_of(reply["score"]), strict=True))
    return [hypothesis for hypothesis in hypotheses if hypothesis[1] > NO_HYPOTHESIS] or hypotheses[:1]


def attention_answer_of(reply):
    source_tokens, target_tokens = (without_padding(reply[side]) for side in ("source_tokens", "target_tokens"))
    targets, sources = len(target_tokens), len(source_tokens)

    def cut(matrix):
        return [row[:sources] for row in matrix[:targets]]

    answer = answer_of(reply)
    heads, probability = reply.get("attention_heads"), reply.get("generation_probability")
    return AttentionAnswer(
        text=answer.text,
        score=answer.score,
        problem=answer.problem,
        source_tokens=source_tokens,
        target_tokens=target_tokens,
        attention=cut(reply["attention"]),
        attention_heads=None if heads is None else [cut(matrix) for matrix in heads],
        generation_probability=None if probability is None else probability[:targets],
        ignored_tokens=answer.ignored_tokens,
    )


def without_padding(tokens):
    """The tokens up to the last that is not empty."""
    return tokens[: max((place for place, token in enumerate(tokens, 1) if token), default=0)]


def texts_of(texts):
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("the text is no string")
    return list(texts)


def scores_of(scores):
    if not all(isinstance(score, (int, float)) and not isinstance(score, bool) for score in scores):
        raise TypeError("the score is no number")
    return [float(score) for score in scores]


def shown(value):
    """The beginning of a value."""
    text = value if isinstance(value, str) else f"{type(value).__name__} {value!r}"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def count(number, one, many):
    return f"{number} {one if number == 1 else many}"
