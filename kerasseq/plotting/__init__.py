"""Figures: where a model looked, and how its training went. All functions return a matplotlib figure to save or show.

The figures are made without pyplot: they belong to their caller alone, work with every backend and keep the caller's
style. matplotlib is imported when a figure is made.
"""

from kerasseq.plotting.attention import plot_attention
from kerasseq.plotting.history import plot_history
from kerasseq.plotting.image_attention import plot_image_attention

__all__ = ["plot_attention", "plot_history", "plot_image_attention"]
