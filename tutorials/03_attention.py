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
# The encoder-decoder of tutorial 1 squeezes a source of any length into one context vector of fixed size. Long sources
# do not fit. Attention keeps *all* hidden states of the encoder and lets the decoder look at them before it emits a
# token.
#
# Here you compute one attention step by hand in its two classic forms (Bahdanau et al. 2015; Luong et al. 2015), watch
# alignments emerge during training, measure what attention gains on long sources, and measure what it costs.

# %% tags=["parameters"]
NUM_SHORT = 12_800  # training pairs of the first stage
NUM_LONG = 20_000  # training pairs of the second stage
MAX_SHORT = 12  # letters, first stage
MAX_LONG = 60  # letters, second stage
EPOCHS_SHORT = 10
EPOCHS_LONG = 8
UNITS = 96
NUM_TEST = 40  # sequences per group of lengths
COST_LENGTHS = (20, 40, 80, 160, 320)  # tokens, in ascending order
COST_ROUNDS = 7  # timed training steps per length
SEED = 1

# %%
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # Hides the message about a missing GPU. None is needed.

import string
import subprocess
import sys

import keras
import matplotlib.pyplot as plt
import numpy as np

import kerasseq

keras.utils.set_random_seed(SEED)

# %% [markdown]
# ## Look at the data first
#
# The task is to reverse a sequence of letters. We can generate as much data as we want, and we know the right
# alignment: the first target letter is the last source letter, and so on. A decoder that looks at the right positions
# draws a diagonal from the upper right to the lower left. Each letter is one token.

# %%
rng = np.random.default_rng(SEED)
letters = list(string.ascii_lowercase)


def make_pairs(number, shortest, longest):
    """Returns pairs of a random letter sequence and its reverse."""
    sequences = [rng.choice(letters, length) for length in rng.integers(shortest, longest + 1, number)]
    return [(" ".join(sequence), " ".join(sequence[::-1])) for sequence in sequences]


short, long = make_pairs(NUM_SHORT, 1, MAX_SHORT), make_pairs(NUM_LONG, 1, MAX_LONG)
short_validation, long_validation = make_pairs(256, 1, MAX_SHORT), make_pairs(256, 1, MAX_LONG)
for source, target in short[:4]:
    print(f"{source:25} -> {target}")

preprocessor = kerasseq.preprocessing.TextPreprocessor.from_pairs(long, vocabulary_size=320, joint=True)
encoded = preprocessor.encode_source(["k e r a s s e q"])
ids = encoded["encoder_token_ids"]  # (1, source): eight letters and END
print("\ntokens:", *(token.decode() for token in preprocessor.source_tokens(encoded).numpy()[0]), " (▁ starts a word)")
print("ids:   ", *ids.numpy()[0])

# %% [markdown]
# ## One idea, two forms
#
# The encoder produces a hidden state $h_j$ for each source position $j$. Together they are the **memory**, of shape
# `(source, 2 * units)`, because the encoder is bidirectional. For target position $i$, attention does three things:
#
# 1. A **score** $e_{ij}$ rates how well position $j$ fits what the decoder is about to emit.
# 2. A softmax turns the scores into **weights**: $a_{ij} = \exp(e_{ij}) / \sum_k \exp(e_{ik})$.
# 3. The **context vector** $c_i = \sum_j a_{ij} h_j$, of shape `(2 * units,)`, is the weighted mean of the memory.
#
# All of this is differentiable, so gradients tell the model where it should have looked. Let $s_i$ be the hidden state
# of the decoder after step $i$, $y_{i-1}$ the embedding of the previous token, and $f$ the cell, here a GRU. $[a; b]$
# is the concatenation of $a$ and $b$. $W$, $U$, $R$, $v$ and $b$ are learned. The score of `"bahdanau"` is *additive*,
# and its tanh keeps each number between -1 and 1. The score of `"luong"` is *multiplicative* and unbounded.
#
# | | `"bahdanau"` (Bahdanau et al. 2015) | `"luong"` (Luong et al. 2015, "general") |
# |---|---|---|
# | score | $e_{ij} = \tanh(s_{i-1} W + h_j U)\,v$ | $e_{ij} = h_j W s_i^T$ |
# | query | the state *before* the step | the state *after* the step |
# | hidden state | $s_i = f(s_{i-1}, [y_{i-1}; c_i])$ | $s_i = f(s_{i-1}, y_{i-1})$ |
# | attentional state $\tilde s_i$ | $\tanh([s_i; c_i; y_{i-1}]\,R + b)$ | $\tanh([c_i; s_i]\,R + b)$ |
#
# (Bahdanau et al. compute $\tilde s_i$ with a maxout layer. kerasseq uses a tanh layer for both, so that only the
# attention differs.) A dense layer maps $\tilde s_i$ to logits, one per token of the vocabulary.

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
    title="Left, bahdanau: attend, then step. Right, luong: step, then attend.",
)  # fmt: skip

