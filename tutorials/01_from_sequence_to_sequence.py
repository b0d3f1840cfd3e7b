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
# # 1. From sequence to sequence
#
# Many tasks turn one sequence into another: a date into its ISO form ("3rd of May, 1998" into "1998 05 03"), a sentence
# into its translation, a recording into its transcript. Source and target differ in length, and no rule says which
# source element belongs to which target element: the day may come first or last, and the weekday has no counterpart at
# all.
#
# A classifier cannot do this, because there is no fixed list of answers. A pair of networks can. An **encoder** reads
# the source and summarizes it in one vector. A **decoder** generates the target from that vector, one token at a time
# (Cho et al. 2014; Sutskever et al. 2014). In this tutorial you build the simplest encoder-decoder, compute its steps
# by hand, train it, and find its limits.

# %% tags=["parameters"]
NUM_EXAMPLES = 20_000  # dates
EPOCHS = 16
NUM_SEQUENCES = 20_000  # letter sequences
EPOCHS_SEQUENCES = 12
MAX_LENGTH = 10  # letters
UNITS = 128
NORMALIZATION = "nmt_nfkc"  # of texts: writes "º" as "o", for example
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
# `load_dates` generates dates as people write them, in five languages and 55 formats, each with its ISO 8601 form. No
# test date occurs in the training set, in any format. (All years lie between 1950 and 2049, so 44 means 2044.) We
# replace the hyphens with spaces, so that each target is a few subwords. Further down we train on the same dates as
# characters.

# %%
sides = kerasseq.datasets.load_dates(NUM_EXAMPLES)
train, validation, test = [[(source, iso.replace("-", " ")) for source, iso in side] for side in sides]
print(f"{len(train):,} training dates, {len(validation):,} validation dates, {len(test):,} test dates")
for source, target in train[:6]:
    print(f"{source:28} -> {target}")

# %% [markdown]
# Networks read numbers. The preprocessor splits each text into **tokens**, pieces that are frequent in the data, and
# maps each token to an id. "▁" marks the start of a word. END, printed as `</s>`, closes every sequence: the decoder
# emits it to stop.

# %%
preprocessor = kerasseq.preprocessing.TextPreprocessor.from_pairs(
    train, vocabulary_size=1_500, max_target_length=16, normalization=NORMALIZATION
)
print(preprocessor.source_vocabulary_size, "source tokens,", preprocessor.target_vocabulary_size, "target tokens")
ids = preprocessor.encode_source(["3rd of May, 1998"])  # {"encoder_token_ids": (1, source)}
print("source ids:   ", ids["encoder_token_ids"].numpy()[0])
source_tokens = [token.decode() for token in preprocessor.source_tokens(ids).numpy()[0]]
_, labels = preprocessor.encode_target(["1998 05 03"])  # (1, target)
target_tokens = [token.decode() for token in preprocessor.target_tokens(labels).numpy()[0]]
print("source tokens:", source_tokens)
print("target tokens:", target_tokens)

# %% [markdown]
# ## The model
#
# Let the source have $n$ tokens. Token $j$ is first replaced by its **embedding** $x_j$: a row of a learned table, with
# `embedding_dim` numbers. The encoder is a recurrent network. It keeps a **hidden state** $h_j$ of `units` numbers,
# which starts at zero and is updated once per token:
#
# $$h_j = \tanh(x_j W + h_{j-1} U + b), \qquad j = 1 \ldots n.$$
#
# The function that computes one step is the **cell** of the network. Vectors are rows, as in the code. $W$, $U$ and $b$
# are learned and shared by all steps, so one network reads sources of any length. The last hidden state is the
# **context vector** $c = h_n$. It is all that the decoder ever learns about the source.
#
# The decoder is a second recurrent network, with its own weights. Its hidden state $s_i$ starts at $c$. At each step it
# reads $y_{i-1}$, the embedding of the previous token (at the first step START, printed as `<s>`), and assigns a
# probability to every token of the target vocabulary:
#
# $$s_0 = c, \qquad s_i = \tanh(y_{i-1} W' + s_{i-1} U' + b'), \qquad p_i = \mathrm{softmax}(s_i V + a).$$
#
# The diagram shows the tokens printed above. The middle of the source and the end of the target are left out.

