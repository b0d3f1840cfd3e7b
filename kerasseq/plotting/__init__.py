"""Figures: where a model looked, and how its training went. Both functions return a matplotlib figure to save or show.

The figures are made without pyplot: they belong to their caller alone, work with every backend and keep the caller's
style. matplotlib is imported when a figure is made.
"""

from kerasseq.plotting.attention import plot_attention
from kerasseq.plotting.history import plot_history

__all__ = ["plot_attention", "plot_history"]