# %% [markdown]
# ## One step by hand
#
# A kerasseq model has two parts. The encoder computes the memory (`model.encode`). The decoder first computes, once per
# source, its initial state $s_0$ and the **keys** $h_j U$ or $h_j W$, which serve all target positions (`model.start`).
# Then it runs step by step (`model.step`). We build both models, take their weights, and compute the first step in
# NumPy. The third model, without attention, is for the comparison below.

# %%
sizes = {"source_vocabulary_size": preprocessor.source_vocabulary_size, "embedding_dim": 32, "units": UNITS}
sizes["target_vocabulary_size"] = preprocessor.target_vocabulary_size
models = {
    "fixed context": kerasseq.models.GRUSeq2Seq(**sizes, bidirectional=True),
    "bahdanau": kerasseq.models.AttentionSeq2Seq(**sizes, cell="gru", attention="bahdanau"),
    "luong": kerasseq.models.AttentionSeq2Seq(**sizes, cell="gru", attention="luong"),
}
START = kerasseq.preprocessing.vocabulary.START_ID
start = keras.ops.array([START], "int32")  # (1,): the first input of the decoder


def first_step(model):
    """Returns the memory of our source, the kernel of the keys, the initial state and the outputs of the first step."""
    context = model.encode({"encoder_token_ids": ids})
    state, constants = model.start(context)
    outputs = model.step(start, state, constants)
    memory, keys_kernel = context["memory"][0].numpy(), model.decoder.attention.keys.kernel.numpy()
    return memory, keys_kernel, state["layers"][0]["hidden"][0].numpy(), outputs


def softmax(scores):
    exponentials = np.exp(scores - scores.max())  # Subtracting the maximum prevents overflow.
    return exponentials / exponentials.sum()


# %%
memory, U, state, outputs = first_step(models["bahdanau"])  # (source, 2 * units), (2 * units, units), (units,)
decoder = models["bahdanau"].decoder
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
# The weights and the next hidden state agree with the model's, or the assertions would have failed. There are nine
# weights for nine tokens, END included, and they add up to 1. Before training they are almost equal.
#
# With `"luong"`, the decoder steps first and attends afterwards. So the query is the state after the step, and we can
# continue to the logits.

# %%
memory, W, _, outputs = first_step(models["luong"])
decoder = models["luong"].decoder
state = outputs["state"]["layers"][0]["hidden"][0].numpy()  # (units,), after the step

weights = softmax(memory @ W @ state)  # (source,)
context = weights @ memory
dense, last = decoder.placement.attentional, decoder.logits
attentional = np.tanh(np.concatenate([context, state]) @ dense.kernel.numpy() + dense.bias.numpy())  # (units,)
logits = attentional @ last.kernel.numpy() + last.bias.numpy()  # (vocabulary,)
np.testing.assert_allclose(weights, outputs["attention"][0], atol=1e-5)
np.testing.assert_allclose(logits, outputs["logits"][0], atol=1e-4)
print(f"{len(weights)} weights and {len(logits)} logits agree")

# %% [markdown]
# ## Alignments emerge
#
# We train in two stages. In the first one, sequences have at most 12 letters. Nobody tells the models where to look:
# the loss only asks for the next letter. Before training and after each epoch, we record the attention weights for one
# sequence outside the training data, with the correct letters as decoder inputs (teacher forcing).


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
recorded = {"bahdanau": [], "luong": []}  # weights (target, source), before training and after each epoch
curves = {}
for name, model in models.items():
    print(name)
    callbacks = []
    if name in recorded:

        def record(epoch=None, logs=None, model=model, kept=recorded[name]):
            kept.append(model.decoder_outputs(inputs)["attention"][0].numpy())

        record()
        callbacks.append(keras.callbacks.LambdaCallback(on_epoch_end=record))
    curves[name] = fit(model, short, short_validation, EPOCHS_SHORT, 5e-4, callbacks)


# %%
def draw(axis, x, curves, **labels):
    for (name, values), style in zip(curves.items(), ("^:", "o-", "s--"), strict=True):
        axis.plot(x, values, style, label=name, markersize=4)
    axis.set(**labels)
    axis.grid(alpha=0.3)
    axis.legend()


figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
draw(axis, range(1, EPOCHS_SHORT + 1), curves, xlabel="epoch", ylabel="validation loss (nats per token)")
axis.set_title(f"Reverse task, up to {MAX_SHORT} letters: validation loss")
plt.show()

# %%
shown = sorted({round(epoch) for epoch in np.linspace(0, EPOCHS_SHORT, 5)})
figure, axes = plt.subplots(
    2, len(shown), figsize=(2 * len(shown) + 1, 5.2), sharex=True, sharey=True, squeeze=False, layout="constrained"
)
for row, (name, kept) in zip(axes, recorded.items(), strict=True):
    for axis, epoch in zip(row, shown, strict=True):
        image = axis.imshow(kept[epoch], vmin=0, vmax=1, cmap="Blues")
        axis.set_xticks(range(MAX_SHORT + 1), [*pair[0].split(), "END"], rotation=90, fontsize=10)
        axis.set_yticks(range(MAX_SHORT + 1), [*pair[1].split(), "END"], fontsize=10)
        axis.set_title(f"{name}, epoch {epoch}" if epoch else f"{name}, untrained", fontsize=11)
figure.supxlabel("source token")
figure.supylabel("target token")
figure.colorbar(image, ax=axes, label="attention weight", shrink=0.8)
figure.suptitle("Attention weights for one sequence during training")
plt.show()

# %% [markdown]
# At first all positions have the same weight. The context vector is then the mean of the memory: it says which letters
# occur, but not which one comes next. The scores of `"luong"` are unbounded, so its weights soon become sharp. They may
# first collapse onto one position, such as END, whose state has read the whole sequence: a fixed context again. Then
# the diagonal appears, and the loss falls with it (compare the epochs in the two figures). Gradients sharpen weights
# that already help, so alignment starts slowly and then speeds up.
#
# ## Quality against length
#
# In the second stage, all three models continue on sequences of up to 60 letters. What they learned does not transfer
# at once, as the losses of the first epoch show. But the losses with attention then fall to almost zero, and the length
# hardly matters any more. (Starting with short examples is called a *curriculum*. Exercise 2 leaves it out.)

# %%
for name, model in models.items():
    print(name)
    fit(model, long, long_validation, EPOCHS_LONG, 2e-3)

# %% [markdown]
# Now repeat the experiment of Bahdanau et al. 2015 (their figure 2): quality against source length. Each model reverses
# test sequences in groups of similar length, up to a third longer than in training. The word error rate, with letters
# as words, counts wrong, missing and extra letters. **Word accuracy** is 100 minus this rate, cut off at 0 because
# extra letters can push the rate above 100.

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
    right[name] = [max(100 - rate, 0) for rate in rates]  # Outputs that are far too long have more errors than letters.

figure, axis = plt.subplots(figsize=(7, 3.4), layout="constrained")
axis.axvline(MAX_LONG + 0.5, color="0.4", linewidth=1)
axis.text(MAX_LONG + 1, 50, "longer than\nin training", fontsize=9, color="0.3")
draw(axis, np.mean(groups, axis=1), right, xlabel="source length (letters)", ylabel="word accuracy (%)", ylim=(-3, 103))
axis.set_title("Reverse task: quality against length")
plt.show()

# %% [markdown]
# The fixed context holds a few letters, and then the curve falls: the same few numbers must hold more and more letters.
# Note that the error rate aligns both texts in the best way, so even random letters score 3 to 9 %. A plateau near 20 %
# is little more than that plus a few remembered letters. With attention the curve stays up, because the decoder does
# not have to store the sequence, only its position in it.
#
# ## What it gets wrong
#
# To the right of the line are lengths that no model has seen. Both attention models degrade there, and which one
# degrades more differs from run to run: part of what they learned is tied to the lengths in training. There is another
# weakness. Attention finds a position by its content and its neighbours. In a sequence of one repeated letter all
# positions look alike, and only counting helps. Below is such a sequence, next to an ordinary one.

# %%
length = MAX_LONG // 2
sequences = {"ordinary": make_pairs(1, length, length)[0][0], "one repeated letter": " ".join("a" * length)}
generations = generators["luong"].generate(list(sequences.values()), details=True)
for (name, sequence), generation in zip(sequences.items(), generations, strict=True):
    correct = generation.text == sequence[::-1]
    print(f"{name}: expected {length} letters, received {len(generation.text.split())}; correct: {correct}")
kerasseq.plotting.plot_attention(generations, title="luong: an ordinary sequence (left), one repeated letter (right)")

