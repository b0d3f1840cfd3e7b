"""Pre-training of encoders on texts without targets."""

from typing import Any

import keras
import tensorflow as tf
from keras import layers

from kerasseq.arguments import check_share
from kerasseq.encoders import Encoder, RecurrentEncoder
from kerasseq.losses import MaskedCrossentropy
from kerasseq.preprocessing import TextPreprocessor
from kerasseq.seq2seq import Seq2Seq

__all__ = ["language_model", "language_model_dataset", "language_model_loss"]


def language_model(model: Seq2Seq | Encoder, dropout: float = 0.0, name: str = "language_model") -> keras.Model:
    """A language model in both directions over the first layer of a model's encoder, whose weights it shares.

    The layer that reads forwards predicts the next token, the one that reads backwards, if there is one, the previous
    token. What it learns in `fit` is then in the encoder.

    Args:
        model: an encoder-decoder model of `kerasseq.models` whose sources are token ids, or its encoder.
        dropout: float in [0, 1), share of units dropped before the prediction.
        name: str.

    Returns:
        a functional `keras.Model` from `{"encoder_token_ids": (batch, source)}` to a dict with logits `(batch, source,
        vocabulary)`, float32: `next`, and for an encoder in both directions `previous`.

    Raises:
        ValueError: if there is no recurrent encoder of token ids, or a dropout outside [0, 1).

    Example:

    >>> import keras, kerasseq
    >>> model = kerasseq.models.PointerGeneratorSeq2Seq(100, units=32, embedding_dim=16)
    >>> pretraining = kerasseq.pretraining.language_model(model)
    >>> ids = keras.ops.ones((2, 7), dtype="int32")
    >>> {name: keras.ops.shape(logits) for name, logits in pretraining({"encoder_token_ids": ids}).items()}
    {'next': (2, 7, 100), 'previous': (2, 7, 100)}

    ```python
    pretraining.compile("adam", kerasseq.pretraining.language_model_loss(pretraining))
    dataset = kerasseq.pretraining.language_model_dataset(pretraining, preprocessor, texts, 64, shuffle=True)
    pretraining.fit(dataset, epochs=5, shuffle=False)
    ```

    Source: Peters et al. 2018 (ELMo), section 3.1, for language models in both directions below a task; Ramachandran et
    al. 2017 for those that encoder-decoder models start from.
    """
    check_share("dropout", dropout)
    encoder = model.encoder if isinstance(model, Seq2Seq) else model
    if not isinstance(encoder, RecurrentEncoder):
        raise ValueError(
            "language_model takes a kerasseq.Seq2Seq with a RecurrentEncoder of token ids, or that encoder. Received: "
            f"{model!r}."
        )
    vocabulary_size, embedding_dim = encoder.vocabulary_size, encoder.options["embedding_dim"]
    directions = {"next": "forward_0", "previous": "backward_0"}
    if not encoder.options["bidirectional"]:
        directions.pop("previous")
    head = layers.Dense(vocabulary_size, dtype="float32", name="head")
    outputs = {}
    for output, layer in directions.items():
        features = layers.Dropout(dropout, name=f"{output}_dropout")(encoder.get_layer(layer).output[0])
        outputs[output] = head(layers.Dense(embedding_dim, activation="tanh", name=f"{output}_features")(features))
    return keras.Model(encoder.input, outputs, name=name)


def language_model_loss(model: keras.Model) -> dict[str, MaskedCrossentropy]:
    """The losses to compile a `language_model` with, by the name of the direction."""
    return {name: MaskedCrossentropy() for name in model.output}


def language_model_dataset(
    model: keras.Model, preprocessor: TextPreprocessor, texts: list[str], batch_size: int, shuffle: Any = False
) -> tf.data.Dataset:
    """Batches of texts for a `language_model`.

    Args:
        model: the language model.
        preprocessor: a `kerasseq.preprocessing.TextPreprocessor`.
        texts: list of str. Those that are longer than its `max_source_length` are dropped when shuffled, else cut.
        batch_size: int, texts a batch.
        shuffle: as in `TextPreprocessor.dataset`.

    Returns:
        a `tf.data.Dataset` of `({"encoder_token_ids": (batch, source)}, {"next": (batch, source), "previous": (batch,
        source)})`, int32, as far as the model predicts them; 0 where there is no token, before the first and behind
        END.

    Raises:
        ValueError: if `texts` is a single string, or as `TextPreprocessor.dataset`.
    """
    if isinstance(texts, (str, bytes)):
        raise ValueError("texts must be a list of strings. Received: a single string. Put it in a list.")
    pairs = [(text, "") for text in texts]

    def with_neighbours(inputs, _):
        token_ids = inputs["encoder_token_ids"]
        neighbours = {
            "next": tf.pad(token_ids[:, 1:], [[0, 0], [0, 1]]),
            "previous": tf.where(token_ids == 0, 0, tf.pad(token_ids[:, :-1], [[0, 0], [1, 0]])),
        }
        return {"encoder_token_ids": token_ids}, {name: neighbours[name] for name in model.output}

    return preprocessor.dataset(pairs, batch_size, shuffle=shuffle).map(with_neighbours)
