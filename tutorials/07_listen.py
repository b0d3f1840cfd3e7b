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
# An encoder-decoder does not care what its source is. Here the encoder reads audio frames, and the decoder is the one
# that translated sentences: it emits one word at a time, and before each word it looks at the position in the recording
# where it expects that word. This is the idea of *Listen, Attend and Spell* (Chan et al. 2016), with two convolutions
# instead of its pyramid of LSTMs, and words instead of characters. The attention is `"location"`, which knows where it
# listened last (Chorowski et al. 2015).

# %% tags=["parameters"]
NUM_TRAIN = 4_000  # strings of digits
EPOCHS_SHORT = 40  # on strings of one or two digits
EPOCHS = 12  # on all strings
UNITS = 96
SEED = 1

# %%
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # Hides the message about a missing GPU. None is needed.

import keras
import matplotlib.pyplot as plt
import numpy as np

import kerasseq

keras.utils.set_random_seed(SEED)

# %% [markdown]
# ## Look at the data first
#
# The Free Spoken Digit Dataset has 3,000 recordings: six speakers say each of the ten digits fifty times, at 8,000
# samples per second. `load_spoken_digits` joins them into strings of one to eight digits by one speaker, with short
# silences in between. Each pair is the content of a WAV file, as bytes, and the words.

# %%
train, validation, test = kerasseq.datasets.load_spoken_digits(num_train=NUM_TRAIN)
print(f"{len(train):,} training strings, {len(validation):,} validation strings, {len(test):,} test strings")
for sound, words in train[:5]:
    print(f"{len(sound):7,} bytes  {words}")

# %% [markdown]
# An audio signal is a long sequence of numbers, far too long for a recurrent network: one second has 8,000. The
# preprocessor cuts it into **frames** of 25 ms, one every 10 ms, and measures the log energy of each frame in 40
# frequency bands, spaced the way the ear hears them (the *mel* scale). Each band is normalized to mean 0 and standard
# deviation 1 over the recording, which reduces the influence of loudness and microphone. All of this is part of the
# graph, so a model server receives the WAV file.
#
# The words become tokens. The vocabulary size of 300 is an upper limit. 260 ids are reserved for special tokens and for
# single bytes, which spell unknown characters. The rest is enough to make each digit one token.

# %%
preprocessor = kerasseq.preprocessing.AudioPreprocessor.from_pairs(
    train, vocabulary_size=300, sample_rate=8_000, max_seconds=12, max_target_length=16
)
example, spoken = next((sound, words) for sound, words in validation if len(words.split()) == 5)
inputs = preprocessor.encode_source([example])
frames = inputs["encoder_frames"][0].numpy()
print("frames:", frames.shape, "(time, mel bands)")

figure, axis = plt.subplots(figsize=(8, 2.6), layout="constrained")
image = axis.imshow(frames.T, origin="lower", aspect="auto", extent=(0, len(frames) / 100, 0, frames.shape[1]))
axis.set(xlabel="time (s)", ylabel="mel band", title=f'Log-mel frames of "{spoken}"')
figure.colorbar(image, label="normalized log energy")
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
# $f_i = F * a_{i-1}$ are a convolution of the previous attention weights. They tell the model where it listened last,
# so that it can move on from there. When "one" is said twice, they tell which of the two is already written.

# %%
kerasseq.plotting.plot_diagram(
    {
        "sound": ("WAV file", 0, 0, "data"),
        "frames": ("log-mel frames", 1, 0, "data"),
        "convolutions": ("2 convolutions\n1 position per 4 frames", 2.2, 0),
        "encoder": ("2 bidirectional\nLSTMs", 3.5, 0),
        "memory": ("memory $h_1 ... h_n$", 3.5, 1, "state"),
        "before": ("hidden state $s_{i-1}$", 1, 1, "state"),
        "attention": ("attention\nfrom $s_{i-1}$, $h$ and $a_{i-1}$", 2.2, 1),
        "decoder": ("LSTM decoder\nhidden state $s_i$", 2.2, 2),
        "last": ("word $i - 1$", 1, 2, "data"),
        "next": ("word $i$", 3.5, 2, "data"),
    },
    [
        ("sound", "frames"), ("frames", "convolutions"), ("convolutions", "encoder"), ("encoder", "memory"),
        ("memory", "attention"), ("attention", "decoder", "context"), ("last", "decoder"), ("decoder", "next"),
        ("before", "attention"), ("before", "decoder"),
    ],
    title="The speech model: listen, attend and spell",
)  # fmt: skip

# %% [markdown]
# `SpecAugment` masks frequency bands and time spans during training, `SpeedPerturbation` plays recordings slightly
# faster or slower, and `AdditiveNoise` adds noise. They add variety that six speakers do not have.

# %%
model = kerasseq.models.SpeechSeq2Seq(
    preprocessor.target_vocabulary_size, num_bins=40, units=UNITS, num_layers=2, embedding_dim=48, dropout=0.2,
    spec_augment={"frequency_width": 6, "time_share": 0.05},
)  # fmt: skip
augmentation = [kerasseq.layers.SpeedPerturbation(seed=SEED), kerasseq.layers.AdditiveNoise(seed=SEED)]

