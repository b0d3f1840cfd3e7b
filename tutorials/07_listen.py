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
# # 7. Listen
#
# A person says "three one four". The program writes `three one four`.
#
# The encoder-decoder does not care what a source is. Here the encoder hears frames of sound, and the decoder is the one
# that translates sentences: it writes one word after the other, and before each it looks at the place of the sound
# where it expects the next word. This is the idea of *Listen, Attend and Spell* (Chan et al. 2016), with two
# convolutions in place of its pyramid of LSTMs, and words in place of characters; the attention is that of Chorowski et
# al. 2015, which knows where it listened last.

# %% tags=["parameters"]
NUM_TRAIN = 4_000  # strings of digits
EPOCHS_SHORT = 40  # over those of one or two digits
EPOCHS = 12  # over all of them
UNITS = 96
SEED = 1

# %%
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reports a missing GPU as an error; none is needed here.

import keras
import matplotlib.pyplot as plt
import numpy as np

import kerasseq

keras.utils.set_random_seed(SEED)

# %% [markdown]
# ## The data, looked at first
#
# The Free Spoken Digit Dataset has 3,000 recordings: six people say ten digits fifty times each, at 8,000 samples a
# second. `load_spoken_digits` joins them into strings of one to eight digits by one speaker, with short silences. Each
# pair is the content of a WAV file, bytes, and the words.

# %%
train, validation, test = kerasseq.datasets.load_spoken_digits(num_train=NUM_TRAIN)
print(len(train), len(validation), len(test))
for sound, words in train[:5]:
    print(f"{len(sound):7,} bytes  {words}")

# %% [markdown]
# Sound is a long row of numbers, far too long for a recurrent network: a second has 8,000. The preprocessor cuts it
# into **frames** of 25 ms, one every 10 ms, and measures how much energy each has in 40 bands of frequency, spaced as
# the ear hears them (the *mel* scale), in logarithms. Each band then gets the mean 0 and the standard deviation 1 over
# the sound, so that loudness matters little, and the microphone less. All of this is part of the graph: a model server
# gets the WAV file.
#
# The words become tokens. Of the 300, which are an upper limit, 260 are special tokens and single bytes, for characters
# that are not known; what is left is enough for each digit to be one.

# %%
preprocessor = kerasseq.preprocessing.AudioPreprocessor.from_pairs(
    train, vocabulary_size=300, sample_rate=8_000, max_seconds=12, max_target_length=16
)
example, spoken = next((sound, words) for sound, words in validation if len(words.split()) == 5)
inputs = preprocessor.encode_source([example])
frames = inputs["encoder_frames"][0].numpy()
print("frames:", frames.shape, "(time, mel bins)")

figure, axis = plt.subplots(figsize=(8, 2.6), layout="constrained")
image = axis.imshow(frames.T, origin="lower", aspect="auto", extent=(0, len(frames) / 100, 0, frames.shape[1]))
axis.set(xlabel="time in seconds", ylabel="mel bin", title=f"Log-mel frames: {spoken}")
figure.colorbar(image, label="standard deviations from the mean")
plt.show()

# %% [markdown]
# ## The model
#
# | part | what it does | shape |
# |---|---|---|
# | input | frames and their mask | `(batch, frames, 40)` |
# | two convolutions | each halves the frames and the bins | `(batch, frames / 4, 10 * 32)` |
# | two bidirectional LSTMs | the memory: what is heard around each position | `(batch, frames / 4, 2 * units)` |
# | attention | where to listen for the next word | `(batch, words, frames / 4)` |
# | LSTM decoder | the next word | `(batch, words, vocabulary)` |
#
# The score of memory position $j$ for word $i$ is $e_{ij} = \tanh(s_{i-1} W + h_j U + f_{ij} G + b)\,v$. The features
# $f_i = F * a_{i-1}$ are a convolution of the last weights: they say where the model listened before, so it can go on
# from there, and where "one" is said twice, can tell which of the two it has written.

