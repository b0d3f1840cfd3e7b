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
# The simple RNN of tutorial 1 reverses a sequence of ten letters, but copies only a few letters in order. The context
# vector is large enough. The information gets lost on the way.
#
# Here you measure how far back gradients reach in a recurrent network. Then you add **gates**, with which the cell
# decides at each step what to keep, what to add and what to output. This leads to the LSTM (Hochreiter and Schmidhuber
# 1997) and the GRU (Cho et al. 2014). You compute an LSTM step by hand, train all three cells on the same task, and
# inspect what the gates learned.

# %% tags=["parameters"]
NUM_SEQUENCES = 20_000
MAX_LENGTH = 16  # letters
EPOCHS = 14
UNITS = 128
DISTANCE = 60  # steps
SEED = 1

# %%
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # Hides the message about a missing GPU. None is needed.

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

import kerasseq

keras.utils.set_random_seed(SEED)
rng = np.random.default_rng(SEED)

# %% [markdown]
# ## Look at the data first
#
# The data are random letter sequences for the *copy task*. It is the simplest test of memory: nothing can be guessed,
# and in a sequence of length $n$ each letter is needed $n + 1$ steps after it is read (END takes one step).

# %%
lengths = np.arange(1, MAX_LENGTH + 1)


def random_sequences(number, lengths):
    """Returns random sequences of the letters a to j, separated by spaces, so that each letter is a token."""
    return [" ".join(rng.choice(list("abcdefghij"), length)) for length in rng.choice(lengths, number)]


train, validation = (
    [(sequence, sequence) for sequence in random_sequences(number, lengths)] for number in (NUM_SEQUENCES, 300)
)
test = {length: random_sequences(200, [length]) for length in lengths}
for source, target in train[:3]:
    print(f"{source:32} -> {target}")
preprocessor = kerasseq.preprocessing.TextPreprocessor.from_pairs(train, vocabulary_size=281)
print(preprocessor.encode_source([train[0][0]])["encoder_token_ids"].numpy(), "(1, source), END is 3")

# %% [markdown]
# ## How far back gradients reach
#
# The simple RNN computes $h_j = \tanh(x_j W + h_{j-1} U + b)$. To learn that an early token matters, training needs the
# gradient of the last hidden state $h_n$ with respect to that token. By the chain rule it contains a product with one
# matrix per step in between:
#
# $$\frac{\partial h_n}{\partial h_k} = \prod_{j=k+1}^{n} U\,\mathrm{diag}(1 - h_j^2).$$
#
# If each factor shrinks vectors by 10 %, 60 factors leave 0.2 %. If each stretches them by 10 %, 60 factors make them
# 300 times as long. These are **vanishing and exploding gradients** (Bengio et al. 1994). $U$ can be chosen to preserve
# lengths: training starts with an orthogonal matrix. But $1 - h_j^2$ is 1 only where the hidden state is 0. The further
# the state moves from 0, the more the gradient shrinks.
#
# To measure this, we take the gradient of the last state with respect to the input at each distance, and plot its norm.
# The gradient is a matrix `(states, features)`. For the LSTM, the states are the hidden state and the cell state. To
# get all rows of the matrix in one pass, the batch repeats the same sequence once per state unit, and copy $i$
# contributes only the gradient of unit $i$. The sum over all copies is a trace.


# %%
def gradient_norms(layer, sequence):
    """Returns norms of d(last states) / d(input), `(time,)`, last input first, for a sequence `(time, features)`."""
    num_states = len(layer.cell.state_names)
    batch = tf.repeat(sequence[None], num_states * layer.units, axis=0)  # (states, time, features)
    with tf.GradientTape() as tape:
        tape.watch(batch)
        _, state = layer(batch)
        trace = tf.linalg.trace(tf.concat(list(state.values()), axis=-1))
    return np.linalg.norm(tape.gradient(trace, batch), axis=(0, 2))[::-1]


def mean_gradient_norms(layer, sequences):
    """Returns the geometric mean of the norms over sequences, relative to the last input."""
    logs = np.mean([np.log(gradient_norms(layer, sequence) + 1e-30) for sequence in sequences], axis=0)
    return np.exp(logs - logs[0])


noise = rng.normal(size=(3, DISTANCE + 1, 32)).astype("float32")  # (sequences, time, features)
fresh = {cell: kerasseq.layers.Recurrent(UNITS, cell=cell) for cell in ("simple_rnn", "lstm", "gru")}
LABELS = {"simple_rnn": "simple RNN", "lstm": "LSTM", "gru": "GRU"}
for layer in fresh.values():
    layer(noise)

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True, layout="constrained")
for size in (0.03, 0.3, 1.0):
    left.semilogy(mean_gradient_norms(fresh["simple_rnn"], size * noise), label=f"input scale {size}")
