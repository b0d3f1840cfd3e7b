"""The layers within a layer, and which of their weights are frozen."""

from collections.abc import Iterable

import keras


def inner_layers(layer: keras.layers.Layer) -> set[keras.layers.Layer]:
    """A layer and all layers in it, at any depth."""
    found: set[keras.layers.Layer] = set()
    remaining = [layer]
    while remaining:
        layer = remaining.pop()
        if layer not in found:
            found.add(layer)
            for value in vars(layer).values():
                values = value.values() if isinstance(value, dict) else value
                values = values if isinstance(value, (list, tuple, dict)) else [value]
                remaining += [inner for inner in values if isinstance(inner, keras.layers.Layer)]
    return found


def serialized(layer: keras.layers.Layer) -> dict:
    """The configuration of a layer within another one, without shapes: the outer layer builds it."""
    config = keras.saving.serialize_keras_object(layer)
    config.pop("build_config", None)
    return config


def frozen_weights(model: keras.Model) -> list[int]:
    """The positions of the frozen weights in `model.weights`."""
    return [index for index, weight in enumerate(model.weights) if not weight.trainable]


def freeze_weights(model: keras.Model, frozen: Iterable[int]) -> None:
    """Freezes the weights at these positions of `model.weights`, no others, and layers that have no other weights."""
    frozen = set(frozen)
    for index, weight in enumerate(model.weights):
        weight.trainable = index not in frozen
    for layer in inner_layers(model):
        if layer.weights and not any(weight.trainable for weight in layer.weights):
            layer.trainable = False
