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
# # 2. LSTM and GRU
#
# The simple RNN of tutorial 1 writes a row of ten letters backwards, but it writes only a few letters again in their
# order. The context vector is large enough. What is lost is lost on the way.
#
# Here you measure how far a recurrent network reaches back. Then you give it **gates**: it decides in each step what it
# keeps, what it adds and what it shows. These are the LSTM (Hochreiter and Schmidhuber 1997) and the GRU (Cho et al.
# 2014). You compute a step of the LSTM by hand, train all three cells on the same task, and look at what the gates do.

# %% tags=["parameters"]
NUM_ROWS = 20_000
MAX_LENGTH = 16  # letters
EPOCHS = 14
UNITS = 128
DISTANCE = 60  # steps
SEED = 1

# %%
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reports a missing GPU as an error; none is needed here.

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

import kerasseq

keras.utils.set_random_seed(SEED)
rng = np.random.default_rng(SEED)

# %% [markdown]
# ## The data, looked at first
#
# Rows of random letters, to be written again (the *copy* task). It is the plainest test of memory: nothing can be
# guessed, and each letter is needed as many steps later as the row is long, and one more for END.

# %%
lengths = np.arange(1, MAX_LENGTH + 1)


def make_rows(number, lengths):
    """Random rows of the letters a to j, with spaces, so that each letter is a token."""
    return [" ".join(rng.choice(list("abcdefghij"), length)) for length in rng.choice(lengths, number)]


train, validation = ([(row, row) for row in make_rows(number, lengths)] for number in (NUM_ROWS, 300))
test = {length: make_rows(200, [length]) for length in lengths}
for source, target in train[:3]:
    print(f"{source:32} -> {target}")
preprocessor = kerasseq.preprocessing.TextPreprocessor.from_pairs(train, vocabulary_size=281)
print(preprocessor.encode_source([train[0][0]])["encoder_token_ids"].numpy(), "(1, source), END is 3")

# %% [markdown]
# ## How far a state reaches back
#
# The step of the simple RNN was $h_j = \tanh(x_j W + h_{j-1} U + b)$. To learn that an early token matters, training
# needs the gradient of the last state $h_n$ with respect to that token. By the chain rule it is a product, with a
# matrix for each step in between:
#
# $$\frac{\partial h_n}{\partial h_k} = \prod_{j=k+1}^{n} U\,\mathrm{diag}(1 - h_j^2).$$
#
# If each factor makes vectors 10 % shorter, 60 of them leave 0.2 %. If each makes them 10 % longer, 60 make them 300
# times as long. This is the problem of **vanishing and exploding gradients** (Bengio et al. 1994). $U$ can be chosen to
# keep lengths (an orthogonal matrix, with which training starts here). But $1 - h_j^2$ is 1 only where the state is 0:
# the more the network does, the more it forgets.
#
# To measure it, we take the gradient of the last state with respect to the input at each distance, and its norm. It is
# a matrix `(states, features)`: for the LSTM, states and cell states. The trick: the batch holds the same sequence once
# for each of these numbers, and row $i$ asks for the gradient of number $i$ alone. The sum of what they ask for is the
# trace.


# %%
def reach(layer, sequence):
    """Norms of d(last states) / d(input), `(time,)`, the last input first, for a sequence `(time, features)`."""
    num_states = len(layer.cell.state_names)
    batch = tf.repeat(sequence[None], num_states * layer.units, axis=0)  # (states, time, features)
    with tf.GradientTape() as tape:
        tape.watch(batch)
        _, state = layer(batch)
        asked = tf.linalg.trace(tf.concat(list(state.values()), axis=-1))
    return np.linalg.norm(tape.gradient(asked, batch), axis=(0, 2))[::-1]


def mean_reach(layer, sequences):
    """The geometric mean over sequences, relative to the last input."""
    logs = np.mean([np.log(reach(layer, sequence) + 1e-30) for sequence in sequences], axis=0)
    return np.exp(logs - logs[0])


noise = rng.normal(size=(3, DISTANCE + 1, 32)).astype("float32")  # (sequences, time, features)
fresh = {cell: kerasseq.layers.Recurrent(UNITS, cell=cell) for cell in ("simple_rnn", "lstm", "gru")}
LABELS = {"simple_rnn": "simple RNN", "lstm": "LSTM", "gru": "GRU"}
for layer in fresh.values():
    layer(noise)

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True, layout="constrained")
for size in (0.03, 0.3, 1.0):
    left.semilogy(mean_reach(fresh["simple_rnn"], size * noise), label=f"inputs of size {size}")
for cell, layer in fresh.items():
    right.semilogy(mean_reach(layer, 0.3 * noise), label=LABELS[cell])