# %% [markdown]
# ## What it costs
#
# Without attention, a decoding step costs the same for every source. With attention, $m$ steps over $n$ positions need
# $m n$ scores. In the additive form each score starts as a vector of `units` numbers, before $v$ reduces it to one, and
# training keeps these vectors for the backward pass: `batch * m * n * units` numbers. In the multiplicative form a
# score is one number, and all scores together are one matrix product.
#
# We measure one training step, with sources and targets of the same length. A process keeps much of the memory that it
# once allocated, so each model runs in its own process, on the CPU. The models take turns, and we plot medians over the
# rounds, so that other programs on the machine disturb all models alike. Each process reads its peak memory from
# `/proc` (Linux).

# %%
PROGRAM = """
import re, sys, time
import keras, numpy as np, kerasseq

attention = sys.argv[1]
sizes = {"source_vocabulary_size": 100, "target_vocabulary_size": 100, "units": 64, "embedding_dim": 64}
if attention == "none":
    model = kerasseq.models.GRUSeq2Seq(**sizes, bidirectional=True)
else:
    model = kerasseq.models.AttentionSeq2Seq(**sizes, cell="gru", attention=attention)
model.compile("adam", kerasseq.losses.MaskedCrossentropy())

def step(length):
    ids = np.random.default_rng(1).integers(4, 100, (8, length), dtype="int32")
    begin = time.perf_counter()
    model.train_on_batch({"encoder_token_ids": ids, "decoder_token_ids": ids}, ids)
    return time.perf_counter() - begin

def peak():  # the peak memory of this process in MB (Linux)
    return int(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1]) / 1024

step(3), step(5)  # The first steps compile the graph and create the optimizer's variables.
before = peak()
for line in sys.stdin:  # Each line asks for one training step.
    print(step(int(line)), peak() - before, flush=True)
"""
NAMES = {"none": "fixed context", "bahdanau": "bahdanau", "luong": "luong"}
environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}  # On the CPU, whose memory we measure.
pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
processes = [
    subprocess.Popen([sys.executable, "-c", PROGRAM, kind], env=environment, text=True, **pipes) for kind in NAMES
]


def measure(process, length):
    """Runs one training step in a process and returns its seconds and the peak memory so far, in MB."""
    print(length, file=process.stdin, flush=True)
    return [float(number) for number in process.stdout.readline().split()]


seconds, megabytes = [], []  # of each length: one value per model
for length in COST_LENGTHS:  # shortest first, because a peak never falls
    rounds = np.array([[measure(process, length) for process in processes] for _ in range(COST_ROUNDS)])
    seconds.append(np.median(rounds[:, :, 0], axis=0))  # rounds: (rounds, models, 2)
    megabytes.append(rounds[-1, :, 1])
for process in processes:
    process.communicate()  # The end of its input ends the process.

figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
for axis, costs, label in zip(axes, (seconds, megabytes), ("time (s)", "additional peak memory (MB)"), strict=True):
    curves = dict(zip(NAMES.values(), np.transpose(costs), strict=True))
    draw(axis, COST_LENGTHS, curves, xlabel="length of source and target (tokens)", ylabel=label)
figure.suptitle("Cost of one training step, batch size 8")
plt.show()

# %% [markdown]
# When the length doubles, loops over tokens take twice as long, and the recurrences of all three models are such loops.
# The number of scores grows fourfold. From 160 to 320 tokens, `"bahdanau"` takes roughly three times the time and the
# memory, `"luong"` about twice: at these lengths its loops still outweigh its scores. `"bahdanau"` attends inside its
# loop, one target position after the other, and stores a vector for each score.
#
# ## Exercises
#
# 1. Train on the copy task instead of the reverse task. What do the alignments look like? Is it easier for the model
#    without attention?
# 2. Train the first stage with twice the learning rate, or skip it. Where does `"luong"` look?
# 3. `attention="location"` also knows where the previous step looked (tutorial 7 uses it for speech). What does it do
#    with the sequence of one repeated letter?
#
# **Solutions**
#
# 1. Use `" ".join(sequence)` twice in `make_pairs`. The diagonal runs from the upper left to the lower right. The fixed
#    context has a harder time: in the reverse task, the letter read last is written first, while it is still fresh.
#    Sutskever et al. 2014 reversed their sources for this reason.
# 2. Build a new model, `fit` it, and plot its weights for `inputs`. It may stay on END: where all other weights are 0,
#    so are the gradients that would point to another position.
# 3. Build `AttentionSeq2Seq(**sizes, cell="gru", attention="location")`, `fit` both stages, and generate from
#    `sequences`. It does not have to recognize a position: it can move one step to the left of the previous one.