for cell, layer in fresh.items():
    right.semilogy(mean_gradient_norms(layer, 0.3 * noise), label=LABELS[cell])
left.set(title="Untrained simple RNN: gradient norms", ylabel="gradient norm (last input = 1)")
right.set(title="Untrained cells: gradient norms, input scale 0.3")
for axis in (left, right):
    axis.set_xlabel("distance from the last input (steps)")
    axis.grid(alpha=0.3)
    axis.legend()
plt.show()

# %% [markdown]
# On this scale, a straight falling line means decay by the same factor at each step. Left: with tiny inputs, the tanh
# is almost linear, and the gradients of the simple RNN reach far back. Inputs that move its state make them vanish.
# Right: before training, of the gated cells, which come next, the LSTM reaches further than the simple RNN and the GRU
# less far. What matters is that both can *learn* to.
#
# ## Gates
#
# A **gate** is a vector of numbers between 0 and 1, computed from the input and the hidden state by a sigmoid $\sigma$.
# It multiplies another vector: 0 blocks a number, 1 lets it through. The LSTM has three gates and, next to its hidden
# state $h_j$, a **cell state** $m_j$ (papers call it $c$, which is our context vector):
#
# $$\begin{aligned}
# f_j &= \sigma(x_j W_f + h_{j-1} U_f + b_f) && \text{forget gate: what to keep} \\
# i_j &= \sigma(x_j W_i + h_{j-1} U_i + b_i) && \text{input gate: where to write} \\
# g_j &= \tanh(x_j W_g + h_{j-1} U_g + b_g) && \text{candidate: what to write} \\
# o_j &= \sigma(x_j W_o + h_{j-1} U_o + b_o) && \text{output gate: what to output} \\
# m_j &= f_j \odot m_{j-1} + i_j \odot g_j, \qquad h_j = o_j \odot \tanh(m_j).
# \end{aligned}$$
#
# $\odot$ is the elementwise product, and all vectors have `units` numbers. Look at $m_j$: it is the old cell state
# times $f_j$, plus something. This path has no matrix and no tanh. A unit whose forget gate stays at 1 keeps its value
# indefinitely, and the gradient flows back undiminished. (The forget gate was added later: Gers et al. 2000.)

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
        "output": (r"output: $o_j \odot \tanh(m_j)$", 4.8, 1.5),
        "h1": ("hidden state $h_j$", 4.8, 0.5, "state"),
        "x": ("input $x_j$ and hidden state $h_{j-1}$", 2.5, 0, "data"),
    },
    [
        ("m0", "keep"), ("keep", "add"), ("add", "m1"), ("f", "keep"), ("i", "add"), ("g", "add"), ("m1", "output"),
        ("o", "output"), ("output", "h1"), ("x", "f"), ("x", "i"), ("x", "g"), ("x", "o"),
    ],
    title="One LSTM step: no matrix and no tanh on the path of the cell state",
)  # fmt: skip

# %% [markdown]
# The GRU has two gates and no cell state. The **update gate** $z_j$ mixes the old hidden state with a candidate, and
# the **reset gate** $r_j$ controls how much of the old state the candidate sees:
#
# $$\begin{aligned}
# z_j &= \sigma(x_j W_z + h_{j-1} U_z + b_z), \qquad r_j = \sigma(x_j W_r + h_{j-1} U_r + b_r), \\
# \tilde h_j &= \tanh(x_j W_h + b_h + r_j \odot (h_{j-1} U_h + b'_h)), \\
# h_j &= z_j \odot h_{j-1} + (1 - z_j) \odot \tilde h_j.
# \end{aligned}$$
#
# Where $z_j$ is 1, the old value stays. Here the reset gate is applied after the matrix, as in cuDNN and Keras. The
# paper applies it before: $(r_j \odot h_{j-1}) U_h$. The price of gates: an LSTM layer has four times the weights of a
# simple RNN layer, a GRU layer three times. Next comes an LSTM step in NumPy. The layer stores the four parts side by
# side, in the order $i, f, g, o$.


# %%
def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def lstm_gates(layer, x, h):
    """Returns i, f, g and o, each `(..., units)`, from input `(..., features)` and hidden state `(..., units)`."""
    W, U, b = (keras.ops.convert_to_numpy(weight) for weight in layer.weights)
    i, f, g, o = np.split(x @ W + h @ U + b, 4, axis=-1)
    return sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)


