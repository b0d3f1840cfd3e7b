"""Client of exported models in TensorFlow Serving, over its REST API.

The file depends only on Python and `requests` (with urllib3 2.1 or newer): it can be copied to machines without
TensorFlow and without kerasseq.
"""

import base64
import concurrent.futures
import dataclasses
import json
import math
import re
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable
from typing import Any, Self

import requests
import urllib3

Sources = str | bytes | Iterable[str | bytes]

CONNECT_TIMEOUT = 3.0  # seconds
MISSING_HYPOTHESIS = -5e8  # Scores below this mark ranks for which the search found no hypothesis.
QUOTED = 500  # characters of a reply in an error message

ADDRESS = re.compile(r"https?://([\w.-]+|\[[\da-f:.]+\])(:\d{1,5})?(/[\w./~%-]*)?", re.IGNORECASE)
AUTHENTICATE = "Pass the credentials that the proxy asks for: Client(..., headers={'Authorization': 'Bearer ...'})."
SEND_LESS = "Send fewer or shorter sources per request: Client(..., batch_size=8)."
# The next step, by a part of the error message.
ADVICE = {
    "version label": "Labels are defined by `version_labels` in the server's --model_config_file.",
    "batch size": SEND_LESS,
    "status code 400": "GET {url}/metadata lists the model's signatures and their inputs.",
    "status code 401": AUTHENTICATE,
    "status code 403": AUTHENTICATE,
    "status code 404": "Compare client.status() with the server's --model_name or --model_config_file.",
    "status code 413": SEND_LESS,
    "status code 503": "Check client.status() and the server's log.",
    "status code 504": SEND_LESS,
}


# === Errors ===


class ServingError(Exception):
    """A call to a model server failed. Raised directly for replies that do not come from an exported model."""


class DeadlineExceeded(ServingError, TimeoutError):
    """The call did not finish before its deadline."""


class ServerUnreachable(ServingError, ConnectionError):
    """The connection to the server failed or broke."""


class RequestRefused(ServingError):
    """The server answered with an error.

    Attributes:
        status_code: int, the HTTP status code.
        error: str, the server's error message.
    """

    def __init__(self, message: str, status_code: int | None = None, error: str | None = None) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.error = error


# === Answers ===


@dataclasses.dataclass(frozen=True)
class Answer:
    """The model's output for one source.

    Attributes:
        text: str.
        score: float, the score of the text.
        problem: str, why an audio or image source could not be read; empty if it could.
        ignored_tokens: int, number of source tokens beyond the model's limit; `None` if the model does not report it.
    """

    text: str
    score: float
    problem: str = dataclasses.field(default="", kw_only=True)
    ignored_tokens: int | None = dataclasses.field(default=None, kw_only=True)


@dataclasses.dataclass(frozen=True)
class AttentionAnswer(Answer):
    """An answer with its tokens and attention weights, without padding.

    Attributes:
        source_tokens: list of str, END included.
        target_tokens: list of str, END included if the text is complete.
        attention: list of lists of float, one row per target token and one column per source token.
        attention_heads: list of such matrices, one per head, or `None` for models without heads.
        generation_probability: list of float, the probability of generating rather than copying each target token, or
            `None` for models that do not copy.
    """

    source_tokens: list[str]
    target_tokens: list[str]
    attention: list[list[float]]
    attention_heads: list[list[list[float]]] | None = None
    generation_probability: list[float] | None = None


@dataclasses.dataclass(frozen=True)
class VersionStatus:
    """The state of one version of a model.

    Attributes:
        version: int.
        state: str, `"START"`, `"LOADING"`, `"AVAILABLE"`, `"UNLOADING"` or `"END"`.
        error: str, why loading failed; empty if it did not.
    """

    version: int
    state: str
    error: str


# === Client ===


