"""Maps the final states of an encoder to the initial states of a decoder."""

import keras
from keras import layers, ops

from kerasseq.layers.cells import get_cell

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
    """

    def __init__(self, units: int, cell: str, num_layers: int = 1, bridge: str | None = None, **kwargs):
        super().__init__(**kwargs)
        if bridge not in (None, *BRIDGES):
            raise ValueError(
                f"bridge must be one of {', '.join(map(repr, BRIDGES))}, or None to copy where sizes agree. "
                f"Received: bridge={bridge!r}."
            )
        self.units = units
        self.cell = cell
        self.num_layers = num_layers
        self.bridge = bridge

    def build(self, states_shape):
        names = get_cell(self.cell).state_names
        self.dense: dict[str, layers.Layer] = {}  # by the state they compute, such as "hidden_0"
        if self.bridge == "zero":
            return
        known = all(set(names) <= set(state) for state in states_shape)
        same_layers = known and len(states_shape) == self.num_layers
        if self.bridge == "copy":
            self.check_copy(states_shape, known, same_layers)
        # An LSTM's cell state is unbounded, all other states are outputs of a tanh.
        activations = {name: "linear" if name == "cell" else "tanh" for name in names}
        for index in range(self.num_layers):
            for name in names:
                if not known:
                    dim = sum(shape[-1] for state in states_shape for shape in state.values())
                elif not same_layers:
                    dim = sum(state[name][-1] for state in states_shape)
                else:
                    dim = states_shape[index][name][-1]
                    if self.bridge != "dense" and dim == self.units:
                        continue
                key = f"{name}_{index}"
                self.dense[key] = layers.Dense(
                    self.units, activation=activations[name], dtype=self.dtype_policy, name=key
                )
                self.dense[key].build((None, dim))
        self.known, self.same_layers = known, same_layers

    def check_copy(self, states_shape, known, same_layers):
        """Raises a `ValueError` unless the states of the encoder can be copied."""
        if not known:
            raise ValueError(
                "bridge='copy' needs an encoder with the states of the decoder's cell. Received: an encoder with the "
                f"states {[sorted(state) for state in states_shape]} for cell={self.cell!r}. Choose bridge='dense' or "
                "'zero'."
            )
        if not same_layers:
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
            batch_size = ops.shape(states[0]["hidden"])[0]
            zeros = ops.zeros((batch_size, self.units), dtype=self.compute_dtype)
            return [dict.fromkeys(names, zeros) for _ in range(self.num_layers)]
        if not self.known:
            everything = concatenated([state[name] for state in states for name in sorted(state)])
            sources = [dict.fromkeys(names, everything)] * self.num_layers
        elif not self.same_layers:
            sources = [{name: concatenated([state[name] for state in states]) for name in names}] * self.num_layers
        else:
            sources = states
        initial_states = []
        for index, source in enumerate(sources):
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
