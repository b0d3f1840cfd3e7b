"""Figures: where a model looked, how its training went, what it is made of. All return a matplotlib figure.

The figures are made without pyplot: they belong to their caller alone, work with every backend and keep the caller's
style. matplotlib is imported when a figure is made.
"""

from kerasseq.plotting.attention import plot_attention
from kerasseq.plotting.diagram import plot_diagram
from kerasseq.plotting.history import plot_history
from kerasseq.plotting.image_attention import plot_image_attention

__all__ = ["plot_attention", "plot_diagram", "plot_history", "plot_image_attention"]