h = m = np.zeros(UNITS)
for x in noise[0]:
    i, f, g, o = lstm_gates(fresh["lstm"], x, h)
    m = f * m + i * g
    h = o * np.tanh(m)
_, state = fresh["lstm"](noise[:1])
print(f"after {len(noise[0])} steps, max difference from Keras: h {np.abs(h - state['hidden'][0]).max():.1e}, ", end="")
print(f"m {np.abs(m - state['cell'][0]).max():.1e}")
print("forget gates before training, for inputs of 0:", sigmoid(fresh["lstm"].cell.bias.numpy()[UNITS : UNITS + 3]))

# %% [markdown]
# The bias of the forget gates starts at 1, so the gates start at $\sigma(1) = 0.73$ (Jozefowicz et al. 2015). In the
# figure above, the LSTM's gradient falls to 0.78 in the first step. Further back it decays more slowly, to 0.95 per
# step, because $h_{j-1}$ is a second path for the gradient. The GRU's gates start at $\sigma(0) = 0.5$. Its gradient
# falls to 0.57 in the first step, and to about 0.73 per step further back, because the old state also passes through
# the candidate $\tilde h_j$.
#
# ## Three cells, one task
#
# The models are those of tutorial 1 with different cells. The context of the LSTM consists of its last hidden state
# *and* its last cell state. Before training and after each epoch, we measure how far gradients reach in the encoder, on
# embedded sequences of the maximum length. (The simple RNN gets a smaller learning rate.)


# %%
builders = {
    "simple_rnn": (kerasseq.models.VanillaSeq2Seq, 1e-3),
    "lstm": (kerasseq.models.LSTMSeq2Seq, 2e-3),
    "gru": (kerasseq.models.GRUSeq2Seq, 2e-3),
}
models, histories, norms = {}, {}, {}
probes = preprocessor.encode_source(test[MAX_LENGTH][:20])["encoder_token_ids"][:, :-1]  # (20, MAX_LENGTH), without END


def encoder_gradient_norms(model):
    """Returns the mean gradient norms of a model's encoder, `(MAX_LENGTH,)`."""
    return mean_gradient_norms(model.encoder.get_layer("forward_0"), model.encoder.get_layer("embedding")(probes))


for cell, (builder, learning_rate) in builders.items():
    models[cell] = builder(
        preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size, embedding_dim=32, units=UNITS
    )
    print(f"\n{LABELS[cell]}: {models[cell].count_params():,} weights")
    batches = preprocessor.dataset(train, batch_size=64, shuffle=True, seed=SEED)
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, EPOCHS * len(batches), alpha=0.02)
    optimizer = keras.optimizers.Adam(schedule, clipnorm=1.0)
    models[cell].compile(optimizer, kerasseq.losses.MaskedCrossentropy())
    norms[cell] = [encoder_gradient_norms(models[cell])]
    measure = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs, cell=cell: norms[cell].append(encoder_gradient_norms(models[cell]))
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
axis.set(xlabel="epoch", ylabel="validation loss (nats per token)", title="Copy task: validation loss of three cells")
axis.grid(alpha=0.3)
axis.legend()
plt.show()

# %% [markdown]
# The loss is a mean over tokens. We want to know how many sequences are copied without error, at each length.

# %% tags=["picture"]
exact, written = {}, {}
for cell, model in models.items():
    generator = kerasseq.TextGenerator(model, preprocessor, sampler="greedy", max_length=MAX_LENGTH + 4)
    written[cell] = {length: generator.generate(sequences) for length, sequences in test.items()}
    exact[cell] = [kerasseq.evaluation.exact_match(written[cell][length], test[length])["score"] for length in lengths]

figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
for cell, scores in exact.items():
    axis.plot(lengths, scores, "o-", markersize=4, label=LABELS[cell])
axis.set(xlabel="sequence length (letters)", ylabel="exact match (% of 200 sequences)")
axis.set_title("Copy task: accuracy against sequence length")
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
# First, how far gradients reach in the three encoders during training. Distance is counted back from the last letter.

# %%
figure, axes = plt.subplots(1, 3, figsize=(10, 3.7), sharey=True, layout="constrained")
for axis, (cell, curves) in zip(axes, norms.items(), strict=True):
    for epoch in sorted({0, 1, min(2, EPOCHS), EPOCHS}):
        axis.semilogy(curves[epoch], label=f"after epoch {epoch}" if epoch else "before training")
    axis.set(title=LABELS[cell], xlabel="distance from the last letter", xticks=range(0, MAX_LENGTH, 5))
    axis.grid(alpha=0.3)
axes[0].set_ylabel("gradient norm (last letter = 1)")
axes[1].legend(loc="lower left")
figure.suptitle("Copy task: gradient norms in the encoder during training")
plt.show()

