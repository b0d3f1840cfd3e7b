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
# "3rd of May, 1998" goes in, "1998 05 03" comes out. A sentence goes in, its translation comes out. A sound goes in,
# what was said comes out. In each of these tasks a sequence becomes another one, of another length, and no rule says
# which element of the one belongs to which of the other: the day may stand first or last, and the weekday belongs to
# nothing.
#
# A classifier cannot do this, for there is no fixed list of answers. What can is a pair of networks. An **encoder**
# reads the source and sums it up. A **decoder** writes the target, one token after the other (Cho et al. 2014;
# Sutskever et al. 2014). Here you build the simplest such pair, compute its steps by hand, train it, and find out where
# it ends.

# %% tags=["parameters"]
NUM_EXAMPLES = 20_000  # dates
EPOCHS = 16
NUM_ROWS = 20_000  # rows of letters
EPOCHS_ROWS = 12
MAX_LENGTH = 10  # letters
UNITS = 128
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
# `load_dates` generates dates as people write them, in five languages and 55 forms, each with its ISO 8601 form. No
# date of the test is in the training, however it is written. (All years are from 1950 to 2049, so 44 is 2044.) We put
# spaces in the place of the hyphens, so that the target is a few subwords; further down, the same dates in characters.

# %%
sides = kerasseq.datasets.load_dates(NUM_EXAMPLES)
train, validation, test = [[(source, iso.replace("-", " ")) for source, iso in side] for side in sides]
print(len(train), len(validation), len(test))
for source, target in train[:6]:
    print(f"{source:28} -> {target}")

# %% [markdown]
# Networks read numbers. The preprocessor cuts each text into **tokens**, pieces that are frequent in the data, and
# gives each an id. "▁" begins a word, and END, shown as `</s>`, ends every sequence: the decoder says with it that it
# is done.

# %%
preprocessor = kerasseq.preprocessing.TextPreprocessor.from_pairs(train, vocabulary_size=1_500, max_target_length=16)
print(preprocessor.source_vocabulary_size, "source tokens,", preprocessor.target_vocabulary_size, "target tokens")
ids = preprocessor.encode_source(["3rd of May, 1998"])  # {"encoder_token_ids": (1, source)}
print(ids["encoder_token_ids"].numpy()[0])
print([piece.decode() for piece in preprocessor.source_tokens(ids).numpy()[0]])

# %% [markdown]
# ## The model
#
# Let the source have $n$ tokens, and let $x_j$ be the **embedding** of token $j$: a row of a table that is learned, of
# `embedding_dim` numbers. The encoder is a recurrent network. It has a **state** $h_j$ of `units` numbers, which begins
# at zero and takes in one token a step:
#
# $$h_j = \tanh(x_j W + h_{j-1} U + b), \qquad j = 1 \ldots n.$$
#
# This step is the **cell** of the network. Vectors are rows, as in the code. $W$, $U$ and $b$ are learned, and the same
# in all steps. So one network reads sources of any length. Its last state is the **context vector** $c = h_n$: all that
# the decoder will ever know of the source.
#
# The decoder is such a network too, with weights of its own. Its state $s_i$ begins at $c$. In each step it reads the
# embedding $y_{i-1}$ of the token that was written last (at first: START), and gives a probability to each token:
#
# $$s_0 = c, \qquad s_i = \tanh(y_{i-1} W' + s_{i-1} U' + b'), \qquad p_i = \mathrm{softmax}(s_i V + a).$$
#
# In the picture each word is one token, and END is left out.

# %%
kerasseq.plotting.plot_diagram(
    {
        "x1": ("$x_1$: 3rd", 0, 0, "data"),
        "x2": ("$x_2$: May", 0.8, 0, "data"),
        "x3": ("$x_3$: 1998", 1.6, 0, "data"),
        "e1": ("encoder", 0, 1),
        "e2": ("encoder", 0.8, 1),
        "e3": ("encoder", 1.6, 1),
        "c": ("context\n$c = h_3 = s_0$\n(units)", 2.5, 1, "state"),
        "y0": ("$y_0$: START", 3.4, 0, "data"),
        "y1": ("$y_1$: 1998", 4.2, 0, "data"),
        "y2": ("$y_2$: 05", 5.0, 0, "data"),
        "d1": ("decoder", 3.4, 1),
        "d2": ("decoder", 4.2, 1),
        "d3": ("decoder", 5.0, 1),
        "p1": ("$p_1$: 1998", 3.4, 2, "data"),
        "p2": ("$p_2$: 05", 4.2, 2, "data"),
        "p3": ("$p_3$: 03", 5.0, 2, "data"),
    },
    [
        ("x1", "e1"), ("x2", "e2"), ("x3", "e3"), ("e1", "e2", "$h_1$"), ("e2", "e3", "$h_2$"), ("e3", "c"),
        ("c", "d1"), ("y0", "d1"), ("y1", "d2"), ("y2", "d3"), ("d1", "d2", "$s_1$"), ("d2", "d3", "$s_2$"),
        ("d1", "p1"), ("d2", "p2"), ("d3", "p3"),
    ],
    title="The encoder reads, hands over one vector, and the decoder writes",
)  # fmt: skip