left.set(title="A simple RNN, before training", ylabel="norm of the gradient, last input = 1")
right.set(title="Three cells before training, inputs of size 0.3")
for axis in (left, right):
    axis.set_xlabel("distance in steps")
    axis.grid(alpha=0.3)
    axis.legend()
plt.show()

# %% [markdown]
# A straight line downwards on this scale is a decay by the same factor in each step. Left: with tiny inputs the tanh is
# all but linear, and the simple RNN reaches far. With inputs that move its state, it forgets. Right: before training,
# the cells with gates, which come next, reach no farther. What matters is that they can *learn* to.
#
# ## Gates
#
# A **gate** is a vector of numbers between 0 and 1, computed from input and state by a sigmoid $\sigma$, that
# multiplies another vector: 0 shuts it out, 1 lets it through. The LSTM has three, and beside its state $h_j$ a **cell
# state** $m_j$ (papers write $c$, which is our context):
#
# $$\begin{aligned}
# f_j &= \sigma(x_j W_f + h_{j-1} U_f + b_f) && \text{forget gate: what to keep} \\
# i_j &= \sigma(x_j W_i + h_{j-1} U_i + b_i) && \text{input gate: where to write} \\
# g_j &= \tanh(x_j W_g + h_{j-1} U_g + b_g) && \text{candidate: what to write} \\
# o_j &= \sigma(x_j W_o + h_{j-1} U_o + b_o) && \text{output gate: what to show} \\
# m_j &= f_j \odot m_{j-1} + i_j \odot g_j, \qquad h_j = o_j \odot \tanh(m_j).
# \end{aligned}$$
#
# $\odot$ multiplies number by number, and all vectors have `units` numbers. Look at $m_j$: it is the old cell state
# times $f_j$, plus something. On this way there is no matrix and no tanh. A unit whose forget gate is 1 keeps its
# number for as long as it likes, and the gradient comes back undiminished. (The forget gate came later: Gers et al.
# 2000.)

# %%
kerasseq.plotting.plot_diagram(
    {
        "m0": ("cell state $m_{j-1}$", 0, 2, "state"),
        "keep": (r"keep: $f_j \odot m_{j-1}$", 1.1, 2),
        "add": (r"add: $+\ i_j \odot g_j$", 2.5, 2),
        "m1": ("cell state $m_j$", 3.6, 2, "state"),
        "f": ("forget gate $f_j$", 1.1, 1),
        "i": ("input gate $i_j$", 2.1, 1),
        "g": ("candidate $g_j$", 2.9, 1),
        "o": ("output gate $o_j$", 3.8, 1),
        "show": (r"show: $o_j \odot \tanh(m_j)$", 4.8, 1.5),
        "h1": ("state $h_j$", 4.8, 0.5, "state"),
        "x": ("input $x_j$ and state $h_{j-1}$", 2.5, 0, "data"),
    },
    [
        ("m0", "keep"), ("keep", "add"), ("add", "m1"), ("f", "keep"), ("i", "add"), ("g", "add"), ("m1", "show"),
        ("o", "show"), ("show", "h1"), ("x", "f"), ("x", "i"), ("x", "g"), ("x", "o"),
    ],
    title="One step of an LSTM: the cell state goes straight through",
)  # fmt: skip

# %% [markdown]
# The GRU does with two gates and without a cell state: the **update gate** $z_j$ mixes the old state with a new one,
# and the **reset gate** $r_j$ says how much of the old state the new one sees:
#
# $$\begin{aligned}
# z_j &= \sigma(x_j W_z + h_{j-1} U_z + b_z), \qquad r_j = \sigma(x_j W_r + h_{j-1} U_r + b_r), \\
# \tilde h_j &= \tanh(x_j W_h + b_h + r_j \odot (h_{j-1} U_h + b'_h)), \\
# h_j &= z_j \odot h_{j-1} + (1 - z_j) \odot \tilde h_j.
# \end{aligned}$$
#
# Where $z_j$ is 1 the old number stays. Here the reset gate acts behind the matrix, as in cuDNN and Keras; the paper
# has it before it: $(r_j \odot h_{j-1}) U_h$. The price: the recurrent layers of an LSTM have four times the weights of
# those of a simple RNN, of a GRU three times. Here is a step of the LSTM in NumPy; its layer keeps the four parts side
# by side, in the order $i, f, g, o$.


# %%
def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def lstm_gates(layer, x, h):
    """Input `(..., features)` and state `(..., units)` to i, f, g and o, each `(..., units)`."""
    W, U, b = (keras.ops.convert_to_numpy(weight) for weight in layer.weights)
    i, f, g, o = np.split(x @ W + h @ U + b, 4, axis=-1)
    return sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)


h = m = np.zeros(UNITS)
for x in noise[0]:
    i, f, g, o = lstm_gates(fresh["lstm"], x, h)
    m = f * m + i * g
    h = o * np.tanh(m)
