"""Maps the final states of an encoder to the initial states of a decoder."""

from collections.abc import Callable

import keras
from keras import layers, ops

from kerasseq.arguments import check_choice
from kerasseq.layers.cells import get_cell
from kerasseq.types import State

BRIDGES = ("zero", "copy", "dense")


@keras.saving.register_keras_serializable(package="kerasseq")
class Bridge(layers.Layer):
    """Maps encoder states to initial decoder states.

    Args:
        units: int, size of the decoder's states.
        cell: name of the decoder's cell.
        num_layers: int, of the decoder.
        bridge: `"zero"` starts from zeros; `"copy"` from the encoder's states, layer by layer; `"dense"` from a dense
            layer over them (after Bahdanau et al. 2015, A.2.2, who use the backward state alone). Where the encoder has
            another number of layers, the dense layer reads the states of all its layers; where it has no states of
            that name, as one of images, it reads all its states (Xu et al. 2015, section 3.1.2). Default: copy where
            sizes and layers agree, else dense.

    Call arguments:
        states: list with a dict for each layer of the encoder, `{"hidden": (batch, dim), ...}`.

    Returns:
        list with a dict of `(batch, units)` for each layer of the decoder.

    Raises:
        ValueError: for an unknown bridge, or a copy of states that do not fit.

    Example:

    >>> import keras, kerasseq
    >>> encoder_state = {"hidden": keras.ops.ones((2, 64)), "cell": keras.ops.ones((2, 64))}
    >>> (initial_state,) = kerasseq.decoders.Bridge(32, cell="lstm")([encoder_state])
    >>> sorted((name, keras.ops.shape(value)) for name, value in initial_state.items())
    [('cell', (2, 32)), ('hidden', (2, 32))]
    """

    def __init__(self, units: int, cell: str, num_layers: int = 1, bridge: str | None = None, **kwargs):
        super().__init__(**kwargs)
        if bridge is not None:
            check_choice("bridge", bridge, BRIDGES, ", or None to copy where sizes agree")
        self.units = units
        self.cell = cell
        self.num_layers = num_layers
        self.bridge = bridge

    def build(self, states_shape):
        cell = get_cell(self.cell)
        self.dense: dict[str, layers.Layer] = {}  # by the state they compute, such as "hidden_0"
        if self.bridge == "zero":
            return
        if self.bridge == "copy":
            self.check_copy(states_shape)
        dims = [{name: shape[-1] for name, shape in state.items()} for state in states_shape]
        sources = self.sources(dims, combine=sum)
        for index, source in enumerate(sources):
            for name in cell.state_names:
                if sources is dims and self.bridge != "dense" and source[name] == self.units:
                    continue  # copied
                key, activation = f"{name}_{index}", cell.state_activations.get(name, "tanh")
                self.dense[key] = layers.Dense(self.units, activation=activation, dtype=self.dtype_policy, name=key)
                self.dense[key].build((None, source[name]))

    def sources(self, states: list[State], combine: Callable) -> list[State]:
        """The source of each initial state, layer by layer: the encoder's state, or several of them combined."""
        names = get_cell(self.cell).state_names
        if not all(set(names) <= set(state) for state in states):
            everything = combine([state[name] for state in states for name in sorted(state)])
            return [dict.fromkeys(names, everything)] * self.num_layers
        if len(states) != self.num_layers:
            return [{name: combine([state[name] for state in states]) for name in names}] * self.num_layers
        return states

    def check_copy(self, states_shape: list[dict[str, tuple]]) -> None:
        """Raises a `ValueError` unless the states of the encoder can be copied."""
        names = get_cell(self.cell).state_names
        if not all(set(names) <= set(state) for state in states_shape):
            raise ValueError(
                "bridge='copy' needs an encoder with the states of the decoder's cell. Received: an encoder with the "
                f"states {[sorted(state) for state in states_shape]} for cell={self.cell!r}. Choose bridge='dense' or "
                "'zero'."
            )
        if len(states_shape) != self.num_layers:
            raise ValueError(
                f"bridge='copy' needs as many layers in the decoder as in the encoder. Received: {self.num_layers} "
                f"decoder layers for {len(states_shape)} encoder layers. Choose bridge='dense' or 'zero'."
            )
        for shape in (shape for state in states_shape for shape in state.values()):
            if shape[-1] != self.units:
                raise ValueError(
                    f"bridge='copy' needs encoder states of the decoder's size. Received: states of {shape[-1]} for "
                    f"{self.units} units (a bidirectional encoder has twice its units). Choose bridge='dense' or "
                    "'zero'."
                )

    def call(self, states):
        names = get_cell(self.cell).state_names
        if self.bridge == "zero":
            batch_size = ops.shape(next(iter(states[0].values())))[0]
            zeros = ops.zeros((batch_size, self.units), dtype=self.compute_dtype)
            return [dict.fromkeys(names, zeros) for _ in range(self.num_layers)]
        initial_states = []
        for index, source in enumerate(self.sources(states, combine=concatenated)):
            dense = {name: self.dense.get(f"{name}_{index}") for name in names}
            initial_states.append({name: dense[name](source[name]) if dense[name] else source[name] for name in names})
        return initial_states

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "cell": self.cell,
            "num_layers": self.num_layers,
            "bridge": self.bridge,
        }


def concatenated(tensors):
    return ops.concatenate(tensors, axis=-1) if len(tensors) > 1 else tensors[0]
