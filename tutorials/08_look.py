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
# The source is an image, and the target describes it: "a large blue square above a small red circle".
#
# This is *Show, Attend and Tell* (Xu et al. 2015). A convolutional network turns the image into a grid of features, the
# grid serves as the memory, and for each word the decoder attends to the regions of the grid.

# %% tags=["parameters"]
NUM_SCENES = 16_000
IMAGE_SIZE = 48  # pixels
EPOCHS = 20
SEED = 1

# %%
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # Hides the message about a missing GPU. None is needed.

import keras
import matplotlib.pyplot as plt
from keras import layers

import kerasseq

keras.utils.set_random_seed(SEED)

# %% [markdown]
# ## Look at the data first
#
# Photographs need a large network and long training. Drawn scenes need neither, and you see at once whether a
# description is right: one or two shapes, in six colours and two sizes, one above the other or to its left. The
# two-shape descriptions of the test set occur in no training pair, so the model cannot recite them: it has to look.
# Sources are the contents of PNG files, as bytes.

# %%
train, validation, test = kerasseq.datasets.load_drawn_scenes(NUM_SCENES, image_size=IMAGE_SIZE)
preprocessor = kerasseq.preprocessing.ImagePreprocessor.from_pairs(train, vocabulary_size=320, image_size=IMAGE_SIZE)
pictures = preprocessor.encode_source([image for image, _ in train[:4]])["encoder_images"]
figure, axes = plt.subplots(1, 4, figsize=(9, 3), layout="constrained")
for axis, picture, (_, text) in zip(axes, pictures, train, strict=False):
    axis.imshow(picture / 255)
    axis.set_axis_off()
    axis.set_title(text.replace(" above ", "\nabove\n").replace(" to the left of ", "\nto the left of\n"), fontsize=9)
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
# The score of region $j$ for token $i$ is $e_{ij} = \tanh(s_{i-1} W + h_j U)\,v$, as in `"bahdanau"`. The weights are
# $a_i = \mathrm{softmax}(e_i)$, and the decoder reads the context vector $c_i = \sum_j a_{ij} h_j$.

# %%
kerasseq.plotting.plot_diagram(
    {
        "image": ("pixels", 0, 0, "data"),
        "backbone": ("convolutional\nbackbone", 1, 0),
        "memory": ("grid of features\n$h_1 ... h_{36}$", 2.2, 0, "state"),
        "before": ("hidden state $s_{i-1}$", 1, 1, "state"),
        "attention": ("attention\nweights $a_{ij}$", 2.2, 1),
        "decoder": ("GRU decoder\nhidden state $s_i$", 2.2, 2),
        "last": ("token $i - 1$", 1, 2, "data"),
        "next": ("token $i$", 3.4, 2, "data"),
    },
    [
        ("image", "backbone"), ("backbone", "memory"), ("memory", "attention"), ("before", "attention"),
        ("attention", "decoder", "context $c_i$"), ("before", "decoder"), ("last", "decoder"), ("decoder", "next"),
    ],
    title="The captioning model: show, attend and tell",
)  # fmt: skip

# %% [markdown]
# This backbone is small enough to train from scratch. For photographs, use a pretrained network instead:
# `kerasseq.backbones.SqueezeNet((160, 160, 3))`, or any model of `keras.applications`.

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
kerasseq.plotting.plot_history(history, title="Training on drawn scenes")

# %% [markdown]
# ## What the model sees

# %%
captioner = kerasseq.TextGenerator(model, preprocessor, sampler="greedy")
test_images, descriptions = zip(*test, strict=True)
texts = captioner.generate(test_images)
exact = kerasseq.evaluation.exact_match(texts, descriptions)["score"]
print(f"{exact:.1f}% of {len(test)} descriptions match exactly")
print(kerasseq.evaluation.caption_bleu(texts, descriptions))

# %% [markdown]
# Where did the model look? Bright regions had the most attention for a word. Do not expect them exactly on the shape:
# mostly they are near the shape that is named, and sometimes in a corner. Each region has seen its neighbourhood
# through four convolutions and, through the normalization layers, something of the whole image. So a region next to a
# shape also knows what the shape is, and the loss rewards words, not plausible attention maps. The words in between,
# "to the left of", can be written from the hidden state alone.

# %% tags=["picture"]
longest = max(range(len(test)), key=lambda index: len(descriptions[index]))
generation = captioner.generate(test_images[longest], details=True)
kerasseq.plotting.plot_image_attention(test_images[longest], generation)

# %% [markdown]
# ## What it gets wrong

# %%
wrong = [row for row, text in enumerate(texts) if text != descriptions[row]][:4]
for row in wrong:
    print(f"expected: {descriptions[row]}\nreceived: {texts[row]}\n")

# %% [markdown]
# Which kinds of errors are there: colour, size, shape, or relative position? At 48 pixels, a small circle and a small
# square differ in only a few pixels. Raise the 4 in the cell to see all errors.
#
# ## Photographs
#
# `kerasseq.datasets.load_flickr8k()` has 8,000 photographs with five captions each (1 GB, for research only). A frozen
# backbone computes the same features in every epoch, so compute them once:
#
# ```python
# train, validation, test = kerasseq.datasets.load_flickr8k()
# preprocessor = kerasseq.preprocessing.ImagePreprocessor.from_pairs(train, vocabulary_size=4_000, image_size=160)
# backbone = kerasseq.backbones.SqueezeNet((160, 160, 3))  # downloads its weights, 3 MB
# backbone.trainable = False
# extractor = kerasseq.encoders.image_features(backbone, normalization="caffe")
# pairs = preprocessor.feature_pairs(train, extractor)
# model = kerasseq.models.CaptioningSeq2Seq(
#     preprocessor.target_vocabulary_size, backbone=None, feature_shape=extractor.output_shape[1:])
# ...
# model = kerasseq.models.with_backbone(model, extractor)
# ```
#
# `benchmarks/flickr8k.py` is the complete program.
#
# ## Serve it
#
# `captioner.export("exported/scenes")` writes a SavedModel whose input `image_bytes` takes the contents of JPEG or PNG
# files. Bytes that are not an image also get an answer, and an output `problem` that says what is wrong.
#
# ## Exercises
#
# 1. `attention="luong"` attends after the recurrence and trains faster. Does it look at the same regions?
# 2. Give the model an image without shapes: `np.full((48, 48, 3), 255, "uint8")`, encoded by TensorFlow's
#    `tf.io.encode_png`. What does it say, and why?
# 3. Make the images 96 pixels wide. Which errors disappear? (The grid then has 12 x 12 regions, and an epoch takes
#    about four times as long.)
#
# **Solutions**
#
# 1. Pass `attention="luong"` to `CaptioningSeq2Seq`. It chooses regions *after* the state has read the last token.
#    `"bahdanau"` chooses them before, from the previous state.
# 2. `import numpy as np`, `import tensorflow as tf`, then `captioner.generate(tf.io.encode_png(np.full((48, 48, 3),
#    255, "uint8")).numpy())`: a description like any other. The model never learned to say that there is nothing, so it
#    says what is likely.
# 3. Set `IMAGE_SIZE = 96` in the parameters cell. Count the kinds of errors before and after.
