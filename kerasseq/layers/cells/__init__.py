"""Recurrent cells, one file a cell, by name."""

from kerasseq.layers.cells.base import Cell
from kerasseq.layers.cells.gru import GRUCell
from kerasseq.layers.cells.lstm import LSTMCell
from kerasseq.layers.cells.simple_rnn import SimpleRNNCell
from kerasseq.layers.cells.ssru import SSRUCell

CELLS: dict[str, type[Cell]] = {"simple_rnn": SimpleRNNCell, "lstm": LSTMCell, "gru": GRUCell, "ssru": SSRUCell}


def get_cell(name: str) -> type[Cell]:
    """Looks up the class of a cell by name, or raises a `ValueError` that lists the names."""
    if not isinstance(name, str) or name not in CELLS:
        raise ValueError(f"cell must be one of {', '.join(map(repr, CELLS))}. Received: cell={name!r}.")
    return CELLS[name]