# %% [markdown]
# The model is a `keras.Model` of two parts, `model.encoder` and `model.decoder`. The decoder starts from the context as
# it is.

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
# The equations are short enough to compute them in NumPy, from the model's own weights. First the encoder: one step is
# one line, and a loop of it reads the source. The encoder calls the states of all steps its **memory**.


# %%
def numbers(layer):
    """The weights of a layer as NumPy arrays."""
    return [keras.ops.convert_to_numpy(weight) for weight in layer.weights]


def encoder_step(token_id, h):
    """One token and the state before it, `(units,)`, to the state behind it, `(units,)`."""
    (table,), (W, U, b) = numbers(embedding), numbers(forward)
    return np.tanh(table[token_id] @ W + h @ U + b)


states = keras.ops.convert_to_numpy(encoder(ids)["memory"][0])  # (source, units): the states of all steps
h = np.zeros(UNITS)
for j, token_id in enumerate(ids["encoder_token_ids"].numpy()[0]):
    h = encoder_step(token_id, h)
    print(f"h_{j + 1}: largest difference to Keras {np.abs(h - states[j]).max():.1e}")

# %% [markdown]
# Then one step of the decoder. It reads START, whose id is 2, and the context.


# %%
def decoder_step(token_id, s):
    """The last token and the state before it to the state behind it, `(units,)`, and logits `(vocabulary,)`."""
    (table,), (W, U, b), (V, a) = numbers(decoder.embedding), numbers(recurrent), numbers(decoder.logits)
    s = np.tanh(table[token_id] @ W + s @ U + b)
    return s, s @ V + a


START, END = kerasseq.preprocessing.vocabulary.START_ID, kerasseq.preprocessing.vocabulary.END_ID
_, logits = decoder_step(START, h)  # h is the last state, the context.
whole = model({**ids, "decoder_token_ids": keras.ops.array([[START]], "int32")})  # (1, 1, vocabulary)
print(f"logits: largest difference to Keras {np.abs(logits - keras.ops.convert_to_numpy(whole)[0, 0]).max():.1e}")

# %% [markdown]
# Logits are what goes into the softmax. The differences are those of 32 bits: the model is these two lines and nothing
# else.
#
# ## Training: teacher forcing
#
# In training the right target is known, so the decoder need not read what it wrote itself. It reads the *right* token
# before, whatever it would have said: its inputs are the labels, one place later, behind START. This is called
# **teacher forcing**. All steps are trained at once, and an early mistake does not spoil the lesson of the later steps.

# %%
inputs, labels = next(iter(preprocessor.dataset(train[:1], batch_size=1)))
for name, row in {"decoder reads": inputs["decoder_token_ids"], "should say": labels}.items():
    print(f"{name:15}", [token.decode() for token in preprocessor.target_tokens(row).numpy()[0]])

# %% [markdown]
# `<s>` is START. The loss is the mean of $-\log p_i(\text{right token})$ over all tokens. Sequences in a batch are
# filled up with padding, id 0, which `MaskedCrossentropy` and `TokenAccuracy` leave out. The learning rate falls to
# almost nothing along half a wave of the cosine, and gradients are cut to a norm of 1: recurrent networks now and then
# have very steep places.