# %%
kerasseq.plotting.plot_diagram(
    {
        "sound": ("WAV file", 0, 0, "data"),
        "frames": ("log-mel frames", 1, 0, "data"),
        "convolutions": ("2 convolutions\na position for 4 frames", 2.2, 0),
        "encoder": ("2 bidirectional\nLSTMs", 3.5, 0),
        "memory": ("memory $h_1 ... h_n$", 3.5, 1, "state"),
        "before": ("state $s_{i-1}$", 1, 1, "state"),
        "attention": ("attention\nfrom $s_{i-1}$, $h$ and $a_{i-1}$", 2.2, 1),
        "decoder": ("LSTM decoder\nstate $s_i$", 2.2, 2),
        "last": ("word $i - 1$", 1, 2, "data"),
        "next": ("word $i$", 3.5, 2, "data"),
    },
    [
        ("sound", "frames"), ("frames", "convolutions"), ("convolutions", "encoder"), ("encoder", "memory"),
        ("memory", "attention"), ("attention", "decoder", "context"), ("last", "decoder"), ("decoder", "next"),
        ("before", "attention"), ("before", "decoder"),
    ],
    title="Listen, attend and spell",
)  # fmt: skip

# %% [markdown]
# `SpecAugment` hides bands of frequency and moments of time in training, `SpeedPerturbation` plays sounds a little
# faster or slower, `AdditiveNoise` adds noise. They make the data more varied than six speakers are.

# %%
model = kerasseq.models.SpeechSeq2Seq(
    preprocessor.target_vocabulary_size, num_bins=40, units=UNITS, num_layers=2, embedding_dim=48, dropout=0.2,
    spec_augment={"frequency_width": 6, "time_share": 0.05},
)  # fmt: skip
augmentation = [kerasseq.layers.SpeedPerturbation(seed=SEED), kerasseq.layers.AdditiveNoise(seed=SEED)]

# %% [markdown]
# ## Short strings first
#
# At first the model knows neither what digits sound like nor where to listen, and either would help to find the other.
# On long strings it can do for a very long time what little seems to cost least: look everywhere at once, and guess. So
# we begin with strings of one or two digits, where a guess of the place is often right, and which are quick to compute,
# and go on with all of them. To begin with what is easy is called a curriculum (Bengio et al. 2009).


# %%
def fit(pairs, validation_pairs, batch_size, epochs, learning_rate):
    batches = preprocessor.dataset(pairs, batch_size, shuffle=True, seed=SEED, augmentation=augmentation)
    validation_batches = preprocessor.dataset(validation_pairs, batch_size)
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, epochs * len(batches), alpha=0.1)
    model.compile(
        keras.optimizers.Adam(schedule, clipnorm=1.0),
        kerasseq.losses.MaskedCrossentropy(label_smoothing=0.1),
        weighted_metrics=[kerasseq.metrics.TokenAccuracy()],
    )
    return model.fit(batches, validation_data=validation_batches, epochs=epochs, shuffle=False, verbose=2)


def short(pairs):
    return [(sound, words) for sound, words in pairs if len(words.split()) <= 2]


history = fit(short(train), short(validation), batch_size=16, epochs=EPOCHS_SHORT, learning_rate=2e-3)

# %%
kerasseq.plotting.plot_history(history, title="One or two digits")

# %% [markdown]
# For about five epochs the accuracy hardly moves: the decoder learns which words there are, but not where to listen.
# Once the attention has found the sound of a word, the loss falls. It cannot fall to 0, for the labels are smoothed:
# they give the right token 0.9 of the probability and spread the rest over all, and a model that is right and as sure
# as they are has a loss of about 0.9.

# %%
history = fit(train, validation, batch_size=32, epochs=EPOCHS, learning_rate=2e-3)

# %%
kerasseq.plotting.plot_history(history, title="One to eight digits")

# %% [markdown]
# In training the sounds are changed and units dropped: its accuracy is higher on validation, and the losses end close
# together.
#
# ## What it hears
#
# The word error rate counts words that are wrong, missing or too many, over the words that were said, in percent.

