"""Recurrent encoders of tokens."""

from typing import Any

import keras
from keras import layers

from kerasseq.arguments import check_positive_integer, check_share
from kerasseq.encoders.base import Encoder
from kerasseq.layers.embedding import token_embedding
from kerasseq.layers.masking import PaddingMask, PairSteps
from kerasseq.layers.recurrent import Recurrent
from kerasseq.types import State, Tensor


@keras.saving.register_keras_serializable(package="kerasseq")
class RecurrentEncoder(Encoder):
    """A stack of recurrent layers over embedded tokens.

    Args:
        vocabulary_size: int, number of source token ids.
        embedding_dim: int, size of the token embeddings.
        units: int, size of each state, for each direction.
        cell: str, a name in `kerasseq.layers.cells.CELLS`: `"simple_rnn"`, `"lstm"`, `"gru"` or `"ssru"`.
        num_layers: int, number of stacked layers.
        bidirectional: bool, whether each layer also runs backwards. Doubles the sizes of memory and states.
        residual: bool, whether each layer from the second on adds its input to its output (Wu et al. 2016, section
            3.1).
        pyramidal: bool, whether each layer from the second on reads two steps of the one below at once, and so halves
            the length (Chan et al. 2016, section 3.1).
        dropout: float in [0, 1), share of units dropped after the embedding, between layers and from the memory.
        name: str.

    Inputs and outputs are those of `Encoder`, from `encoder_token_ids (batch, source)`; the size of memory and states
    is `units`, or `2 * units` if bidirectional.

    Raises:
        ValueError: for sizes that are not positive integers, a dropout outside [0, 1), an unknown cell, or `residual`
            with `pyramidal`, whose lengths do not fit.

    Example:

    >>> import kerasseq
    >>> encoder = kerasseq.encoders.RecurrentEncoder(100, embedding_dim=16, units=32, bidirectional=True)
    >>> encoder.output["memory"].shape
    (None, None, 64)
    """

    def __init__(
        self,
        vocabulary_size: int,
        embedding_dim: int,
        units: int,
        cell: str = "lstm",
        num_layers: int = 1,
        bidirectional: bool = False,
        residual: bool = False,
        pyramidal: bool = False,
        dropout: float = 0.0,
        name: str = "encoder",
    ):
        options: dict[str, Any] = {
            "units": units, "cell": cell, "num_layers": num_layers, "bidirectional": bidirectional,
            "residual": residual, "pyramidal": pyramidal, "dropout": dropout,
        }  # fmt: skip
        check_positive_integer("vocabulary_size", vocabulary_size)
        check_positive_integer("embedding_dim", embedding_dim)
        encoder_token_ids = keras.Input((None,), dtype="int32", name="encoder_token_ids")
        mask = PaddingMask(name="memory_mask")(encoder_token_ids)
        embedded = token_embedding(vocabulary_size, embedding_dim)(encoder_token_ids)
        embedded = layers.Dropout(dropout, name="embedding_dropout")(embedded)
        super().__init__(
            inputs={"encoder_token_ids": encoder_token_ids},
            outputs=recurrent_stack(embedded, mask, **options),
            stride=2 ** (num_layers - 1) if pyramidal else 1,
            vocabulary_size=vocabulary_size,
            name=name,
        )
        self.options = {"vocabulary_size": vocabulary_size, "embedding_dim": embedding_dim, **options}

    def get_arguments(self):
        return self.options


def recurrent_stack(
    sequences: Tensor,
    mask: Tensor,
    units: int,
    cell: str,
    num_layers: int,
    bidirectional: bool,
    residual: bool,
    pyramidal: bool,
    dropout: float,
) -> State:
    """Stacked recurrent layers over symbolic sequences of any kind: the outputs of an encoder.

    Args:
        sequences: symbolic float `(batch, time, features)`.
        mask: symbolic bool `(batch, time)`, true for real steps.
        units, cell, num_layers, bidirectional, residual, pyramidal, dropout: as in `RecurrentEncoder`.
    """
    check_positive_integer("num_layers", num_layers)
    check_share("dropout", dropout)
    if residual and pyramidal:
        raise ValueError(
            "A pyramidal encoder has no residual connections: the lengths of its layers differ. Received: "
            "residual=True, pyramidal=True. Choose one of them."
        )
    memory, states = sequences, []
    for index in range(num_layers):
        if pyramidal and index:
            memory, mask = PairSteps(name=f"pair_steps_{index}")(memory, sequence_mask=mask)
        below = memory
        memory, state = Recurrent(units, cell=cell, name=f"forward_{index}")(below, sequence_mask=mask)
        if bidirectional:
            backward = Recurrent(units, cell=cell, reverse=True, name=f"backward_{index}")
            memory_backward, state_backward = backward(below, sequence_mask=mask)
            concatenate = layers.Concatenate(name=f"both_directions_{index}")
            memory = concatenate([memory, memory_backward])  # (batch, steps, 2 * units)
            state = {
                name: layers.Concatenate(name=f"both_states_{index}_{name}")([state[name], state_backward[name]])
                for name in state
            }
        memory = layers.Dropout(dropout, name=f"dropout_{index}")(memory)
        if residual and index:
            memory = layers.Add(name=f"residual_{index}")([below, memory])
        states.append(state)
    return {"memory": memory, "memory_mask": mask, "states": states}