class Client:
    """Calls an exported model in TensorFlow Serving.

    Failed connections and the status codes 429, 502 and 503 are retried up to three times, with growing, random waits.
    Connections stay open for the next call, and threads may share a client. Closing it, or leaving its `with` block,
    closes the connections.

    Args:
        url: str, the server's REST address, such as `"http://localhost:8501"`.
        model: str, name of the served model.
        label: str, label of the version to call, such as `"stable"`. Default: the highest version.
        deadline: float, maximum number of seconds for a call, including all its batches and retries.
        batch_size: int, maximum number of sources per request. If one batch fails, the call fails.
        headers: dict of str, sent with every request, such as `{"Authorization": "Bearer ..."}`. (The environment
            variable `REQUESTS_CA_BUNDLE` names a file of certificates to trust.)

    Raises:
        ValueError: if an argument is invalid.

    Example:

    ```python
    with Client("http://localhost:8501", "translation_en_fr") as client:
        client.generate(["Thank you.", "It's raining."])  # ["Merci.", "Il pleut."]
        client.generate("Thank you.", signature="greedy")  # "Merci."
        client.answers("Thank you.")  # Answer(text="Merci.", score=-0.12, problem="", ignored_tokens=None)
        client.nbest("Thank you.")  # [("Merci.", -0.1), ("Je vous remercie.", -1.2)]
        client.attention("Thank you.").target_tokens  # ["▁Merci", ".", "</s>"]
        client.status()  # [VersionStatus(version=1, state="AVAILABLE", error="")]
    ```
    """

    def __init__(
        self,
        url: str,
        model: str,
        label: str | None = None,
        deadline: float = 30.0,
        batch_size: int = 32,
        headers: dict[str, str] | None = None,
    ) -> None:
        headers = {} if headers is None else headers
        is_duration = isinstance(deadline, (int, float)) and 0 < deadline < math.inf
        texts = [*headers, *headers.values()] if isinstance(headers, dict) else [None]
        for name, value, valid, expected in [
            ("url", url, isinstance(url, str) and ADDRESS.fullmatch(url), "an address such as 'http://localhost:8501'"),
            ("model", model, isinstance(model, str) and model, "the name of a served model"),
            ("label", label, label is None or (isinstance(label, str) and label), "the label of a version"),
            ("deadline", deadline, is_duration, "a positive number of seconds"),
            ("batch_size", batch_size, isinstance(batch_size, int) and batch_size > 0, "a positive integer"),
            ("headers", "...", all(isinstance(text, str) for text in texts), "a dict from str to str"),
        ]:
            if not valid:
                received = re.sub("//.*@", "//...@", repr(value))  # without passwords
                raise ValueError(f"{name} must be {expected}. Received: {name}={received}.")
        self.model, self.label, self.deadline, self.batch_size = model, label, deadline, batch_size
        self.url = f"{url.rstrip('/')}/v1/models/{urllib.parse.quote(model, safe='')}"
        self._version_url = self.url if label is None else f"{self.url}/labels/{urllib.parse.quote(label, safe='')}"
        retry = RetryUntilDeadline(
            3,
            status_forcelist=(429, 502, 503),  # not 504: the server may still be processing the request
            allowed_methods=None,  # all: predictions have no side effects
            backoff_factor=0.1,
            backoff_jitter=0.1,
            raise_on_status=False,
        )
        self._session = requests.Session()
        self._session.headers.update({"Content-Type": "application/json", **headers})
        if "authorization" in map(str.casefold, headers):
            self._session.auth = keep_headers  # A .netrc file would replace the header.
        self._session.mount(url, requests.adapters.HTTPAdapter(pool_maxsize=32, max_retries=retry))

    def generate(self, sources: Sources, signature: str = "serving_default") -> str | list[str]:
        """Generates a text for every source.

        Args:
            sources: list of str, or of bytes for audio, images and texts of unknown encoding; or a single source.
            signature: str, `"serving_default"` for the exported sampler, or `"greedy"`. The signatures `nbest` and
                `attention` have their own methods.

        Returns:
            list of str, in the order of the sources; a str for a single source.

        Raises:
            ValueError: if a source is neither str nor bytes.
            DeadlineExceeded: if the call does not finish in time.
            ServerUnreachable: if the connection fails.
            RequestRefused: if the server answers with an error.
            ServingError: if the reply does not come from an exported model.
        """
        return self._predict(sources, signature, lambda row: read_answer(row).text)

    def answers(self, sources: Sources, signature: str = "serving_default") -> Answer | list[Answer]:
        """Generates a text with its score for every source; otherwise like `generate`."""
        return self._predict(sources, signature, read_answer)

    def nbest(self, sources: Sources) -> list[tuple[str, float]] | list[list[tuple[str, float]]]:
        """Returns the hypotheses of the exported sampler for every source, best first; otherwise like `generate`."""
        return self._predict(sources, "nbest", read_hypotheses)

    def attention(self, sources: Sources) -> AttentionAnswer | list[AttentionAnswer]:
        """Generates a text with its attention weights for every source; otherwise like `generate`.

        The signature `attention`, which only models with attention have, truncates long sources.
        """
        return self._predict(sources, "attention", read_attention_answer)

    def status(self) -> list[VersionStatus]:
        """Returns the state of every version of the model, in ascending order. Raises the errors of `generate`."""

        def read(reply: Any) -> list[VersionStatus]:
            versions = [
                VersionStatus(int(entry["version"]), entry["state"], entry.get("status", {}).get("error_message", ""))
                for entry in reply["model_version_status"]
            ]
            return sorted(versions, key=lambda status: status.version)

        return self._within_deadline(lambda: self._request("GET", self.url, read))

    def close(self) -> None:
        """Closes the connections."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _predict(self, sources: Sources, signature: str, read: Callable[[Any], Any]) -> Any:
        """Sends sources in batches. Returns `read(row)` for each row of the replies."""
        single = isinstance(sources, (str, bytes))
        rows: list[Any] = [sources] if single or not isinstance(sources, Iterable) else list(sources)
        if not all(isinstance(row, (str, bytes)) for row in rows):
            raise ValueError(f"sources must be a list of str or bytes, or a single one. Received: {quoted(sources)}.")
        rows = [{"b64": base64.b64encode(row).decode()} if isinstance(row, bytes) else row for row in rows]

        def predict(start: int) -> list[Any]:
            batch = rows[start : start + self.batch_size]

            def read_batch(reply: Any) -> list[Any]:
                return [read(row) for _, row in zip(batch, reply["predictions"], strict=True)]

            document = {"signature_name": signature, "instances": batch}
            try:
                return self._request("POST", f"{self._version_url}:predict", read_batch, document)
            except Exception as error:
                if len(rows) > self.batch_size:
                    error.add_note(f"Failed batch: sources {start} to {start + len(batch) - 1} of {len(rows)}.")
                raise

        starts = range(0, len(rows), self.batch_size)
        results = self._within_deadline(lambda: [result for start in starts for result in predict(start)])
        return results[0] if single else results

    def _within_deadline(self, function: Callable[[], Any]) -> Any:
        """Runs a function in a thread and abandons it at the deadline, because DNS lookups have no timeout."""
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()

        def run() -> None:
            call.deadline = time.monotonic() + self.deadline
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=run, daemon=True).start()
        concurrent.futures.wait([future], timeout=self.deadline)
        try:
            if not future.done():
                raise urllib3.exceptions.TimeoutError("no answer")
            return future.result()
        except urllib3.exceptions.TimeoutError as error:
            raise DeadlineExceeded(
                f"{self.url} must answer within the deadline of {self.deadline} s. Received: {error}. Send fewer "
                f"sources, or wait longer: Client(..., deadline={2 * self.deadline})."
            ) from error

    def _request(
        self, method: str, url: str, read: Callable[[Any], Any], document: dict[str, Any] | None = None
    ) -> Any:
        """Returns `read(reply)` for the JSON of a reply."""
        # The server accepts any bytes, including lone surrogates, which are not valid UTF-8.
        data = document and json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass")
        timeout = (CONNECT_TIMEOUT, self.deadline + 1.0)  # longer than the call's deadline
        content, text = bytearray(), ""
        try:
            check_deadline()
            with self._session.request(
                method, url, data=data, timeout=timeout, stream=True, allow_redirects=False
            ) as response:
                for chunk in response.iter_content(65_536):
                    content += chunk
                    check_deadline()
            text = content.decode("utf-8", "replace")
            if response.status_code != 200:
                raise self._refusal(url, response.status_code, text)
            reply = json.loads(text)
        except urllib3.exceptions.TimeoutError:
            raise
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
            raise ServerUnreachable(
                f"The connection to {url} failed: {error}. Check that the server runs, and that the address has its "
                "REST port (--rest_api_port; 8501 in the Docker image)."
            ) from error
        except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError, RecursionError) as error:
            raise ServingError(
                f"{url} must answer with JSON ({type(error).__name__}: {error}). Received: {quoted(text)}. Check "
                "that it is the REST address of TensorFlow Serving."
            ) from error
        try:
            return read(reply)
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise ServingError(
                "The reply must have the outputs of a model exported by kerasseq and of the signature "
                f"({type(error).__name__}: {error}). Received: {quoted(reply)}. Check the model and the signature."
            ) from error

    def _refusal(self, url: str, code: int, text: str) -> RequestRefused:
        try:
            error = str(json.loads(text)["error"])
        except (ValueError, LookupError, TypeError, RecursionError):
            error = quoted(text)
        message = f"{url} answered with the status code {code}: {error.rstrip().removesuffix('.')}."
        advice = next((advice for part, advice in ADVICE.items() if part in message), "")
        return RequestRefused(f"{message} {advice.replace('{url}', self._version_url)}".strip(), code, error)


# === Deadlines ===

call = threading.local()  # `call.deadline` of the call that runs in this thread


def check_deadline(wait: float = 0.0, reason: str = "no complete answer") -> None:
    """Raises a `urllib3.exceptions.TimeoutError` if the deadline comes within `wait` seconds."""
    if time.monotonic() + wait >= call.deadline:
        # Not a `DeadlineExceeded`: requests converts every OSError to a ConnectionError.
        raise urllib3.exceptions.TimeoutError(reason)


def keep_headers(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Authentication by the headers that a request has."""
    return request