# %%
def train_model(model, preprocessor, train, validation, epochs, learning_rate):
    """Trains a model by teacher forcing; returns Keras's history."""
    batches = preprocessor.dataset(train, batch_size=64, shuffle=True, seed=SEED)
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, epochs * len(batches), alpha=0.02)
    model.compile(
        keras.optimizers.Adam(schedule, clipnorm=1.0),
        kerasseq.losses.MaskedCrossentropy(),
        weighted_metrics=[kerasseq.metrics.TokenAccuracy()],
    )
    validation_batches = preprocessor.dataset(validation, batch_size=64)
    # `shuffle=False` is for Keras: the data set shuffles itself.
    return model.fit(batches, validation_data=validation_batches, epochs=epochs, shuffle=False, verbose=2)


history = train_model(model, preprocessor, train, validation, EPOCHS, learning_rate=2e-3)

# %%
kerasseq.plotting.plot_history(history, title="Learning to write dates")

# %% [markdown]
# ## Generation
#
# Now there is no teacher. The decoder reads its own last token, until it says END. With the two steps from above this
# is a loop of a few lines. It takes the most probable token each time, which is called *greedy* search.


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
# Teacher forcing and generation are not the same task: in generation the model reads sequences that may be wrong, which
# it never did in training, and one mistake can lead to others. This gap is called **exposure bias**. So judge a model
# by what it generates. **Exact match** is the share of test dates that are right from beginning to end.

# %%
sources, targets = zip(*test, strict=True)
written = generator.generate(sources)
print(kerasseq.evaluation.exact_match(written, targets))
print("tokens right under teacher forcing, in validation:", f"{history.history['val_token_accuracy'][-1]:.1%}")
for source, text in zip(sources[:4], written, strict=False):
    print(f"{source:28} -> {text}")

# %% [markdown]
# ## What it learned
#
# The context vector must hold what the decoder needs, and nothing else is asked of it. Nobody told the model that
# "juin" and "June" are the same. Here each month has the mean of its contexts over twelve dates, in English and in
# French. The mean over each language is taken away, and the cosine of each pair is drawn: 1 is the same direction. If
# the encoder knows what the months mean, the diagonal is dark red.

# %%
months = {
    "English": "January February March April May June July August September October November December".split(),
    "French": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre".split(),
}
directions = []
for names in months.values():
    dates = [f"{day} {month} {year}" for month in names for day in (4, 13, 22) for year in (1957, 1986, 2013, 2038)]
    (state,) = encoder(preprocessor.encode_source(dates))["states"]  # one for each layer
    contexts = keras.ops.convert_to_numpy(state["hidden"])  # (144, units)
    means = contexts.reshape(12, -1, UNITS).mean(axis=1)  # (months, units): what does not depend on day and year
    means -= means.mean(axis=0)
    directions.append(means / np.linalg.norm(means, axis=1, keepdims=True))

figure, axis = plt.subplots(figsize=(6, 5), layout="constrained")
image = axis.imshow(directions[0] @ directions[1].T, cmap="RdBu_r", vmin=-1, vmax=1)
axis.set_xticks(range(12), months["French"], rotation=90)
axis.set_yticks(range(12), months["English"])
axis.set(xlabel="French", ylabel="English", title="Context vectors of the months, in two languages")
figure.colorbar(image, label="cosine")
plt.show()

# %% [markdown]
# ## What it gets wrong

# %%
wrong = [row for row, text in enumerate(written) if text != targets[row]]
for row in wrong[:6]:
    print(f"{sources[row]:28} -> {written[row]:12} and not {targets[row]}")

# %% [markdown]
# Look at which part is wrong: rarely the year. And look at the forms: those that begin with the year and have nothing
# but digits are few in the training, and each form has to be practised.
#
# ### The same dates, in characters
#
# Now cut the same dates into single characters, all but a few, and write the hyphens again. (A vocabulary begins with
# 260 tokens, special ones and single bytes: 272 leaves room for the ten digits, the hyphen and "▁".) The cell and the
# number of units stay (and the learning rate is halved). But the way is longer: half of the dates have 11 to 19 tokens
# to read, and there are 12 to write: "▁", ten characters and END.

