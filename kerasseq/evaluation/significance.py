"""Whether the difference of two systems on the same texts is more than chance."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from kerasseq.evaluation.arguments import References, check_texts, same_length, with_references
from kerasseq.evaluation.bootstrap import SEED
from kerasseq.evaluation.scores import METRICS, Metrics, metric_settings
from kerasseq.evaluation.texts import bleu_metric, reference_streams

RESAMPLES = 1_000


def paired_bootstrap(
    predictions: Iterable[str],
    baseline: Iterable[str],
    references: References,
    metrics: Metrics = ("bleu", "chrf"),
    resamples: int = RESAMPLES,
    language: str | None = None,
) -> dict[str, dict[str, float]]:
    """Compares two systems on the same texts by paired bootstrap resampling.

    The p-value says how often texts drawn at random, with replacement, would show a difference as large as this one if
    there were none. Of BLEU and chrF it is sacreBLEU's, and that of the other metrics is computed in the same way. It
    knows of the choice of texts alone: another seed of a training is another source of chance.

    Args:
        predictions: list of str, outputs of the system.
        baseline: list of str, outputs of the other system for the same sources.
        references: list of str, one per prediction; or list of lists of str, one or more per prediction.
        metrics: as in `score_texts`, among `"bleu"`, `"chrf"`, `"exact_match"` and `"token_f1"`.
        resamples: int, at least 40.
        language: as in `score_texts`.

    Returns:
        dict from each metric to a dict of floats: `score` of the predictions, `baseline`, `difference` and `p_value`.

    Raises:
        ValueError: if the lists differ in length, a metric is unknown or has no test, and as `score_texts`.

    Example:

    >>> import kerasseq
    >>> references = ["the cat sat on the mat", "a dog ran over the road", "birds sing in the trees"] * 4
    >>> baseline = ["the cat sat on a mat", "a dog ran over the road", "birds sing in the tree"] * 4
    >>> result = kerasseq.evaluation.paired_bootstrap(references, baseline, references, "exact_match")
    >>> result["exact_match"]["difference"], result["exact_match"]["p_value"] < 0.05
    (66.67, True)

    Source: Koehn 2004 (Statistical significance tests for machine translation evaluation); Post 2018 (sacreBLEU).
    """
    settings = metric_settings(metrics, language)
    if untested := [name for name in settings if name not in TESTS]:
        raise ValueError(
            f"Differences of {', '.join(map(repr, TESTS))} can be tested. Received: {', '.join(map(repr, untested))}."
        )
    if isinstance(resamples, bool) or not isinstance(resamples, int) or resamples < 40:
        raise ValueError(f"resamples must be an integer of at least 40. Received: resamples={resamples!r}.")
    predictions, entries = with_references(predictions, references)
    baseline, _ = same_length(baseline, predictions, "predictions of the system")
    check_texts("baseline", baseline)
    return {
        name: TESTS[name](name, predictions, baseline, entries, resamples, arguments)
        for name, arguments in settings.items()
    }


def by_sacrebleu(
    name: str,
    predictions: list[str],
    baseline: list[str],
    references: list[list[str]],
    resamples: int,
    arguments: Mapping[str, Any],
) -> dict[str, float]:
    import sacrebleu  # Deferred: building and serving models does not need it.
    from sacrebleu.significance import PairedTest

    metric = bleu_metric(references, **arguments) if name == "bleu" else sacrebleu.metrics.CHRF()
    systems: Any = [("baseline", baseline), ("system", predictions)]
    streams: Any = reference_streams(references)
    test = PairedTest(systems, {name: metric}, streams, test_type="bs", n_samples=resamples)
    results: Any = next(result for key, result in test()[1].items() if key != "System")
    score, other = results[1].score, results[0].score
    # SacreBLEU counts draws with more than no difference, and of equal outputs finds none.
    p_value = 1.0 if predictions == baseline else float(results[1].p_value)
    return described(score, other, p_value)


def by_text(
    name: str,
    predictions: list[str],
    baseline: list[str],
    references: list[list[str]],
    resamples: int,
    arguments: Mapping[str, Any],
) -> dict[str, float]:
    """The test of a metric that is the mean over the texts."""
    function = METRICS[name].function

    def scores(texts: list[str]) -> np.ndarray:
        rows = zip(texts, references_of(references), strict=True)
        return np.array([function([text], [entry], **arguments)["score"] for text, entry in rows])

    difference = scores(predictions) - scores(baseline)
    generator = np.random.default_rng(SEED)
    drawn = generator.integers(len(difference), size=(resamples, len(difference)))
    sampled = np.abs(difference[drawn].mean(axis=1))
    extreme = np.sum(sampled - sampled.mean() > abs(difference.mean()))
    p_value = 1.0 if predictions == baseline else float((extreme + 1) / (resamples + 1))
    overall = [function(texts, references_of(references), **arguments)["score"] for texts in (predictions, baseline)]
    return described(overall[0], overall[1], p_value)


def references_of(entries: list[list[str]]) -> list[Any]:
    """References as metrics of a single one take them, where there is no more."""
    return [entry[0] for entry in entries] if all(len(entry) == 1 for entry in entries) else entries


def described(score: float, baseline: float, p_value: float) -> dict[str, float]:
    places = 4 if max(abs(score), abs(baseline)) <= 1 else 2  # as the metrics round
    return {
        "score": round(score, places),
        "baseline": round(baseline, places),
        "difference": round(score - baseline, places),
        "p_value": round(p_value, 4),
    }


TESTS: dict[str, Callable[..., dict[str, float]]] = {
    "bleu": by_sacrebleu,
    "chrf": by_sacrebleu,
    "exact_match": by_text,
    "token_f1": by_text,
}