# %%
kerasseq.plotting.plot_diagram(
    {
        "x1": (f"$x_1$: {source_tokens[0]}", 0, 0, "data"),
        "x2": (f"$x_2$: {source_tokens[1]}", 0.75, 0, "data"),
        "xn": (f"$x_n$: {source_tokens[-1]}", 2.0, 0, "data"),
        "e1": ("encoder", 0, 1),
        "e2": ("encoder", 0.75, 1),
        "...": ("...", 1.4, 1),
        "en": ("encoder", 2.0, 1),
        "c": ("context vector\n$c = h_n = s_0$\n(units)", 2.8, 1, "state"),
        "y0": ("$y_0$: <s>", 3.6, 0, "data"),
        "y1": (f"$y_1$: {target_tokens[0]}", 4.35, 0, "data"),
        "y2": (f"$y_2$: {target_tokens[1]}", 5.1, 0, "data"),
        "d1": ("decoder", 3.6, 1),
        "d2": ("decoder", 4.35, 1),
        "d3": ("decoder", 5.1, 1),
        "p1": (f"$p_1$: {target_tokens[0]}", 3.6, 2, "data"),
        "p2": (f"$p_2$: {target_tokens[1]}", 4.35, 2, "data"),
        "p3": (f"$p_3$: {target_tokens[2]}", 5.1, 2, "data"),
    },
    [
        ("x1", "e1"), ("x2", "e2"), ("xn", "en"), ("e1", "e2", "$h_1$"), ("e2", "..."), ("...", "en"), ("en", "c"),
        ("c", "d1"), ("y0", "d1"), ("y1", "d2"), ("y2", "d3"), ("d1", "d2", "$s_1$"), ("d2", "d3", "$s_2$"),
        ("d1", "p1"), ("d2", "p2"), ("d3", "p3"),
    ],
    title="An encoder-decoder: one vector connects the two networks",
)  # fmt: skip

# %% [markdown]
# The model is a `keras.Model` with two parts, `model.encoder` and `model.decoder`. The decoder uses the context vector
# directly as its initial state.

# %%
model = kerasseq.models.VanillaSeq2Seq(
    preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size, embedding_dim=64, units=UNITS
)
encoder, decoder = model.encoder, model.decoder
embedding, forward = encoder.get_layer("embedding"), encoder.get_layer("forward_0")
recurrent = decoder.cells[0]
layers = {
    "encoder, embedding": embedding,
    "encoder, recurrent": forward,
    "decoder, embedding": decoder.embedding,
    "decoder, recurrent": recurrent,
    "decoder, logits": decoder.logits,
}
for name, layer in layers.items():
    for weight in layer.weights:
        print(f"{name:19} {weight.name:17} {tuple(weight.shape)}")

# %% [markdown]
# ## One step by hand
#
# The equations are short enough to compute in NumPy with the model's own weights. First the encoder: one step is one
# line, and a loop over it reads the source. kerasseq calls the hidden states of all steps the encoder's **memory**.


# %%
def arrays(layer):
    """Returns the weights of a layer as NumPy arrays."""
    return [keras.ops.convert_to_numpy(weight) for weight in layer.weights]


def encoder_step(token_id, h):
    """Returns the next hidden state, `(units,)`, from a token id and the current one, `(units,)`."""
    (table,), (W, U, b) = arrays(embedding), arrays(forward)
    return np.tanh(table[token_id] @ W + h @ U + b)


states = keras.ops.convert_to_numpy(encoder(ids)["memory"][0])  # (source, units): the hidden states of all steps
h = np.zeros(UNITS)
for j, token_id in enumerate(ids["encoder_token_ids"].numpy()[0]):
    h = encoder_step(token_id, h)
    print(f"h_{j + 1}: largest difference from Keras {np.abs(h - states[j]).max():.1e}")

# %% [markdown]
# Next, one step of the decoder. It reads START, whose id is 2, and the context vector.


# %%
def decoder_step(token_id, s):
    """Returns the next hidden state, `(units,)`, and logits, `(vocabulary,)`, from a token id and the current state."""
    (table,), (W, U, b), (V, a) = arrays(decoder.embedding), arrays(recurrent), arrays(decoder.logits)
    s = np.tanh(table[token_id] @ W + s @ U + b)
    return s, s @ V + a


