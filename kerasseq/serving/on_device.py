"""Models for LiteRT on machines without TensorFlow.

The file depends only on Python, NumPy, ai-edge-litert and, for subwords, sentencepiece: it can be copied to machines
without TensorFlow and without kerasseq.
"""

import json
import math
import os
import pathlib
import unicodedata
from typing import Any, Protocol

import numpy as np

FORMAT = 1
DESCRIPTION_FILE = "litert.json"
NUM_SPECIAL_TOKENS = 4  # padding, unknown, START, END


class LiteRTModel:
    """A model that `TextGenerator.export_litert` wrote: greedy search, one source at a time.

    Args:
        folder: path of the folder that `export_litert` wrote.
        num_threads: int, threads of the interpreter.

    Raises:
        FileNotFoundError: if a file of the folder is missing.
        ValueError: for a folder of a later release.

    Example:

    ```python
    model = kerasseq.serving.LiteRTModel("phone/translation_en_fr")
    model.generate("How are you?")
    ```
    """

    def __init__(self, folder: str | os.PathLike, num_threads: int = 1) -> None:
        from ai_edge_litert.interpreter import Interpreter  # Deferred: the extra `litert`.

        folder = pathlib.Path(folder).expanduser()
        self.description = read_description(folder)
        self._interpreter = Interpreter(str(folder / "model.tflite"), num_threads=num_threads)
        self._encode = self._interpreter.get_signature_runner("encode")
        self._step = self._interpreter.get_signature_runner("step")
        self._source = read_vocabulary(folder, "source")
        target = read_vocabulary(folder, "target") or self._source  # A joint vocabulary has one file.
        if target is None:
            raise FileNotFoundError(f"{folder} has no vocabulary. Copy the folder again.")
        self._target = target

    def generate(self, text: str) -> str:
        """The output for a text, in one pass: nothing is split, and tokens beyond the model's limit are ignored.

        That for a blank text is empty.
        """
        if self._source is None:
            raise ValueError("This model reads no texts. Pass its features to generate_ids.")
        if not isinstance(text, str):
            raise ValueError(f"The source must be a string. Received: {text!r} ({type(text).__name__}).")
        if not text.strip():
            return ""
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # Lone surrogates become U+FFFD.
        limit = self.description["max_source_length"]
        ids = [*self._source.encode(text)[: limit - 1], self.description["end_id"]]
        return self.decode(self.generate_ids(encoder_token_ids=np.array([ids], "int32"))[0])

    def generate_ids(self, **inputs: np.ndarray) -> tuple[list[int], float]:
        """The ids of the output, without END, and its log-probability.

        Args:
            inputs: arrays of one source by the names of the encoder's inputs: `encoder_token_ids`, int32 `(1, source)`,
                tokens and END; or `encoder_frames`, float32 `(1, frames, bins)`, as `AudioPreprocessor.encode_source`
                returns them.
        """
        values = self._encode(**inputs)
        token_ids, score = np.array([self.description["start_id"]], "int32"), 0.0
        ids: list[int] = []
        for _ in range(self._longest(inputs)):
            outputs = self._step(token_ids=token_ids, **values)
            token_ids, log_probability = outputs.pop("token_ids"), outputs.pop("log_probability")
            values |= outputs
            score += float(log_probability[0])
            if token_ids[0] == self.description["end_id"]:
                break
            ids.append(int(token_ids[0]))
        return ids, score

    def decode(self, ids: list[int]) -> str:
        """The text of ids."""
        return self._target.decode([token for token in ids if token >= NUM_SPECIAL_TOKENS]).replace("\ufffd", "")

    def _longest(self, inputs: dict[str, np.ndarray]) -> int:
        """The most tokens of an output, END included."""
        longest, ratio = self.description["max_length"], self.description["length_ratio"]
        if ratio is None:
            return longest
        positions = math.ceil(next(iter(inputs.values())).shape[1] / self.description["length_stride"])
        return min(longest, max(1, math.floor(ratio * positions + self.description["length_offset"] + 1e-4)))


class Vocabulary(Protocol):
    """Texts to ids, and back."""

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: list[int]) -> str: ...


class TokenList:
    """The characters or words of a list, which begin at id 4.

    Args:
        tokens: list of str.
        separator: str, between the tokens of a text: empty for characters.
    """

    def __init__(self, tokens: list[str], separator: str) -> None:
        self.tokens = tokens
        self.ids = {token: index + NUM_SPECIAL_TOKENS for index, token in enumerate(tokens)}
        self.separator = separator

    def encode(self, text: str) -> list[int]:
        text = unicodedata.normalize("NFC", text)
        return [self.ids.get(token, 1) for token in (text.split() if self.separator else text)]

    def decode(self, ids: list[int]) -> str:
        return self.separator.join(self.tokens[token - NUM_SPECIAL_TOKENS] for token in ids)


def read_description(folder: pathlib.Path) -> dict[str, Any]:
    """The content of `litert.json`, after checking that all files are there."""
    path = folder / DESCRIPTION_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"Expected a folder that export_litert wrote, with {DESCRIPTION_FILE}. Received: {folder}."
        )
    description = json.loads(path.read_text(encoding="utf-8"))
    if description["format"] != FORMAT:
        raise ValueError(
            f"{path} must have format {FORMAT}. Received: format {description['format']}, of another release."
        )
    if missing := [name for name in description["files"] if not (folder / name).is_file()]:
        raise FileNotFoundError(f"{folder} is incomplete. Missing: {', '.join(missing)}. Copy the folder again.")
    return description


def read_vocabulary(folder: pathlib.Path, side: str) -> Vocabulary | None:
    """The vocabulary of `"source"` or `"target"`; `None` without a file of it."""
    for suffix, separator in (("chars", ""), ("words", " ")):
        path = folder / f"{side}.{suffix}"
        if path.is_file():
            return TokenList(list(json.loads(path.read_text(encoding="utf-8"))["tokens"]), separator)
    path = folder / f"{side}.spm"
    if not path.is_file():
        return None
    import sentencepiece  # Deferred: characters and words do without it.

    return sentencepiece.SentencePieceProcessor(model_file=str(path))
