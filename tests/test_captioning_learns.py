"""A captioning model with a small network of its own, trained from nothing, learns to describe drawn scenes."""

import keras
import numpy as np
import pytest
from keras import layers

import kerasseq

pytestmark = pytest.mark.slow

SIZE, EPOCHS, BATCH_SIZE = 40, 30, 64


def initials(description):
    """`"a large red circle above a large blue square"` -> `"rcabs"`, which takes a fifth of the steps."""
    return "".join(word[0] for word in description.split() if word not in ("a", "large", "the", "left", "of"))


def small_backbone():
    images = keras.Input((SIZE, SIZE, 3))
    features = images
    for filters in (24, 48, 64):
        features = layers.Conv2D(filters, 3, strides=2, padding="same", kernel_initializer="he_normal")(features)
        features = layers.ReLU()(layers.GroupNormalization(8)(features))
    features = layers.Conv2D(64, 3, padding="same", activation="relu", kernel_initializer="he_normal")(features)
    return keras.Model(images, features)


def test_learns_to_describe_drawn_scenes():
    keras.utils.set_random_seed(0)
    sides = kerasseq.datasets.load_drawn_scenes(12_000, image_size=SIZE)
    # Small shapes take more pixels, and so more time, to be told apart.
    train, _, test = ([(image, initials(text)) for image, text in side if "small" not in text] for side in sides)
    assert not {text for _, text in train if len(text) > 2} & {text for _, text in test}
    preprocessor = kerasseq.preprocessing.ImagePreprocessor.from_pairs(train, vocabulary_size=300, image_size=SIZE)
    model = kerasseq.models.CaptioningSeq2Seq(
        preprocessor.target_vocabulary_size,
        small_backbone(),
        normalization="tf",
        cell="gru",
        embedding_dim=32,
        units=128,
    )
    rate = keras.optimizers.schedules.CosineDecay(3e-3, EPOCHS * len(train) // BATCH_SIZE, alpha=0.02)
    model.compile(keras.optimizers.Adam(rate, clipnorm=1.0), kerasseq.losses.MaskedCrossentropy())
    dataset = preprocessor.dataset(train, BATCH_SIZE, shuffle=True).cache()
    model.fit(dataset, epochs=EPOCHS, shuffle=False, verbose=2)
    captioner = kerasseq.TextGenerator(model, preprocessor, sampler="greedy")
    texts = captioner.generate([image for image, _ in test])
    exact = np.mean([text == expected for text, (_, expected) in zip(texts, test, strict=True)])
    print(exact)
    assert exact >= 0.9