START, END = kerasseq.preprocessing.vocabulary.START_ID, kerasseq.preprocessing.vocabulary.END_ID
_, logits = decoder_step(START, h)  # h is the last hidden state, the context vector.
whole = model({**ids, "decoder_token_ids": keras.ops.array([[START]], "int32")})  # (1, 1, vocabulary)
print(f"logits: largest difference from Keras {np.abs(logits - keras.ops.convert_to_numpy(whole)[0, 0]).max():.1e}")

# %% [markdown]
# Logits are the inputs of the softmax. The differences are float32 rounding errors: these two functions are the whole
# model.
#
# ## Training: teacher forcing
#
# During training the correct target is known, so the decoder does not have to read its own output. It reads the
# *correct* previous token, whatever it predicted itself: its inputs are the labels, shifted right by one position, with
# START in front. This is called **teacher forcing**. All steps are trained at once, and an early mistake does not
# derail the steps after it.

# %%
inputs, labels = next(iter(preprocessor.dataset(train[:1], batch_size=1)))
for name, row in {"decoder input": inputs["decoder_token_ids"], "label": labels}.items():
    print(f"{name:15}", [token.decode() for token in preprocessor.target_tokens(row).numpy()[0]])

# %% [markdown]
# The loss is the mean of $-\log p_i(\text{correct token})$ over all target tokens. Short sequences in a batch are
# filled up with padding, id 0, which `MaskedCrossentropy` and `TokenAccuracy` ignore. We pass the metric as one of the
# `weighted_metrics`: Keras weights these by the sample weights, so padding and weighted tokens count right. (Metrics
# passed as `metrics` never see the weights.) The learning rate decays along half a cosine wave to 2 % of its initial
# value. Gradients are clipped to norm 1, because those of recurrent networks occasionally explode.


# %%
def train_model(model, preprocessor, train, validation, epochs, learning_rate):
    """Trains a model with teacher forcing and returns the Keras history."""
    batches = preprocessor.dataset(train, batch_size=64, shuffle=True, seed=SEED)
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, epochs * len(batches), alpha=0.02)
    model.compile(
        keras.optimizers.Adam(schedule, clipnorm=1.0),
        kerasseq.losses.MaskedCrossentropy(),
        weighted_metrics=[kerasseq.metrics.TokenAccuracy()],
    )
    validation_batches = preprocessor.dataset(validation, batch_size=64)
    # The data set shuffles itself, so Keras must not (`shuffle=False`).
    return model.fit(batches, validation_data=validation_batches, epochs=epochs, shuffle=False, verbose=2)


history = train_model(model, preprocessor, train, validation, EPOCHS, learning_rate=2e-3)

# %%
kerasseq.plotting.plot_history(history, title="Training on dates (subwords)")

# %% [markdown]
# ## Generation
#
# Without a teacher, the decoder reads its own previous token until it emits END. With the two step functions above,
# this is a short loop. Taking the most probable token at each step is called *greedy* search.


# %%
def generate_by_hand(text, max_length=16):
    state = np.zeros(UNITS)
    for token_id in preprocessor.encode_source([text])["encoder_token_ids"].numpy()[0]:
        state = encoder_step(token_id, state)
    written = [START]
    while written[-1] != END and len(written) <= max_length:
        state, logits = decoder_step(written[-1], state)
        written.append(int(logits.argmax()))
    return preprocessor.decode([written[1:]]).numpy()[0].decode()


generator = kerasseq.TextGenerator(model, preprocessor, sampler="greedy")
for text in ("3rd of May, 1998", "Sonntag, 23. März 2033", "5 mai 2021"):
    print(f"{text:24} by hand: {generate_by_hand(text):14} TextGenerator: {generator.generate(text)}")

# %% [markdown]
# Teacher forcing and generation are different tasks. In generation the decoder reads its own output, which may be
# wrong. It never saw that in training, so one mistake can lead to others. This gap is called **exposure bias**. So
# judge a model by what it generates. **Exact match** is the percentage of test dates that are entirely correct.

# %%
sources, targets = zip(*test, strict=True)
written = generator.generate(sources)
print(kerasseq.evaluation.exact_match(written, targets))
print("token accuracy under teacher forcing, on validation dates:", f"{history.history['val_token_accuracy'][-1]:.1%}")
for source, text in zip(sources[:4], written, strict=False):
    print(f"{source:28} -> {text}")