_, state = fresh["lstm"](noise[:1])
print(
    f"after {len(noise[0])} steps, largest difference to Keras: h {np.abs(h - state['hidden'][0]).max():.1e}, ", end=""
)
print(f"m {np.abs(m - state['cell'][0]).max():.1e}")
print("forget gates at the beginning, with inputs of 0:", sigmoid(fresh["lstm"].cell.bias.numpy()[UNITS : UNITS + 3]))

# %% [markdown]
# The bias of the forget gates begins at 1, so that they are open by $\sigma(1) = 0.73$ (Jozefowicz et al. 2015). With
# this factor a step the line of the LSTM above begins to fall; farther away it is less steep, for $h_{j-1}$ is another
# way back. The GRU's gates begin at $\sigma(0) = 0.5$. Its line falls to about 0.6 of its height in each step and not
# to 0.5, for the old state also comes back through the candidate $\tilde h_j$.
#
# ## Three cells, one task
#
# The models are those of tutorial 1 with another cell. The context of the LSTM is its last state *and* its last cell
# state. Before training and after each epoch we measure the reach of the encoder, on embedded rows of the longest
# length. (The simple RNN gets a smaller learning rate than the others.)


# %%
builders = {
    "simple_rnn": (kerasseq.models.VanillaSeq2Seq, 1e-3),
    "lstm": (kerasseq.models.LSTMSeq2Seq, 2e-3),
    "gru": (kerasseq.models.GRUSeq2Seq, 2e-3),
}
models, histories, reaches = {}, {}, {}
probes = preprocessor.encode_source(test[MAX_LENGTH][:20])["encoder_token_ids"][:, :-1]  # (20, MAX_LENGTH), without END


def encoder_reach(model):
    """How far the encoder of a model reaches, `(MAX_LENGTH,)`."""
    return mean_reach(model.encoder.get_layer("forward_0"), model.encoder.get_layer("embedding")(probes))


for cell, (builder, learning_rate) in builders.items():
    models[cell] = builder(
        preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size, embedding_dim=32, units=UNITS
    )
    print(f"\n{LABELS[cell]}: {models[cell].count_params():,} weights")
    batches = preprocessor.dataset(train, batch_size=64, shuffle=True, seed=SEED)
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, EPOCHS * len(batches), alpha=0.02)
    optimizer = keras.optimizers.Adam(schedule, clipnorm=1.0)
    models[cell].compile(optimizer, kerasseq.losses.MaskedCrossentropy())
    reaches[cell] = [encoder_reach(models[cell])]
    measure = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs, cell=cell: reaches[cell].append(encoder_reach(models[cell]))
    )
    validation_batches = preprocessor.dataset(validation, batch_size=64)
    histories[cell] = models[cell].fit(
        batches, validation_data=validation_batches, epochs=EPOCHS, shuffle=False, verbose=2, callbacks=[measure]
    )

# %%
figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
for cell, history in histories.items():
    losses = history.history["val_loss"]
    axis.plot(range(1, len(losses) + 1), losses, "o-", markersize=4, label=LABELS[cell])
axis.set(xlabel="epoch", ylabel="validation loss, nats per token", title="Learning to write rows again")
axis.grid(alpha=0.3)
axis.legend()
plt.show()

# %% [markdown]
# Loss is a mean over tokens. What we want to know is which rows come out whole, for each length.

# %% tags=["picture"]
exact, written = {}, {}
for cell, model in models.items():
    generator = kerasseq.TextGenerator(model, preprocessor, sampler="greedy", max_length=MAX_LENGTH + 4)
    written[cell] = {length: generator.generate(rows) for length, rows in test.items()}
    exact[cell] = [kerasseq.evaluation.exact_match(written[cell][length], test[length])["score"] for length in lengths]

figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
for cell, scores in exact.items():
    axis.plot(lengths, scores, "o-", markersize=4, label=LABELS[cell])
axis.set(xlabel="length in letters", ylabel="exact match in %", title="Rows written again, 200 for each length")
axis.grid(alpha=0.3)
axis.legend()
plt.show()

# %%
print("letters   " + "  ".join(f"{LABELS[cell]:>10}" for cell in exact))
for index in range(0, len(lengths), 3):
    print(f"{lengths[index]:7}   " + "  ".join(f"{exact[cell][index]:9.0f}%" for cell in exact))

# %% [markdown]
# ## What the gates learned
#
# First the reach of the three encoders while they learn. The distance counts from the last letter.

