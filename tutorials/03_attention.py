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
# # 3. Attention
#
# The encoder-decoder of tutorial 1 squeezes a source of any length into one vector of fixed size. Long sources do not
# fit. Attention keeps *all* states of the encoder, and lets the decoder look at them before it writes a token.
#
# Here you compute one step of it by hand, in the two classic forms (Bahdanau et al. 2015; Luong et al. 2015), watch
# alignments appear while models learn, see what they are worth on long sources, and measure what they cost.

# %% tags=["parameters"]
NUM_SHORT = 12_800  # training pairs of the first stage
NUM_LONG = 20_000  # and of the second
MAX_SHORT = 12  # letters
MAX_LONG = 60
EPOCHS_SHORT = 10
EPOCHS_LONG = 8
UNITS = 96
NUM_TEST = 40  # rows for each group of lengths
COST_LENGTHS = (20, 40, 80, 160, 320)  # tokens
SEED = 1

# %%
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reports a missing GPU as an error; none is needed here.

import string
import subprocess
import sys

import keras
import matplotlib.pyplot as plt
import numpy as np

import kerasseq

keras.utils.set_random_seed(SEED)

# %% [markdown]
# ## The data, looked at first
#
# The task is to write a row of letters backwards. There is as much data as we want, and the right alignment is known:
# the first letter of the target is the last of the source, and so on. A decoder that looks where it should draws a
# diagonal, from the upper right to the lower left. Each letter is a token.

# %%
rng = np.random.default_rng(SEED)
letters = list(string.ascii_lowercase)


def make_pairs(number, shortest, longest):
    """Random rows of letters, and the same rows backwards."""
    rows = [rng.choice(letters, length) for length in rng.integers(shortest, longest + 1, number)]
    return [(" ".join(row), " ".join(row[::-1])) for row in rows]


short, long = make_pairs(NUM_SHORT, 1, MAX_SHORT), make_pairs(NUM_LONG, 1, MAX_LONG)
short_validation, long_validation = make_pairs(256, 1, MAX_SHORT), make_pairs(256, 1, MAX_LONG)
for source, target in short[:4]:
    print(f"{source:25} -> {target}")

preprocessor = kerasseq.preprocessing.TextPreprocessor.from_pairs(long, vocabulary_size=320, joint=True)
ids = preprocessor.encode_source(["k e r a s s e q"])["encoder_token_ids"]  # (1, source): eight letters and END
print("k e r a s s e q ->", ids.numpy()[0])

# %% [markdown]
# ## The idea, in two forms
#
# The encoder gives a state $h_j$ for each source position $j$. Together they are the **memory**, of shape
# `(source, 2 * units)`, since it reads in both directions. For target position $i$, attention does three things:
#
# 1. a **score** $e_{ij}$ says how well position $j$ fits what the decoder is about to write,
# 2. a softmax makes **weights** of the scores: $a_{ij} = \exp(e_{ij}) / \sum_k \exp(e_{ik})$,
# 3. the **context** $c_i = \sum_j a_{ij} h_j$, of shape `(2 * units,)`, is the memory's mean under these weights.
#
# All of it is smooth, so gradients tell the model where it should have looked. Let $s_i$ be the decoder's state after
# step $i$, $y_{i-1}$ the embedding of the last token, and $f$ the cell, here a GRU; $[a; b]$ is $a$ and $b$ end to end.
# $W$, $U$, $R$, $v$ and $b$ are learned. Bahdanau's score is called *additive*, and its tanh keeps each number between
# -1 and 1; Luong's is *multiplicative*, without bounds.
#
# | | Bahdanau et al. 2015 | Luong et al. 2015, "general" |
# |---|---|---|
# | score | $e_{ij} = \tanh(s_{i-1} W + h_j U)\,v$ | $e_{ij} = h_j W s_i^T$ |
# | who asks | the state *before* the step | the state *after* the step |
# | state | $s_i = f(s_{i-1}, [y_{i-1}; c_i])$ | $s_i = f(s_{i-1}, y_{i-1})$ |
# | attentional state $\tilde s_i$ | $\tanh([s_i; c_i; y_{i-1}]\,R + b)$ | $\tanh([c_i; s_i]\,R + b)$ |
#
# (For $\tilde s_i$, Bahdanau et al. have a maxout layer. kerasseq takes a tanh for both, so that only the attention
# differs.) A dense layer makes logits of $\tilde s_i$, one for each token of the vocabulary.

