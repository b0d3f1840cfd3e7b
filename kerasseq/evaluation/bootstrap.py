"""Confidence intervals by bootstrap resampling."""

from collections.abc import Sequence

import numpy as np

SEED = 12345  # sacreBLEU's default seed.


def bootstrap_interval(numerators: Sequence[float], denominators: Sequence[float], resamples: int) -> list[float]:
    """The 95% confidence interval of a ratio of sums over texts, in percent.

    Args:
        numerators: list of float, one per text, such as its number of errors.
        denominators: list of float, one per text, such as its number of words.
        resamples: int, number of resamples. Each draws as many texts as there are, with replacement.

    Returns:
        list of two floats, the lower and the upper bound: 2.5% of the resampled ratios are below and above them.

    Source: Efron and Tibshirani 1993, chapter 13; Bisani and Ney 2004, for error rates; Koehn 2004.
    """
    generator = np.random.default_rng(SEED)
    top, bottom = np.asarray(numerators, "float64"), np.asarray(denominators, "float64")
    ratios = []
    for _ in range(resamples):
        drawn = generator.integers(len(top), size=len(top))
        ratios.append(100 * top[drawn].sum() / bottom[drawn].sum())
    tail = resamples // 40
    ratios.sort()
    return [round(float(bound), 2) for bound in (ratios[tail], ratios[resamples - tail - 1])]
