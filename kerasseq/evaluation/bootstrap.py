"""Confidence intervals by bootstrap resampling."""

from collections.abc import Sequence

import numpy as np

SEED = 12345  # sacreBLEU's default seed.


def bootstrap_interval(numerators: Sequence[float], denominators: Sequence[float], resamples: int) -> list[float]:
    """The 95% confidence interval of a ratio of sums over texts, in percent: its lower and its upper bound.

    Each text has a numerator, such as its number of errors, and a denominator, such as its number of words. Each
    resample draws as many texts as there are, with replacement; 2.5% of the ratios are below and above the bounds.

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
