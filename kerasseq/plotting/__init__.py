"""Plots of attention, training curves and model diagrams. All functions return a matplotlib figure.

Figures are created without pyplot, so they have no global state, work with every backend and follow the caller's
style. matplotlib is imported when a figure is created. To save one: `figure.savefig("attention.png", dpi=150)`.
"""

from kerasseq.plotting.attention import plot_attention
from kerasseq.plotting.diagram import plot_diagram
from kerasseq.plotting.history import plot_history
from kerasseq.plotting.image_attention import plot_image_attention

__all__ = ["plot_attention", "plot_diagram", "plot_history", "plot_image_attention"]
