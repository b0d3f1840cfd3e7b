"""Recurrent encoders of speech."""

from typing import Any

import keras
from keras import layers

from kerasseq.arguments import check_choice, check_positive_integer
from kerasseq.encoders.base import Encoder
from kerasseq.encoders.recurrent import recurrent_stack
from kerasseq.layers.augmentation import SpecAugment
from kerasseq.layers.subsampling import ConvolutionalSubsampling

SUBSAMPLINGS = ("convolutional", "pyramidal")


@keras.saving.register_keras_serializable(package="kerasseq")
class FramesEncoder(Encoder):
    """A stack of recurrent layers over subsampled frames.

    Args:
        num_bins: int, size of a frame.
        units, cell, num_layers, bidirectional, residual, dropout: as in `RecurrentEncoder`.
        subsampling: `"convolutional"`: two convolutions before the recurrent layers, each halving frames and bins (as
            in Amodei et al. 2016); `"pyramidal"`: each recurrent layer from the second on reads two steps of the one
            below (Chan et al. 2016).
        filters: int, of the convolutions.
        spec_augment: dict of arguments of `kerasseq.layers.SpecAugment`, which masks parts of the frames in training;
            `{}` for its defaults. Default: nothing is masked.
        name: str.

    Inputs and outputs are those of `Encoder`, from `encoder_frames (batch, frames, bins)`, float32, and `encoder_mask
    (batch, frames)`, bool. A position of the memory covers four frames; with `"pyramidal"`, two for each layer above
    the first.

    Raises:
        ValueError: for sizes that are not positive integers, a dropout outside [0, 1), an unknown cell or subsampling,
            a `spec_augment` that is not a dict, or a pyramid with residual connections.

    Example:

    >>> import kerasseq
    >>> encoder = kerasseq.encoders.FramesEncoder(num_bins=40, units=32)
    >>> encoder.stride, encoder.output["memory"].shape
    (4, (None, None, 64))
    """

    def __init__(
        self,
        num_bins: int,
        units: int,
        cell: str = "lstm",
        num_layers: int = 3,
        bidirectional: bool = True,
        subsampling: str = "convolutional",
        filters: int = 32,
        residual: bool = False,
        dropout: float = 0.0,
        spec_augment: dict | None = None,
        name: str = "encoder",
    ):
        check_positive_integer("num_bins", num_bins)
        check_choice("subsampling", subsampling, SUBSAMPLINGS)
        if not isinstance(spec_augment, (dict, type(None))):
            raise ValueError(
                "spec_augment must be a dict of arguments of kerasseq.layers.SpecAugment, {} for its defaults, or None "
                f"for none. Received: spec_augment={spec_augment!r}."
            )
        options: dict[str, Any] = {
            "units": units, "cell": cell, "num_layers": num_layers, "bidirectional": bidirectional,
            "residual": residual, "dropout": dropout,
        }  # fmt: skip
        pyramidal = subsampling == "pyramidal"
        encoder_frames = keras.Input((None, num_bins), name="encoder_frames")
        encoder_mask = keras.Input((None,), dtype="bool", name="encoder_mask")
        sequences, mask = encoder_frames, encoder_mask
        if spec_augment is not None:
            sequences = SpecAugment(**spec_augment, name="spec_augment")(sequences, mask)
        if not pyramidal:
            sequences = layers.Reshape((-1, num_bins, 1), name="one_channel")(sequences)
            for index in range(2):
                subsample = ConvolutionalSubsampling(filters, name=f"subsampling_{index}")
                sequences, mask = subsample(sequences, mask)  # (batch, positions, bins, filters)
            sequences = layers.Reshape((-1, sequences.shape[2] * filters), name="channels_of_all_bins")(sequences)
        super().__init__(
            inputs={"encoder_frames": encoder_frames, "encoder_mask": encoder_mask},
            outputs=recurrent_stack(sequences, mask, pyramidal=pyramidal, **options),
            stride=2 ** (num_layers - 1) if pyramidal else 4,
            name=name,
        )
        self.options = {
            "num_bins": num_bins, "subsampling": subsampling, "filters": filters, "spec_augment": spec_augment,
            **options,
        }  # fmt: skip

    def get_arguments(self):
        return self.options