# %%
listener = kerasseq.TextGenerator(model, preprocessor, sampler="greedy")
sounds, said = zip(*test, strict=True)
heard = listener.generate(sounds)
print(kerasseq.evaluation.word_error_rate(heard, said))
wrong = [(words, text) for words, text in zip(said, heard, strict=True) if words != text]
for words, text in wrong[:8]:
    print(f"said:  {words}\nheard: {text}\n")

# %% [markdown]
# Most errors are one digit taken for another. In two of these strings it says one digit again and again to the end:
# take one of them as `example` below, to see where it listened.
#
# Where it listened: each row is a word, each column a moment of 40 ms. The bars go forward through the sound, about one
# for each word: the LSTMs read both ways, so one position can know all of a word.

# %% tags=["picture"]
generation = listener.generate(example, details=True)
figure, axis = plt.subplots(figsize=(8, 2.8), layout="constrained")
seconds = 0.04 * generation.attention.shape[1]
extent = (0, seconds, len(generation.target_tokens) - 0.5, -0.5)
image = axis.imshow(generation.attention, aspect="auto", extent=extent, cmap="Blues", vmin=0)
words = [token.replace("▁", "").replace("</s>", "(end)") for token in generation.target_tokens]
axis.set_yticks(range(len(words)), words)
axis.set(xlabel="time in seconds", title="Where the decoder listens for each word")
figure.colorbar(image, label="weight")
plt.show()

# %% [markdown]
# ## What it gets wrong
#
# It has only ever heard six people, with little noise. So take it out of its world: a string that is played twice as
# fast, and one in loud noise.

# %%
for name, layer in {
    "twice as fast": kerasseq.layers.SpeedPerturbation(2.0, 2.0),
    "noise as loud as the voice": kerasseq.layers.AdditiveNoise(0.0, 0.0, seed=SEED),
}.items():
    waveforms, lengths = layer(*preprocessor.waveforms([sounds[0]]), training=True)
    changed = kerasseq.preprocessing.encode_wav(np.asarray(waveforms[0, : lengths[0]]), 8_000)
    print(f"{name}: said {said[0]!r}, heard {listener.generate(changed)!r}")

# %% [markdown]
# It has heard noise in training, though never louder than a tenth of the sound's power; here it reaches further than
# that. Speeds it has heard from 0.9 to 1.1 times; twice as fast is too far. One string proves little: try others.
# (`AdditiveNoise(0.0, 0.0)` draws from signal-to-noise ratios of 0 to 0 decibels: noise of the same power.)
#
# ## Serve it
#
# `listener.export("exported/digits")` writes a SavedModel whose input `audio_bytes` are the contents of WAV files, of
# any sample rate, with one or more channels. What is no WAV file has an answer as well, and an output `problem` that
# says what is wrong. In Python, `generate` refuses it:

# %%
try:
    listener.generate(b"not a sound")
except ValueError as error:
    print(error)

# %% [markdown]
# ## Exercises
#
# 1. A speaker that the model never heard: train with `load_spoken_digits(held_out="theo")`. How much worse is it?
# 2. Take the attention's knowledge of the past away: `attention="bahdanau"`. Which strings suffer?
# 3. Say something yourself: record a WAV file with your phone or computer, and read its bytes.
#
# **Solutions**
#
# 1. `train, validation, test = kerasseq.datasets.load_spoken_digits(held_out="theo", num_train=NUM_TRAIN)`, and the
#    cells from the preprocessor on. Five voices teach less about a sixth than about themselves: a larger model, trained
#    for longer (`benchmarks/spoken_digits.py`), gets 1 word in 100 wrong on speakers that it knows, and 1 in 10 on this
#    one.
# 2. Pass `attention="bahdanau"` to `SpeechSeq2Seq`. Look at strings in which a digit comes twice: two places that sound
#    alike get much the same score, and only the decoder's state can tell which of them has been written already.
# 3. `import pathlib`, and `listener.generate(pathlib.Path("me.wav").read_bytes())`. The rate does not matter; the room
#    and the microphone do.