# %%
kerasseq.plotting.plot_diagram(
    {
        "h": ("memory $h_1 ... h_n$\n(source, 2 units)", 0, 0, "data"),
        "before": ("$s_{i-1}$ (units)", 1.1, 0, "state"),
        "y": ("$y_{i-1}$", 1.9, 0, "data"),
        "attention": ("attention:\nweights, context $c_i$", 0.2, 1),
        "cell": ("GRU", 1.5, 1),
        "after": ("$s_i$ (units)", 1.5, 1.9, "state"),
        "read": ("attentional\nstate $\\tilde s_i$", 0.5, 1.9, "state"),
        "h ": ("memory $h_1 ... h_n$\n(source, 2 units)", 2.9, 0, "data"),
        "before ": ("$s_{i-1}$ (units)", 4, 0, "state"),
        "y ": ("$y_{i-1}$", 4.8, 0, "data"),
        "attention ": ("attention:\nweights, context $c_i$", 3, 1),
        "cell ": ("GRU", 4.4, 0.75),
        "after ": ("$s_i$ (units)", 4.4, 1.4, "state"),
        "read ": ("attentional\nstate $\\tilde s_i$", 3.4, 1.9, "state"),
    },
    [
        ("h", "attention"), ("before", "attention"), ("attention", "cell"), ("before", "cell"), ("y", "cell"),
        ("cell", "after"), ("attention", "read"), ("after", "read"), ("h ", "attention "), ("before ", "cell "),
        ("y ", "cell "), ("cell ", "after "), ("after ", "attention "), ("attention ", "read "), ("after ", "read "),
    ],
    title="Left, Bahdanau: look, then step. Right, Luong: step, then look.",
)  # fmt: skip

# %% [markdown]
# ## One step by hand
#
# A kerasseq model has two parts. The encoder gives the memory (`model.encode`). The decoder computes, once a source,
# its initial state $s_0$ and the **keys** $h_j U$ or $h_j W$, which serve all target positions (`model.start`), and
# then goes step by step (`model.step`). We build both models, take their weights, and compute the first step in NumPy.
# The third model is for later: it has no attention.

# %%
sizes = {"source_vocabulary_size": preprocessor.source_vocabulary_size, "embedding_dim": 32, "units": UNITS}
sizes["target_vocabulary_size"] = preprocessor.target_vocabulary_size
models = {
    "fixed context": kerasseq.models.GRUSeq2Seq(**sizes, bidirectional=True),
    "Bahdanau": kerasseq.models.AttentionSeq2Seq(**sizes, cell="gru", attention="bahdanau"),
    "Luong": kerasseq.models.AttentionSeq2Seq(**sizes, cell="gru", attention="luong"),
}
START = kerasseq.preprocessing.vocabulary.START_ID
start = keras.ops.array([START], "int32")  # (1,): the decoder first reads START.


def first_step(model):
    """The memory of our source, what makes keys of it, the state before the first step, and all that the step gives."""
    context = model.encode({"encoder_token_ids": ids})
    state, constants = model.start(context)
    outputs = model.step(start, state, constants)
    memory, keys_kernel = context["memory"][0].numpy(), model.decoder.attention.keys.kernel.numpy()
    return memory, keys_kernel, state["layers"][0]["hidden"][0].numpy(), outputs


def softmax(scores):
    exponentials = np.exp(scores - scores.max())  # The maximum cancels out; without it large scores overflow.
    return exponentials / exponentials.sum()


# %%
memory, U, state, outputs = first_step(models["Bahdanau"])  # (source, 2 * units), (2 * units, units), (units,)
decoder = models["Bahdanau"].decoder
W, v = decoder.attention.query_kernel.numpy(), decoder.attention.score_vector.numpy()  # (units, units), (units,)

weights = softmax(np.tanh(state @ W + memory @ U) @ v)  # (source,)
context = weights @ memory  # (2 * units,)
print("by hand: ", weights.round(4))
print("kerasseq:", outputs["attention"][0].numpy().round(4))
np.testing.assert_allclose(weights, outputs["attention"][0], atol=1e-5)

