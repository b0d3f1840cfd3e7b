"""Metrics by name, with their settings, and several of them for the same texts."""

import dataclasses
import inspect
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from kerasseq.evaluation.arguments import References, check_resamples, same_length
from kerasseq.evaluation.captions import caption_bleu, cider
from kerasseq.evaluation.compression import token_f1
from kerasseq.evaluation.languages import language_code
from kerasseq.evaluation.texts import bleu, chrf, exact_match, rouge, word_error_rate

Metrics: TypeAlias = str | Sequence[str] | Mapping[str, Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Metric:
    """A function of predictions and references.

    Attributes:
        function: returns a dict of scores.
        logged: dict from entries of the result to the names under which callbacks log them.
        mode: str, `"max"` where higher scores are better, `"min"` for error rates; as of `keras.callbacks`.
    """

    function: Callable[..., dict[str, Any]]
    logged: dict[str, str]
    mode: str = "max"

    @property
    def settings(self) -> set[str]:
        """The names of its own arguments."""
        return set(inspect.signature(self.function).parameters) - {"predictions", "references", "resamples"}


METRICS = {
    "bleu": Metric(bleu, {"score": "bleu"}),
    "chrf": Metric(chrf, {"score": "chrf"}),
    "rouge": Metric(rouge, {name: name for name in ("rouge1", "rouge2", "rougeL")}),
    "word_error_rate": Metric(word_error_rate, {"wer": "wer", "cer": "cer"}, mode="min"),
    "exact_match": Metric(exact_match, {"score": "exact_match"}),
    "token_f1": Metric(token_f1, {"score": "token_f1"}),
    "caption_bleu": Metric(caption_bleu, {f"bleu{order}": f"caption_bleu{order}" for order in range(1, 5)}),
    "cider": Metric(cider, {"score": "cider"}),
}


def score_texts(
    predictions: Iterable[str],
    references: References,
    metrics: Metrics = ("bleu", "chrf"),
    resamples: int = 0,
    language: str | None = None,
) -> dict[str, dict[str, Any]]:
    """Computes several metrics of the same texts.

    Args:
        predictions: list of str.
        references: list of str, one per prediction; or, if all metrics accept it, list of lists of str, one or more
            per prediction.
        metrics: list of names: `"bleu"`, `"chrf"`, `"rouge"`, `"word_error_rate"`, `"exact_match"`, `"token_f1"`,
            `"caption_bleu"`, `"cider"`; or a dict from names to settings, arguments of the functions of those names,
            such as `{"bleu": {"tokenize": "intl"}, "chrf": {}}`.
        resamples: int, as in `bleu`.
        language: str, code of the texts' language, such as `"zh"`, for all metrics that split texts into words; see
            `bleu`. Default: that of languages with spaces between words.

    Returns:
        dict from each name to the result of the function of that name.

    Raises:
        ValueError: if a metric, a setting or the language is unknown, and as the functions.

    Example:

    >>> import kerasseq
    >>> scores = kerasseq.evaluation.score_texts(["the cat sat on a mat"], ["the cat sat on the mat"])
    >>> scores["bleu"]["score"], scores["chrf"]["score"]
    (53.73, 65.98)
    >>> kerasseq.evaluation.score_texts(["我们今天去公园"], ["我们今天去公园"], "bleu", language="zh")["bleu"]["score"]
    100.0
    """
    settings = metric_settings(metrics, language)
    predictions, references = same_length(predictions, references, "references")
    return {
        name: METRICS[name].function(predictions, references, resamples=resamples, **arguments)
        for name, arguments in settings.items()
    }


def check_scorable(
    references: Sequence[Any], metrics: Metrics, resamples: int = 0, language: str | None = None
) -> dict[str, dict[str, Any]]:
    """Checks the arguments of `score_texts` before predictions exist. Returns the settings of each metric."""
    settings = metric_settings(metrics, language)
    check_resamples(resamples)
    score_texts([""] * len(references), references, settings)
    texts = (text for entry in references for text in ([entry] if isinstance(entry, str) else entry))
    if not all(unicodedata.is_normalized("NFC", text) for text in texts):
        warnings.warn(
            "Some targets are not in the normal form NFC: they may have decomposed accents. Metrics compare code "
            "points, and outputs are in NFC unless the vocabulary was trained with normalization='identity'. Pass "
            "unicodedata.normalize('NFC', text) of each target.",
            stacklevel=3,
        )
    return settings


def metric_settings(metrics: Metrics | None, language: str | None = None) -> dict[str, dict[str, Any]]:
    """Checks one or several metrics. Returns the settings of each, those of the language included."""
    names = [metrics] if isinstance(metrics, str) else list(metrics or ())
    known = list(METRICS)  # A list, because unhashable names must reach the error message.
    if not names or any(name not in known for name in names):
        raise ValueError(
            f"metrics must be a list of names, or a dict from names to settings, among "
            f"{', '.join(map(repr, known))}. Received: {metrics!r}."
        )
    language_code(language)  # Checked, whichever the metrics.
    settings = {}
    for name in names:
        own = metrics[name] if isinstance(metrics, Mapping) else {}
        taken = METRICS[name].settings
        if not isinstance(own, Mapping) or not set(own) <= taken:
            raise ValueError(
                f"The settings of {name!r} must be a dict of {', '.join(map(repr, sorted(taken))) or 'nothing'}. "
                f"Received: {own!r}."
            )
        settings[name] = {"language": language} if language is not None and "language" in taken else {}
        settings[name] |= own
    return settings