# %%
characters = kerasseq.preprocessing.TextPreprocessor(
    kerasseq.preprocessing.train_vocabulary([source for source, _ in sides[0]], vocabulary_size=350),
    kerasseq.preprocessing.train_vocabulary([target for _, target in sides[0]], vocabulary_size=272),
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
axis.set(ylabel="right, % of test dates", ylim=(0, 135), title="One cell, two vocabularies")
axis.legend(loc="upper center", ncols=2)
plt.show()

# %% [markdown]
# By chance a month is right once in twelve, a day once in thirty. Look at how the bars of the characters go down from
# left to right: the year is written first, mostly soon after it was read. What is written later is learned later, and
# the day is still a guess.
#
# ### Rows of letters
#
# Dates differ in many ways. To see the length alone, take rows of random letters, and two tasks: to write the row
# **again** (the *copy* task), and to write it **backwards** (*reverse*). Both need all letters in the context. Two
# models are trained, alike in everything but the target.

# %%
rng = np.random.default_rng(SEED)


def make_rows(number, lengths):
    """Random rows of the letters a to j, with spaces, so that each letter is a token."""
    return [" ".join(rng.choice(list("abcdefghij"), length)) for length in rng.choice(lengths, number)]


lengths = np.arange(1, MAX_LENGTH + 1)
rows, validation_rows = make_rows(NUM_ROWS, lengths), make_rows(300, lengths)
test_rows = {length: make_rows(200, [length]) for length in lengths}
letters = kerasseq.preprocessing.TextPreprocessor.from_pairs([(row, row) for row in rows], vocabulary_size=281)
exact = {}
for task, step in {"again": 1, "backwards": -1}.items():
    print(f"\n{task}: {rows[0]} -> {rows[0][::step]}")
    copier = kerasseq.models.VanillaSeq2Seq(
        letters.source_vocabulary_size, letters.target_vocabulary_size, embedding_dim=32, units=UNITS
    )
    pairs, validation_pairs = ([(row, row[::step]) for row in some] for some in (rows, validation_rows))
    train_model(copier, letters, pairs, validation_pairs, EPOCHS_ROWS, learning_rate=1e-3)
    writer = kerasseq.TextGenerator(copier, letters, sampler="greedy")
    exact[task] = [
        kerasseq.evaluation.exact_match(writer.generate(some), [row[::step] for row in some])["score"]
        for some in test_rows.values()
    ]

# %% tags=["picture"]
figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
for (task, values), style in zip(exact.items(), ("o-", "s--"), strict=True):
    axis.plot(lengths, values, style, label=f"write it {task}")
axis.set(xlabel="length in letters", ylabel="exact match in %", title="A simple RNN, 200 rows for each length")
axis.set_ylim(-3, 105)
axis.grid(alpha=0.3)
axis.legend()
plt.show()

# %% [markdown]
# Where the curve of the rows backwards is high, the vector is large enough: it held the whole row. What differs is the
# way. In a row of $n$ letters, each is written $n + 1$ steps after it was read, if it is written again. Backwards, with
# END in between, the last letter follows 2 steps after it was read, the one before 4, the first $2n$. The mean is the
# same, but there are short ways, with which training can begin, and each next one is only two steps longer (Sutskever
# et al. 2014 read their sources backwards for this reason).
#
# Two things stand in the way of longer sequences, and the next two tutorials take them away:
#
# - **The memory fades.** In each step the whole state goes through $U$ and $\tanh$. In training the gradient goes back
#   through them, too, and fades with the distance (Bengio et al. 1994). Tutorial 2 gives the cell gates, with which it
#   can keep what it wants to keep.
# - **The vector has a fixed size.** 10 letters or 1,000, the context has `units` numbers. Sooner or later no cell will
#   do. Tutorial 3 lets the decoder look back at all states.
#
# ## Exercises
#
# 1. How many bits does it take to know a row of $n$ letters out of ten, and how many bits has a context of 128 floats?
#    Is it the size that keeps the model from writing longer rows again?
# 2. Let the last model write rows backwards that are one, two and three letters longer than all it was trained on.
# 3. `generator.generate("3rd of May, 1998", prefixes="2001")` makes the output begin with 2001. What does the model
#    write behind it, and why?
#
# **Solutions**
#
# 1. $n \log_2 10$, so 33 bits for ten letters, against 128 times 32. Even if only a few bits of each number are of use,
#    the size is not what stops it here, as the rows backwards show.
# 2. `more = make_rows(200, [MAX_LENGTH + 1])`, then `writer.generate(more)`, which is the backwards model. Hardly any
#    row is right, and most outputs stop at the length that the model knows: it learned to do up to `MAX_LENGTH` steps,
#    not to reverse.
# 3. Mostly the month of the source, but often another day. Only the context knows the source, and the decoder goes on
#    from its state and from what it reads. Here it reads a year that does not fit its state. Under teacher forcing that
#    never happened, so nothing taught it what to do then.