y = decoder.embedding(start)[0].numpy()  # (embedding_dim,)
cell = decoder.cells[0]  # a GRU, in a kerasseq.layers.RecurrentAttention
after = cell(np.concatenate([y, context])[None], {"hidden": state[None]})  # {"hidden": (1, units)}
np.testing.assert_allclose(after["hidden"], outputs["state"]["layers"][0]["hidden"], atol=1e-5)

# %% [markdown]
# Weights and next state are the model's, or the last lines would have failed. Nine weights for nine tokens, that add up
# to 1: before any training, all much the same. (END has a row and a column of its own in the pictures below.) Luong's
# decoder steps first and then looks, so the state that asks is the one after the step, and we can go on to the logits.

# %%
memory, W, _, outputs = first_step(models["Luong"])
decoder = models["Luong"].decoder
state = outputs["state"]["layers"][0]["hidden"][0].numpy()  # (units,), after the step

weights = softmax(memory @ W @ state)  # (source,)
context = weights @ memory
dense, last = decoder.placement.attentional, decoder.logits
attentional = np.tanh(np.concatenate([context, state]) @ dense.kernel.numpy() + dense.bias.numpy())  # (units,)
logits = attentional @ last.kernel.numpy() + last.bias.numpy()  # (vocabulary,)
np.testing.assert_allclose(weights, outputs["attention"][0], atol=1e-5)
np.testing.assert_allclose(logits, outputs["logits"][0], atol=1e-4)
print(len(weights), "weights and", len(logits), "logits: the same")

# %% [markdown]
# ## Alignments appear
#
# We train in two stages. In the first, rows have a dozen letters at most. Nobody tells the models where to look: the
# loss is about the next letter alone. Before training and after each epoch, we keep the weights for one row that is not
# in the data, with the right letters as inputs of the decoder (teacher forcing).


# %%
def fit(model, pairs, validation, epochs, learning_rate, callbacks=()):
    batches = preprocessor.dataset(pairs, batch_size=64, shuffle=True, seed=SEED)
    boundaries, values = [epochs * len(batches) * 3 // 4], [learning_rate, learning_rate / 5]
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, values)
    model.compile(keras.optimizers.Adam(schedule, clipnorm=1.0), kerasseq.losses.MaskedCrossentropy())
    validation_batches = preprocessor.dataset(validation, batch_size=64)
    history = model.fit(
        batches, validation_data=validation_batches, epochs=epochs, shuffle=False, verbose=2, callbacks=list(callbacks)
    )
    return history.history["val_loss"]


pair = make_pairs(1, MAX_SHORT, MAX_SHORT)[0]
inputs, _ = next(iter(preprocessor.dataset([pair], batch_size=1)))
seen = {"Bahdanau": [], "Luong": []}  # weights (target, source), one entry for each look
curves = {}
for name, model in models.items():
    print(name)
    callbacks = []
    if name in seen:

        def look(epoch=None, logs=None, model=model, kept=seen[name]):
            kept.append(model.decoder_outputs(inputs)["attention"][0].numpy())

        look()
        callbacks.append(keras.callbacks.LambdaCallback(on_epoch_end=look))
    curves[name] = fit(model, short, short_validation, EPOCHS_SHORT, 5e-4, callbacks)


# %%
def draw(axis, x, curves, **labels):
    for (name, values), style in zip(curves.items(), ("^:", "o-", "s--"), strict=True):
        axis.plot(x, values, style, label=name, markersize=4)
    axis.set(**labels)
    axis.grid(alpha=0.3)
    axis.legend()


figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
draw(axis, range(1, EPOCHS_SHORT + 1), curves, xlabel="epoch", ylabel="validation loss, nats per token")
axis.set_title(f"Rows of up to {MAX_SHORT} letters")
plt.show()