# %% [markdown]
# ## What it learned
#
# Nobody told the model that "juin" and "June" are the same month. Do their context vectors agree? For each month we
# average the context vectors of twelve dates, once in English and once in French. We subtract the mean of each language
# and plot the cosine similarity of all pairs, where 1 means the same direction. If the encoder knows the months, the
# diagonal is dark red.

# %%
months = {
    "English": "January February March April May June July August September October November December".split(),
    "French": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre".split(),
}
directions = []
for names in months.values():
    dates = [f"{day} {month} {year}" for month in names for day in (4, 13, 22) for year in (1957, 1986, 2013, 2038)]
    (state,) = encoder(preprocessor.encode_source(dates))["states"]  # one per layer
    contexts = keras.ops.convert_to_numpy(state["hidden"])  # (144, units)
    means = contexts.reshape(12, -1, UNITS).mean(axis=1)  # (months, units): day and year average out
    means -= means.mean(axis=0)
    directions.append(means / np.linalg.norm(means, axis=1, keepdims=True))

figure, axis = plt.subplots(figsize=(6, 5), layout="constrained")
image = axis.imshow(directions[0] @ directions[1].T, cmap="RdBu_r", vmin=-1, vmax=1)
axis.set_xticks(range(12), months["French"], rotation=90)
axis.set_yticks(range(12), months["English"])
axis.set(xlabel="French month", ylabel="English month", title="Context vectors of months: similarity across languages")
figure.colorbar(image, label="cosine similarity")
plt.show()

# %% [markdown]
# ## What it gets wrong

# %%
wrong = [row for row, text in enumerate(written) if text != targets[row]]
for row in wrong[:6]:
    print(f"{sources[row]:28} -> {written[row]:12} expected {targets[row]}")

# %% [markdown]
# Look at which part is wrong: rarely the year. Then look at the formats. All-digit dates that begin with the year are
# rare in the training set, and every format takes practice.
#
# ### The same dates, as characters
#
# Now split the same dates into single characters (all but a few), and keep the hyphens. (A vocabulary begins with 260
# special tokens and single bytes, so a size of 272 leaves room for the ten digits, the hyphen and "▁".) The cell and
# the number of units stay the same, and the learning rate is halved. But the sequences are longer. Half of the dates
# have 11 to 19 source tokens, and every target has 12: "▁", ten characters and END.

# %%
characters = kerasseq.preprocessing.TextPreprocessor(
    kerasseq.preprocessing.train_vocabulary([source for source, _ in sides[0]], 350, NORMALIZATION),
    kerasseq.preprocessing.train_vocabulary([target for _, target in sides[0]], 272, NORMALIZATION),
    max_target_length=16,
)
speller = kerasseq.models.VanillaSeq2Seq(
    characters.source_vocabulary_size, characters.target_vocabulary_size, embedding_dim=64, units=UNITS
)
history = train_model(speller, characters, sides[0], sides[1], EPOCHS, learning_rate=1e-3)
spelled = kerasseq.TextGenerator(speller, characters, sampler="greedy").generate(sources)
for source, text in zip(sources[:4], spelled, strict=False):
    print(f"{source:28} -> {text}")

# %%
right = {
    name: [
        100 * np.mean([text[part] == target[part] for text, target in zip(texts, targets, strict=True)])
        for part in (slice(0, 4), slice(5, 7), slice(8, 10))
    ]
    for name, texts in {"subwords": written, "characters": spelled}.items()
}
figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
for offset, (name, values) in zip((-0.2, 0.2), right.items(), strict=True):
    bars = axis.bar(np.arange(3) + offset, values, 0.38, label=name)
    axis.bar_label(bars, fmt="%.0f")
axis.set_xticks(range(3), ["year", "month", "day"])
axis.set(xlabel="part of the date", ylabel="correct test dates (%)", ylim=(0, 135))
axis.set_title("Accuracy by part of the date: subwords and characters")
axis.legend(loc="upper center", ncols=2)
plt.show()

# %% [markdown]
# Guessing gets one month in twelve right, and one day in thirty. With characters, accuracy drops from left to right.
# The year is written first, usually soon after it was read, and it is learned first. The month is written later, and
# one in five is still wrong. The day comes last and is still a guess.
#
# ### Letter sequences
#
# Dates differ in many ways. To isolate the effect of sequence length, take sequences of random letters and two tasks:
# write the letters in the same order (the *copy task*) or in reverse order (the *reverse task*). Both need every letter
# in the context vector. We train one model per task. The models differ only in their targets.