# %%
figure, axes = plt.subplots(1, 3, figsize=(10, 3.4), sharey=True, layout="constrained")
for axis, (cell, curves) in zip(axes, reaches.items(), strict=True):
    for epoch in sorted({0, 1, min(2, EPOCHS), EPOCHS}):
        axis.semilogy(curves[epoch], label=f"after epoch {epoch}" if epoch else "before training")
    axis.set(title=LABELS[cell], xlabel="distance in letters", xticks=range(0, MAX_LENGTH, 5))
    axis.grid(alpha=0.3)
axes[0].set_ylabel("norm of the gradient, last letter = 1")
axes[1].legend(loc="lower left")
plt.show()

# %% [markdown]
# The simple RNN begins with a far reach, because its state hardly moves yet. It loses it as soon as it learns
# something, and has to find it again, against a gradient that brings no news from far away. With the gates it is the
# other way round: they begin half open, and learn within an epoch or so to stay open.
#
# In the end all three reach back to the first letter. But a gradient says only that *something* of a letter arrives,
# not that it can be told from the other letters. In each step the simple RNN puts its whole state through $U$; it has
# no way to write into one place and leave the others alone. The forget gates show how the LSTM does it: for each unit
# the mean over all places of these rows, in order of size. (The encoder calls the states of all steps its memory.)

# %%
encoder = models["lstm"].encoder
embedded = keras.ops.convert_to_numpy(encoder.get_layer("embedding")(probes))  # (20, MAX_LENGTH, 32)
states = keras.ops.convert_to_numpy(encoder({"encoder_token_ids": probes})["memory"])  # (20, MAX_LENGTH, units)
_, forget, _, _ = lstm_gates(encoder.get_layer("forward_0"), embedded[:, 1:], states[:, :-1])
figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
axis.plot(np.sort(forget.mean(axis=(0, 1))), label="after training")
axis.axhline(sigmoid(1), color="0.5", linestyle="--", label="before")
axis.set(title="Forget gates of the LSTM's encoder", xlabel="unit, in order", ylabel="mean of the gate", ylim=(0, 1.02))
axis.grid(alpha=0.3)
axis.legend()
plt.show()

# %% [markdown]
# ## What it gets wrong
#
# Which letters does the LSTM get wrong? Each row of the picture is a length, each column a place in the row.

# %%
places = np.full((MAX_LENGTH, MAX_LENGTH), np.nan)  # (length, place): share of right letters
for length, rows in test.items():
    for place in range(length):
        letters = [
            (text.split()[place : place + 1], row.split()[place])
            for text, row in zip(written["lstm"][length], rows, strict=True)
        ]
        places[length - 1, place] = 100 * np.mean([output == [letter] for output, letter in letters])
figure, axis = plt.subplots(figsize=(5.4, 4.4), layout="constrained")
image = axis.imshow(places, cmap="viridis", vmin=0, vmax=100, origin="lower", extent=(0.5, MAX_LENGTH + 0.5) * 2)
axis.set(xlabel="place of the letter", ylabel="length of the row", title="LSTM: where the letters are right")
figure.colorbar(image, label="right, % of 200 rows")
plt.show()

# %% [markdown]
# The simple RNN fails at four letters already. The LSTM still writes about half of the rows of 13 letters, the GRU a
# third. The longer the row, the more letters are wrong, and not only the last ones: each further letter makes those
# from the middle on less certain, for all of them live in the same numbers. More units, more data and more epochs move
# the edge to the right. They do not remove it. A sentence of forty words, or an article, is far beyond it.
#
# So do not squeeze the source into one vector. The encoder has a state for *each* token, and throws all but the last
# away. Tutorial 3 keeps them, and lets the decoder look at the one it needs: **attention**.
#
# ## Exercises
#
# 1. A forget gate stays at $f$. After how many steps is half of a number left? How open is a gate that keeps half for
#    100 steps?
# 2. Set the biases of the forget gates of `fresh["lstm"]` to 0, then to 3, and measure its reach. What are the slopes?
# 3. Let the GRU write the rows backwards. Is it better at this than the simple RNN is?
#
# **Solutions**
#
# 1. $f^k = 1/2$ gives $k = \ln 2 / (-\ln f)$: 2.2 steps for 0.73. For 100 steps $f = 0.5^{1/100} = 0.993$.
# 2. `cell = fresh["lstm"].cell; bias = cell.bias.numpy(); bias[UNITS : 2 * UNITS] = 3; cell.bias.assign(bias)`, then
#    `mean_reach(fresh["lstm"], 0.3 * noise)`. With 0 it falls to about a half in each of the first steps. With 3 it
#    fades a little and then grows, to nine times at 60 steps: the gates keep 0.95 a step, and the other way, through
#    $h_{j-1}$, adds more than that.
# 3. Pairs `(row, row[::-1])`, and the loop for `"simple_rnn"` and `"gru"` with `EPOCHS = 6`. What was read last is
#    needed first, so there is less for the gates to protect than in the copy task.