# %%
shown = sorted({round(epoch) for epoch in np.linspace(0, EPOCHS_SHORT, 7)})
figure, axes = plt.subplots(2, len(shown), figsize=(1.6 * len(shown) + 1, 4), squeeze=False, layout="constrained")
for row, (name, kept) in zip(axes, seen.items(), strict=True):
    for axis, epoch in zip(row, shown, strict=True):
        image = axis.imshow(kept[epoch], vmin=0, vmax=1, cmap="Blues")
        axis.set_xticks(range(MAX_SHORT + 1), [*pair[0].split(), "END"], rotation=90, fontsize=6)
        axis.set_yticks(range(MAX_SHORT + 1), [*pair[1].split(), "END"], fontsize=6)
        axis.set_title(f"{name}, epoch {epoch}", fontsize=8)
figure.supxlabel("source token", fontsize=9)
figure.supylabel("target token", fontsize=9)
figure.colorbar(image, ax=axes, label="weight", shrink=0.8)
plt.show()

# %% [markdown]
# At first all places have the same weight: the context is the mean of everything, and says which letters there are, but
# not which comes next. Luong's scores have no bounds, so its weights soon become sharp, and may first gather on one
# place such as END, whose state has read the whole row: a fixed context again. Then the diagonal appears, and the loss
# falls with it: compare the epochs in the two figures. A gradient sharpens weights that help already, so it begins
# slowly, and once it has begun it is fast.
#
# ## Quality against length
#
# In the second stage all three go on with rows of up to 60 letters. What they learned does not carry over at once: look
# at the losses of the first epoch. But then those with attention fall, and in the end the length hardly matters to
# them. (Short examples first is called a *curriculum*: exercise 2 leaves it out.)

# %%
for name, model in models.items():
    print(name)
    fit(model, long, long_validation, EPOCHS_LONG, 2e-3)

# %% [markdown]
# Now the experiment of Bahdanau et al. 2015 (their figure 2): quality against the length of the source. Each model
# writes test rows in groups of like length, up to a third longer than it was trained on. The word error rate, with
# letters as words, counts letters that are wrong, missing or too many; 100 minus this rate is the **word accuracy**;
# letters too many count against it, so it is cut off at 0.