# %% [markdown]
# ## Short strings first
#
# At first the model knows neither what digits sound like nor where to listen, and each would help to learn the other.
# On long strings it can stay for a very long time with the cheapest strategy: attend to everything at once, and guess.
# So we begin with strings of one or two digits. There a guessed position is often right, and training steps are fast.
# Then we continue with all strings. Starting with easy examples is called a curriculum (Bengio et al. 2009).


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
kerasseq.plotting.plot_history(history, title="First stage: one or two digits")

# %% [markdown]
# For about five epochs the accuracy hardly moves: the decoder learns which words exist, but not where to listen. Once
# the attention finds the sound of a word, the loss falls. It cannot reach 0, because the labels are smoothed: the
# correct token has probability 0.9, and the rest is spread over the vocabulary. A model that predicts exactly these
# probabilities has a loss of about 0.9.

# %%
history = fit(train, validation, batch_size=32, epochs=EPOCHS, learning_rate=2e-3)

# %%
kerasseq.plotting.plot_history(history, title="Second stage: one to eight digits")

# %% [markdown]
# In training, the audio is augmented and dropout is active. That is why validation accuracy is higher, and the two
# losses end close together.
#
# ## What the model hears
#
# The word error rate is the number of wrong, missing and extra words, as a percentage of the spoken words.

# %%
listener = kerasseq.TextGenerator(model, preprocessor, sampler="greedy")
sounds, said = zip(*test, strict=True)
heard = listener.generate(sounds)
print(kerasseq.evaluation.word_error_rate(heard, said))
wrong = [(words, text) for words, text in zip(said, heard, strict=True) if words != text]
for words, text in wrong[:8]:
    print(f"said:  {words}\nheard: {text}\n")

# %% [markdown]
# The model omits a digit about as often as it replaces one by another. In one of these strings it repeats a digit to the
# end. To see where it listened, use that string as `example` below.
#
# In the plot, each row is a word and each column a time step of 40 ms. The attention moves forward through the
# recording, with about one bar per word: the LSTMs read in both directions, so a single position can represent a whole
# word.

# %% tags=["picture"]
generation = listener.generate(example, details=True)
figure, axis = plt.subplots(figsize=(8, 2.8), layout="constrained")
seconds = 0.04 * generation.attention.shape[1]
extent = (0, seconds, len(generation.target_tokens) - 0.5, -0.5)
image = axis.imshow(generation.attention, aspect="auto", extent=extent, cmap="Blues", vmin=0)
words = [token.replace("▁", "").replace("</s>", "END") for token in generation.target_tokens]
axis.set_yticks(range(len(words)), words)
axis.set(xlabel="time (s)", ylabel="emitted word", title="Attention weights for each word")
figure.colorbar(image, label="attention weight")
plt.show()

# %% [markdown]
# ## What it gets wrong
#
# The model has heard only six speakers, with little noise. Test it outside that world: one string played at twice the
# speed, and one in loud noise.

# %%
for name, layer in {
    "twice as fast": kerasseq.layers.SpeedPerturbation(2.0, 2.0),
    "noise as loud as the voice": kerasseq.layers.AdditiveNoise(0.0, 0.0, seed=SEED),
}.items():
    waveforms, lengths = layer(*preprocessor.waveforms([sounds[0]]), training=True)
    changed = kerasseq.preprocessing.encode_wav(np.asarray(waveforms[0, : lengths[0]]), 8_000)
    print(f"{name}: said {said[0]!r}, heard {listener.generate(changed)!r}")

# %% [markdown]
# In training, the power of the noise was at most a tenth of the signal's. Here the two are equal, and one word is
# wrong. Speeds in training ranged from 0.9 to 1.1, and twice the speed is too much. One string proves little:
# try others. (`AdditiveNoise(0.0, 0.0)` draws a signal-to-noise ratio between 0 and 0 decibels, which is noise of the
# same power as the signal.)
#
# ## Serve it
#
# `listener.export("exported/digits")` writes a SavedModel whose input `audio_bytes` takes the contents of WAV files, of
# any sample rate, with one or more channels. Bytes that are not a WAV file also get an answer, and an output `problem`
# that says what is wrong. In Python, `generate` rejects them:

# %%
try:
    listener.generate(b"not a sound")
except ValueError as error:
    print(error)

# %% [markdown]
# ## Exercises
#
# 1. Test on a speaker the model has never heard: train with `load_spoken_digits(held_out="theo")`. How much worse is
#    it?
# 2. Take away the attention's knowledge of the past: `attention="bahdanau"`. Which strings suffer?
# 3. Say something yourself: record a WAV file with your phone or computer, and read its bytes.
#
# **Solutions**
#
# 1. Call `train, validation, test = kerasseq.datasets.load_spoken_digits(held_out="theo", num_train=NUM_TRAIN)`, and
#    rerun from the preprocessor on. Five voices teach less about a sixth than about themselves: a larger model, trained
#    for longer (`benchmarks/spoken_digits.py`), gets 1 word in 100 wrong for known speakers, and 1 in 10 for this one.
# 2. Pass `attention="bahdanau"` to `SpeechSeq2Seq`. Look at strings that repeat a digit: two positions that sound alike
#    get almost the same score, and only the decoder's hidden state can tell which of them is already written.
# 3. `import pathlib`, then `listener.generate(pathlib.Path("me.wav").read_bytes())`. The sample rate does not matter.
#    The room and the microphone do.
