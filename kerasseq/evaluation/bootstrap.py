"""How sure a score is: resampling of the texts that it is made of."""

import numpy as np

SEED = 12345  # sacreBLEU's


def bootstrap_interval(numerators, denominators, resamples):
    """The 95 % confidence interval of a ratio of sums over texts, in percent.

    Args:
        numerators: list of float, one a text, such as its errors.
        denominators: list of float, one a text, such as its words.
        resamples: int, how often as many texts are drawn, with replacement.

    Returns:
        list of two floats: what a fortieth of the resamples are below, and what a fortieth are above.

    Source: Efron and Tibshirani 1993, chapter 13; Bisani and Ney 2004, for error rates; Koehn 2004.
    """
    generator = np.random.default_rng(SEED)
    numerators, denominators = np.asarray(numerators, "float64"), np.asarray(denominators, "float64")
    ratios = []
    for _ in range(resamples):
        drawn = generator.integers(len(numerators), size=len(numerators))
        ratios.append(100 * numerators[drawn].sum() / denominators[drawn].sum())
    tail = resamples // 40
    ratios.sort()
    return [round(float(bound), 2) for bound in (ratios[tail], ratios[resamples - tail - 1])]