class RetryUntilDeadline(urllib3.util.Retry):
    """Waits for the next attempt only if it can start before the deadline."""

    def sleep(self, response: urllib3.BaseHTTPResponse | None = None) -> None:
        requested = None if response is None else self.get_retry_after(response)
        wait = self.get_backoff_time() if requested is None else requested
        failure = self.history[-1].error or f"status code {self.history[-1].status}"
        check_deadline(wait, f"{failure}, to retry in {wait:.1f} s")
        time.sleep(wait)


# === Replies ===


def read_answer(row: dict[str, Any]) -> Answer:
    if not isinstance(row["text"], str):
        raise TypeError("text must be a string")
    optional = {name: row[name] for name in ("problem", "ignored_tokens") if name in row}
    return Answer(row["text"], float(row["score"]), **optional)


def read_hypotheses(row: dict[str, Any]) -> list[tuple[str, float]]:
    hypotheses = [(text, float(score)) for text, score in zip(row["text"], row["score"], strict=True)]
    return [hypothesis for hypothesis in hypotheses if hypothesis[1] > MISSING_HYPOTHESIS] or hypotheses[:1]


def read_attention_answer(row: dict[str, Any]) -> AttentionAnswer:
    source_tokens, target_tokens = without_padding(row["source_tokens"]), without_padding(row["target_tokens"])
    heads, probability = row.get("attention_heads"), row.get("generation_probability")

    def cut(matrix: list[list[float]]) -> list[list[float]]:
        return [weights[: len(source_tokens)] for weights in matrix[: len(target_tokens)]]

    return AttentionAnswer(
        **dataclasses.asdict(read_answer(row)),
        source_tokens=source_tokens,
        target_tokens=target_tokens,
        attention=cut(row["attention"]),
        attention_heads=None if heads is None else [cut(matrix) for matrix in heads],
        generation_probability=None if probability is None else probability[: len(target_tokens)],
    )


def without_padding(tokens: list[str]) -> list[str]:
    return tokens[: max((index for index, token in enumerate(tokens, 1) if token), default=0)]


def quoted(value: Any) -> str:
    """Returns the beginning of a value."""
    text = (value or "nothing") if isinstance(value, str) else f"{type(value).__name__} {value!r}"
    return text if len(text) <= QUOTED else f"{text[:QUOTED]}..."