# %% [markdown]
# The gradients of the simple RNN reach far at first, because its state hardly moves yet. That ends once it starts to
# learn. It must then recover the reach with gradients that carry no information from far away. The gated cells behave
# the other way round: their gates start half open and learn to stay open within about one epoch.
#
# In the end the gradients of all three reach the first letter. But a gradient only shows that *something* about a
# letter arrives, not that the letter can be told from others. The simple RNN passes its whole state through $U$ at each
# step. It cannot write to one unit and leave the others alone. The forget gates show how the LSTM does it. The plot
# shows the mean forget gate of each unit over all positions of these sequences, in ascending order. (The memory of an
# encoder holds its hidden states at all steps.)

# %%
encoder = models["lstm"].encoder
embedded = keras.ops.convert_to_numpy(encoder.get_layer("embedding")(probes))  # (20, MAX_LENGTH, 32)
states = keras.ops.convert_to_numpy(encoder({"encoder_token_ids": probes})["memory"])  # (20, MAX_LENGTH, units)
_, forget, _, _ = lstm_gates(encoder.get_layer("forward_0"), embedded[:, 1:], states[:, :-1])
figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
axis.plot(np.sort(forget.mean(axis=(0, 1))), label="after training")
axis.axhline(sigmoid(1), color="0.5", linestyle="--", label="before training")
axis.set(xlabel="unit, sorted by its forget gate", ylabel="mean forget gate", ylim=(0, 1.02))
axis.set_title("LSTM encoder: mean forget gate of each unit")
axis.grid(alpha=0.3)
axis.legend()
plt.show()

# %% [markdown]
# ## What it gets wrong
#
# Which letters does the LSTM get wrong? In the plot, each row is a sequence length and each column a position in the
# sequence.

# %%
accuracy = np.full((MAX_LENGTH, MAX_LENGTH), np.nan)  # (length, position): correct letters in %
for length, sequences in test.items():
    for position in range(length):
        letters = [
            (text.split()[position : position + 1], sequence.split()[position])
            for text, sequence in zip(written["lstm"][length], sequences, strict=True)
        ]
        accuracy[length - 1, position] = 100 * np.mean([output == [letter] for output, letter in letters])
figure, axis = plt.subplots(figsize=(5.4, 4.4), layout="constrained")
image = axis.imshow(accuracy, cmap="viridis", vmin=0, vmax=100, origin="lower", extent=(0.5, MAX_LENGTH + 0.5) * 2)
axis.set(xlabel="position of the letter", ylabel="sequence length (letters)", title="LSTM: accuracy by position")
figure.colorbar(image, label="correct letters (% of 200 sequences)")
plt.show()

# %% [markdown]
# The simple RNN fails at half of the sequences of four letters. At 13 letters, the LSTM still copies about half of the
# sequences and the GRU a fifth. The longer the sequence, the more letters are wrong, and not only the last ones: each
# additional letter makes those from the middle on less certain, because all letters share the same units. More units,
# more data and more epochs push the limit out. They do not remove it. A sentence of forty words, let alone an article,
# is far beyond it.
#
# So do not squeeze the source into one vector. The encoder has a hidden state for *each* token and throws all but the
# last away. Tutorial 3 keeps them all and lets the decoder look at the ones it needs: **attention**.
#
# ## Exercises
#
# 1. A forget gate stays at $f$. After how many steps is half of a value left? Which $f$ keeps half for 100 steps?
# 2. Set the forget-gate biases of `fresh["lstm"]` to 0, then to 3, and measure how far its gradients reach. What are
#    the slopes?
# 3. Train the GRU on the reverse task. Is it better at it than the simple RNN?
#
# **Solutions**
#
# 1. $f^k = 1/2$ gives $k = \ln 2 / (-\ln f)$: 2.2 steps for 0.73. For 100 steps $f = 0.5^{1/100} = 0.993$.
# 2. `cell = fresh["lstm"].cell; bias = cell.bias.numpy(); bias[UNITS : 2 * UNITS] = 3;
#    cell.bias.assign(bias)`, then `mean_gradient_norms(fresh["lstm"], 0.3 * noise)`. With 0, the norm decays about as
#    the GRU's does. With 3, it decays a little and then grows, to 60 times at 60 steps: the gates keep 0.95 per step,
#    and the second path, through $h_{j-1}$, adds more than they lose.
# 3. Build pairs `(sequence, sequence[::-1])` and run the loop for `"simple_rnn"` and `"gru"` with `EPOCHS = 6`. The
#    last letter read is needed first, so the gates have less to protect than in the copy task.
