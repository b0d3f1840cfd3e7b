"""A captioning model with a small network of its own, trained from scratch, learns to describe drawn scenes."""

import keras
import numpy as np
import pytest
from keras import layers

import kerasseq

pytestmark = pytest.mark.slow

SIZE, EPOCHS, BATCH_SIZE = 40, 14, 64


def initials(description):
    """`"a small red circle above a large blue triangle"` -> `"srcalbt"`, which takes a third of the steps."""
    return "".join(word[0] for word in description.split() if word not in ("a", "the", "left", "of"))


def small_backbone():
    """5 x 5 regions. Group normalization, because batches of texts of one length are batches of similar images."""
    images = keras.Input((SIZE, SIZE, 3))
    features = images
    for index, filters in enumerate((32, 64, 64, 64)):
        strides = 2 if index < 3 else 1
        features = layers.Conv2D(filters, 3, strides, padding="same", kernel_initializer="he_normal")(features)
        features = layers.ReLU()(layers.GroupNormalization(8)(features))
    return keras.Model(images, features)


def test_learns_to_describe_drawn_scenes():
    keras.utils.set_random_seed(0)
    sides = kerasseq.datasets.load_drawn_scenes(12_000, image_size=SIZE)
    # Squares take long to be told from circles.
    train, _, test = ([(image, initials(text)) for image, text in side if "square" not in text] for side in sides)
    assert not {text for _, text in train if len(text) > 3} & {text for _, text in test}
    preprocessor = kerasseq.preprocessing.ImagePreprocessor.from_pairs(train, vocabulary_size=300, image_size=SIZE)
    model = kerasseq.models.CaptioningSeq2Seq(
        preprocessor.target_vocabulary_size, small_backbone(), normalization="tf", cell="gru",
        embedding_dim=32, units=128,
    )  # fmt: skip
    steps = EPOCHS * len(train) // BATCH_SIZE
    rate = keras.optimizers.schedules.CosineDecay(3e-4, steps - 100, alpha=0.02, warmup_target=3e-3, warmup_steps=100)
    model.compile(keras.optimizers.Adam(rate, clipnorm=1.0), kerasseq.losses.MaskedCrossentropy())
    dataset = preprocessor.dataset(train, BATCH_SIZE, shuffle=True).cache().shuffle(100, seed=0)
    model.fit(dataset, epochs=EPOCHS, shuffle=False, verbose=0)
    captioner = kerasseq.TextGenerator(model, preprocessor, sampler="greedy")
    texts = captioner.generate([image for image, _ in test])
    assert np.mean([text == expected for text, (_, expected) in zip(texts, test, strict=True)]) >= 0.9
