# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # 8. Look
#
# A picture goes in, a sentence comes out: "a large blue square above a small red circle".
#
# This is *Show, Attend and Tell* (Xu et al. 2015). A convolutional network makes a grid of features of the picture; the
# grid is the memory; and for each word the decoder weighs the regions of the grid.

# %% tags=["parameters"]
NUM_SCENES = 16_000
IMAGE_SIZE = 48  # pixels
EPOCHS = 20
SEED = 1

# %%
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reports a missing GPU as an error; none is needed here.

import keras
import matplotlib.pyplot as plt
from keras import layers

import kerasseq

keras.utils.set_random_seed(SEED)

# %% [markdown]
# ## The data, looked at first
#
# Photographs need a large network and a long training. Drawn scenes need neither, and one sees at once what is right:
# one or two shapes, in six colours and two sizes, one above the other or to its left. The two-shape descriptions of the
# test are in no training pair: the model has to look, it cannot remember. Sources are the contents of PNG files, bytes.

# %%
train, validation, test = kerasseq.datasets.load_drawn_scenes(NUM_SCENES, image_size=IMAGE_SIZE)
preprocessor = kerasseq.preprocessing.ImagePreprocessor.from_pairs(train, vocabulary_size=320, image_size=IMAGE_SIZE)
pictures = preprocessor.encode_source([image for image, _ in train[:4]])["encoder_images"]
figure, axes = plt.subplots(1, 4, figsize=(9, 2.6), layout="constrained")
for axis, picture, (_, text) in zip(axes, pictures, train, strict=False):
    axis.imshow(picture / 255)
    axis.set_axis_off()
    axis.set_title(text.replace(" above ", "\nabove\n").replace(" to the left of ", "\nto the left of\n"), fontsize=8)
plt.show()

# %% [markdown]
# ## The model
#
# | part | what it does | shape |
# |---|---|---|
# | input | pixels from 0 to 255 | `(batch, 48, 48, 3)` |
# | backbone | a grid of features | `(batch, 6, 6, 64)` |
# | memory | the regions of the grid, row by row | `(batch, 36, 64)` |
# | bridge, in the decoder | its initial state, from the mean of all regions | `(batch, units)` |
# | attention | where to look for the next token | `(batch, tokens, 36)` |
# | GRU decoder | the next token | `(batch, tokens, vocabulary)` |
#
# The score of region $j$ for token $i$ is $e_{ij} = \tanh(s_{i-1} W + h_j U)\,v$, the weights are
# $a_i = \mathrm{softmax}(e_i)$, and the decoder reads the context $c_i = \sum_j a_{ij} h_j$.

# %%
kerasseq.plotting.plot_diagram(
    {
        "image": ("pixels", 0, 0, "data"),
        "backbone": ("convolutional\nbackbone", 1, 0),
        "memory": ("grid of features\n$h_1 ... h_{36}$", 2.2, 0, "state"),
        "before": ("state $s_{i-1}$", 1, 1, "state"),
        "attention": ("attention\nweights $a_{ij}$", 2.2, 1),
        "decoder": ("GRU decoder\nstate $s_i$", 2.2, 2),
        "last": ("token $i - 1$", 1, 2, "data"),
        "next": ("token $i$", 3.4, 2, "data"),
    },
    [
        ("image", "backbone"), ("backbone", "memory"), ("memory", "attention"), ("before", "attention"),
        ("attention", "decoder", "context $c_i$"), ("before", "decoder"), ("last", "decoder"), ("decoder", "next"),
    ],
    title="Show, attend and tell",
)  # fmt: skip

# %% [markdown]
# The backbone is small enough to be trained from nothing. For photographs, put a network in its place that has seen
# many: `kerasseq.backbones.SqueezeNet((160, 160, 3))`, or any of `keras.applications`.

# %%
images = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3))
features = images
for filters in (24, 48, 64):
    features = layers.Conv2D(filters, 3, strides=2, padding="same", kernel_initializer="he_normal")(features)
    features = layers.ReLU()(layers.GroupNormalization(8)(features))
features = layers.Conv2D(64, 3, padding="same", activation="relu", kernel_initializer="he_normal")(features)
backbone = keras.Model(images, features, name="small_backbone")