# %%
rng = np.random.default_rng(SEED)


def random_sequences(number, lengths):
    """Returns random sequences of the letters a to j, separated by spaces, so that each letter is a token."""
    return [" ".join(rng.choice(list("abcdefghij"), length)) for length in rng.choice(lengths, number)]


lengths = np.arange(1, MAX_LENGTH + 1)
sequences, validation_sequences = random_sequences(NUM_SEQUENCES, lengths), random_sequences(300, lengths)
test_sequences = {length: random_sequences(200, [length]) for length in lengths}
letters = kerasseq.preprocessing.TextPreprocessor.from_pairs(
    [(sequence, sequence) for sequence in sequences], vocabulary_size=281
)
exact = {}
for task, step in {"copy": 1, "reverse": -1}.items():
    print(f"\n{task}: {sequences[0]} -> {sequences[0][::step]}")
    letter_model = kerasseq.models.VanillaSeq2Seq(
        letters.source_vocabulary_size, letters.target_vocabulary_size, embedding_dim=32, units=UNITS
    )
    pairs, validation_pairs = (
        [(sequence, sequence[::step]) for sequence in some] for some in (sequences, validation_sequences)
    )
    train_model(letter_model, letters, pairs, validation_pairs, EPOCHS_SEQUENCES, learning_rate=1e-3)
    writer = kerasseq.TextGenerator(letter_model, letters, sampler="greedy")
    exact[task] = [
        kerasseq.evaluation.exact_match(writer.generate(some), [sequence[::step] for sequence in some])["score"]
        for some in test_sequences.values()
    ]

# %% tags=["picture"]
figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
for (task, values), style in zip(exact.items(), ("o-", "s--"), strict=True):
    axis.plot(lengths, values, style, label=f"{task} task")
axis.set(xlabel="sequence length (letters)", ylabel="exact match (% of 200 sequences)")
axis.set_title("Simple RNN: accuracy against sequence length")
axis.set_ylim(-3, 105)
axis.grid(alpha=0.3)
axis.legend()
plt.show()

# %% [markdown]
# Accuracy on the reverse task stays high, so the context vector is large enough: it holds the whole sequence. What
# differs is the distance between reading a letter and writing it. In the copy task, a letter of a sequence of length
# $n$ is always written $n + 1$ steps after it is read (END is read in between). In the reverse task, the last letter is
# written after 2 steps, the one before it after 4, and the first one after $2n$. The mean distance is also $n + 1$. But
# training can start with the short distances, and each further letter adds only two steps. Sutskever et al. 2014
# reversed their source sentences for this reason.
#
# Two obstacles remain for longer sequences. The next two tutorials remove them:
#
# - **The hidden state forgets.** Each step passes the whole state through $U$ and $\tanh$. During training the gradient
#   takes the same path backwards and shrinks with distance (Bengio et al. 1994). Tutorial 2 adds gates, with which the
#   cell can keep what it needs.
# - **The context vector has a fixed size.** For 10 letters or 1,000, it has `units` numbers. Beyond some length, no
#   cell suffices. Tutorial 3 lets the decoder look back at all encoder states.
#
# ## Exercises
#
# 1. How many bits does a sequence of $n$ letters out of ten carry, and how many bits does a context vector of 128
#    floats have? Is its size what keeps the model from copying longer sequences?
# 2. Let the reverse model reverse sequences that are one, two and three letters longer than any in training.
# 3. `generator.generate("3rd of May, 1998", prefixes="2001")` forces the output to begin with 2001. What does the model
#    write next, and why?
#
# **Solutions**
#
# 1. $n \log_2 10$, which is 33 bits for ten letters, against 128 times 32. Even if only a few bits of each float are
#    usable, the size is not the limit here, as the reverse task shows.
# 2. `longer = random_sequences(200, [MAX_LENGTH + 1])`, then `writer.generate(longer)`: `writer` holds the reverse
#    model, which was trained last. Hardly any sequence is right, and most outputs stop at the length the model knows.
#    It learned to emit up to `MAX_LENGTH` letters, not to reverse.
# 3. Usually the month of the source, but often another day. Only the hidden state knows the source, and the decoder
#    continues from that state and from the token it reads. Here it reads a year that contradicts its state. Teacher
#    forcing never showed it such a case, so it never learned what to do.