# %% tags=["picture"]
width = max(MAX_LONG // 12, 1)
groups = [(first, first + width - 1) for first in range(1, MAX_LONG * 4 // 3, width)]
tests = [make_pairs(NUM_TEST, *group) for group in groups]
generators = {name: kerasseq.TextGenerator(model, preprocessor, sampler="greedy") for name, model in models.items()}
right = {}
for name, writer in generators.items():
    texts = iter(writer.generate([source for pairs in tests for source, _ in pairs]))
    rates = [
        kerasseq.evaluation.word_error_rate([next(texts) for _ in pairs], [target for _, target in pairs])["wer"]
        for pairs in tests
    ]
    right[name] = [max(100 - rate, 0) for rate in rates]  # A text that is far too long has more errors than letters.

figure, axis = plt.subplots(figsize=(7, 3.4), layout="constrained")
axis.axvline(MAX_LONG + 0.5, color="0.4", linewidth=1)
axis.text(MAX_LONG + 1, 50, "longer than\nin training", fontsize=8, color="0.3")
draw(axis, np.mean(groups, axis=1), right, xlabel="letters in the source", ylabel="word accuracy in %", ylim=(-3, 103))
axis.set_title("Quality against length")
plt.show()

# %% [markdown]
# The fixed context holds a few letters, then the curve goes down: the same numbers have to hold more and more. The rate
# lines up the two texts in the best way, so even random letters get 3 to 9 %: a plateau near 18 % is little more than
# that and a few letters remembered. With attention the curve stays up, because the decoder does not have to hold the
# row, only the place where it is.
#
# ## What it gets wrong
#
# Right of the line are lengths that no model has seen. Both curves fall there, and which of them more differs from run
# to run: part of what they learned is tied to the lengths that they saw. There is another weakness. Attention finds a
# place by what stands there and around it. In a row of one letter all places look alike, and only counting helps.
# Below, "ordinary" is for comparison.

# %%
length = MAX_LONG // 2
rows = {"ordinary": make_pairs(1, length, length)[0][0], "one letter": " ".join("a" * length)}
generations = generators["Luong"].generate(list(rows.values()), details=True)
for (name, row), generation in zip(rows.items(), generations, strict=True):
    print(
        f"{name}: should be {length} letters, is {len(generation.text.split())}; right: {generation.text == row[::-1]}"
    )
kerasseq.plotting.plot_attention(generations, title="An ordinary row, and one that says the same again and again")

# %% [markdown]
# ## What it costs
#
# Without attention, a decoding step costs the same whatever the source is. With attention, $m$ steps that look at $n$
# positions need $m n$ scores. In the additive form each score is a vector of `units` numbers before $v$ makes one of
# it, and training keeps them for the way back: `batch * m * n * units` numbers. In the multiplicative form a score is
# one number, and all scores are one matrix product.
#
# We measure one training step, on sources and targets of the same length. A process keeps much of the memory that it
# had once, so each model gets a fresh one, which runs this little program on the CPU. It reads its peak of memory from
# `/proc` (Linux).

# %%
PROGRAM = """
import re, sys, time
import keras, numpy as np, kerasseq

kind, *lengths = sys.argv[1:]
sizes = {"source_vocabulary_size": 100, "target_vocabulary_size": 100, "units": 64, "embedding_dim": 64}
if kind == "none":
    model = kerasseq.models.GRUSeq2Seq(**sizes, bidirectional=True)
else:
    model = kerasseq.models.AttentionSeq2Seq(**sizes, cell="gru", attention=kind)
model.compile("adam", kerasseq.losses.MaskedCrossentropy())

def step(length):
    ids = np.random.default_rng(1).integers(4, 100, (8, length), dtype="int32")
    begin = time.perf_counter()
    model.train_on_batch({"encoder_token_ids": ids, "decoder_token_ids": ids}, ids)
    return time.perf_counter() - begin

def peak():  # the most memory that this process ever had, in MB (Linux)
    return int(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1]) / 1024

step(3), step(5)  # The first steps compile the graph and make the optimizer's variables.
before = peak()
for length in map(int, lengths):  # the shortest first
    print(sorted(step(length) for _ in range(5))[2], peak() - before)
"""
costs = {}
for kind in ("none", "bahdanau", "luong"):
    command = [sys.executable, "-c", PROGRAM, kind, *map(str, COST_LENGTHS)]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}  # On the CPU, whose memory we measure.
    output = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True
    ).stdout
    costs[kind] = np.loadtxt(output.splitlines(), ndmin=2)  # (lengths, 2): seconds and MB

figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
for column, (axis, label) in enumerate(zip(axes, ("seconds", "additional memory in MB"), strict=True)):
    values = {kind.replace("none", "fixed context"): measured[:, column] for kind, measured in costs.items()}
    draw(axis, COST_LENGTHS, values, xlabel="tokens in source and in target", ylabel=label)
figure.suptitle("A training step, batch of 8")
plt.show()

# %% [markdown]
# Where the length doubles, loops over tokens double, and the recurrences are loops in all three models; scores of all
# with all grow fourfold. From 160 to 320 tokens `bahdanau` takes about three times the time and the memory, `luong`
# about twice: at these lengths its loops still weigh more than its scores. (Times jump where something else runs on the
# machine, as for the fixed context here; memory does not.) `bahdanau` looks inside its loop, one target position after
# the other, and keeps a vector for each score.
#
# ## Exercises
#
# 1. Copy, in the place of reversing. What do the alignments look like? Is it easier for the model without attention?
# 2. Train the first stage with twice the rate, or leave it out. Where does Luong's model look?
# 3. `attention="location"` also knows where the last step looked (tutorial 7 listens with it). What does it make of the
#    row of one letter?
#
# **Solutions**
#
# 1. `" ".join(row)` twice in `make_pairs`. The diagonal goes from the upper left to the lower right. When a row is
#    reversed, the letter that was read last is written first, and is still fresh in the fixed context; Sutskever et al.
#    2014 reversed their sources for this reason.
# 2. Build the model anew, `fit` it, and draw its weights for `inputs`. It may stay on END: where all other weights are
#    0, so are the gradients that would show it another place.
# 3. `AttentionSeq2Seq(**sizes, cell="gru", attention="location")`, `fit` in both stages, and generate from `rows`. It
#    need not recognise a place: it can go one to the left of where it was.