model = kerasseq.models.CaptioningSeq2Seq(
    preprocessor.target_vocabulary_size, backbone, normalization="tf", cell="gru", units=96, embedding_dim=32
)
batches = preprocessor.dataset(train, batch_size=64, shuffle=True, seed=SEED)
validation_batches = preprocessor.dataset(validation, batch_size=64)
schedule = keras.optimizers.schedules.CosineDecay(3e-3, EPOCHS * len(batches), alpha=0.02)
model.compile(
    keras.optimizers.Adam(schedule, clipnorm=1.0),
    kerasseq.losses.MaskedCrossentropy(),
    weighted_metrics=[kerasseq.metrics.TokenAccuracy()],
)
history = model.fit(batches, validation_data=validation_batches, epochs=EPOCHS, shuffle=False, verbose=2)

# %%
kerasseq.plotting.plot_history(history, title="Learning to look")

# %% [markdown]
# ## What it sees

# %%
captioner = kerasseq.TextGenerator(model, preprocessor, sampler="greedy")
test_images, descriptions = zip(*test, strict=True)
texts = captioner.generate(test_images)
exact = kerasseq.evaluation.exact_match(texts, descriptions)["score"]
print(f"{exact:.1f}% of {len(test)} descriptions are right to the last word")
print(kerasseq.evaluation.caption_bleu(texts, descriptions))

# %% [markdown]
# Where it looked: bright regions had the most attention for a word. Do not expect it to stand exactly on the shape:
# mostly it is near the one that is named, and sometimes in a corner. Each region of the grid has seen its neighbourhood
# through four convolutions and, through the normalizations, something of the whole picture. So a region beside a shape
# knows as well what it is, and the model is paid for words, not for pictures of its attention. The words between, "to
# the left of", can be written from what the state remembers.

# %% tags=["picture"]
longest = max(range(len(test)), key=lambda index: len(descriptions[index]))
generation = captioner.generate(test_images[longest], details=True)
kerasseq.plotting.plot_image_attention(test_images[longest], generation)

# %% [markdown]
# ## What it gets wrong

# %%
wrong = [row for row, text in enumerate(texts) if text != descriptions[row]][:4]
for row in wrong:
    print(f"is:   {descriptions[row]}\nsees: {texts[row]}\n")

# %% [markdown]
# Which kinds of mistakes are there: the colour, the size, the shape, or how the two things stand? At 48 pixels a small
# circle and a small square differ by a few of them only. Raise the 4 in the cell to see all.
#
# ## Photographs
#
# `kerasseq.datasets.load_flickr8k()` has 8,000 photographs with five captions each (1 GB, for research only). A
# backbone that is frozen gives the same features in every epoch, so compute them once:
#
# ```python
# train, validation, test = kerasseq.datasets.load_flickr8k()
# preprocessor = kerasseq.preprocessing.ImagePreprocessor.from_pairs(train, vocabulary_size=4_000, image_size=160)
# backbone = kerasseq.backbones.SqueezeNet((160, 160, 3))  # its weights are downloaded, 3 MB
# backbone.trainable = False
# extractor = kerasseq.encoders.image_features(backbone, normalization="caffe")
# pairs = preprocessor.feature_pairs(train, extractor)
# model = kerasseq.models.CaptioningSeq2Seq(
#     preprocessor.target_vocabulary_size, backbone=None, feature_shape=extractor.output_shape[1:])
# ...
# model = kerasseq.models.with_backbone(model, extractor)
# ```
#
# `benchmarks/flickr8k.py` does it from beginning to end.
#
# ## Serve it
#
# `captioner.export("exported/scenes")` writes a SavedModel whose input `image_bytes` are the contents of JPEG or PNG
# files. What is no image has an answer as well, and an output `problem` that says what is wrong.
#
# ## Exercises
#
# 1. `attention="luong"` stands after the recurrence, and trains faster. Does it look at the same regions?
# 2. Give the model a picture without any shape: `np.full((48, 48, 3), 255, "uint8")`, encoded by `tf.io.encode_png` of
#    TensorFlow. What does it say, and why?
# 3. Make the pictures 96 pixels wide. Which mistakes go away? (The grid then has 12 x 12 regions, and an epoch takes
#    about four times as long.)
#
# **Solutions**
#
# 1. Pass `attention="luong"` to `CaptioningSeq2Seq`. Its regions are chosen *after* the state has read the last token;
#    Bahdanau's are chosen before that, by the state of the step before.
# 2. `import numpy as np`, `import tensorflow as tf`, then
#    `captioner.generate(tf.io.encode_png(np.full((48, 48, 3), 255, "uint8")).numpy())`: a description like any other.
#    The model has never learned to say that there is nothing; it says what is likely.
# 3. `IMAGE_SIZE = 96` in the cell of parameters. Count the kinds of mistakes before and after.
