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
# # 9. Your own data
#
# You have a file of pairs, with a source and a target on each line, separated by a tab, and you want a served model.
# Most lost days are lost to problems in the data, or to training runs that could never have worked. This tutorial goes
# all the way, with checks that find such problems in minutes.
#
# Set `PATH` to your own file and run all cells. Without one, the tutorial first writes a file: Spanish sentences and
# their English translations by volunteers of Tatoeba, with the dirt of real files added.

# %% tags=["parameters"]
PATH = ""  # your uncompressed file; if empty, the tutorial writes its own
NUM_PAIRS = 40_000  # in the file that the tutorial writes
VOCABULARY_SIZE = 4_000  # subwords per language
MAX_LENGTH = 32  # tokens per source or target
UNITS = 192
EPOCHS = 12
FINDER_STEPS = 200
OVERFIT_STEPS = 300
NUM_SCORED = 300  # validation pairs to translate after each epoch
SEED = 1

# %%
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # Hides the message about a missing GPU. None is needed.

import collections
import pathlib
import random
import unicodedata

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

import kerasseq

tf.get_logger().setLevel("WARNING")  # Hides messages about written files.
keras.utils.set_random_seed(SEED)

# %%
kerasseq.plotting.plot_diagram(
    {
        "file": ("pairs.tsv", 0, 1, "data"),
        "clean": ("read, drop\nduplicates", 1, 1),
        "split": ("split: no source\nin two splits", 2.2, 1),
        "tokens": ("vocabulary;\nlengths, characters", 3.5, 1),
        "try": ("overfit one batch,\nfind the learning rate", 3.5, 0),
        "fit": ("train, score,\ncheckpoint", 2.2, 0),
        "test": ("evaluate\non test", 1, 0),
        "serve": ("SavedModel", 0, 0, "data"),
    },
    [
        ("file", "clean"), ("clean", "split"), ("split", "tokens"), ("tokens", "try"), ("try", "fit"),
        ("fit", "test"), ("test", "serve"),
    ],
    title="From a file to a served model",
)  # fmt: skip

# %% [markdown]
# ## The file
#
# Run this cell in either case. With your own `PATH`, it only shows the beginning of the file. Without one, it adds
# duplicate lines, sentences that return without their full stop, a line without a target, a text of thirty sentences on
# one line, an emoji, and lines that were decoded with the wrong encoding.

# %%
folder = pathlib.Path("your_own_data")
folder.mkdir(exist_ok=True)
path = pathlib.Path(PATH or folder / "pairs.tsv")
if not PATH:
    tatoeba = [pair for side in kerasseq.datasets.load_anki("spa") for pair in side]
    lines = [f"{spanish}\t{english}" for english, spanish in random.Random(SEED).sample(tatoeba, NUM_PAIRS)]
    ended = [line for line in lines if ".\t" in line]
    dirt = lines[: NUM_PAIRS // 50]
    dirt += [line.replace(".\t", "\t") for line in ended[: NUM_PAIRS // 50]]
    dirt += [lines[0].split("\t")[0] + "\t", "Me gusta el café ☕.\tI like coffee ☕."]
    dirt += ["\t".join(" ".join(side) for side in zip(*(line.split("\t") for line in lines[:30]), strict=True))]
    dirt += [line.encode("utf-8").decode("latin-1") for line in lines if "ñ" in line][:3]
    lines += dirt
    random.Random(SEED).shuffle(lines)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")

print(path.read_bytes()[:300].decode("utf-8", errors="replace"), "...")

# %% [markdown]
# ## Read it
#
# `read_pairs` does not guess. A line that is not a pair raises an error that names the line. A file with one broken
# line often has a thousand, and a reader that skips them would hide that.

# %%
try:
    kerasseq.datasets.read_pairs(path)
except ValueError as error:
    print(error)

# %% [markdown]
# Look at such lines, then decide. Here we keep the lines that have both sides, and count the others. A large count
# means that the file is not what you think it is. We keep the lines as bytes, so that `read_pairs` still finds lines
# that are not valid UTF-8: replacing undecodable characters would hide a wrong encoding.


# %%
def is_pair(line):
    """Returns whether a line (bytes) has both sides."""
    source, _, rest = line.decode("utf-8", errors="replace").partition("\t")
    return bool(source.strip() and rest.split("\t")[0].strip())


lines = path.read_bytes().rstrip(b"\n").split(b"\n")
good = [line for line in lines if is_pair(line)]
clean = folder / "clean.tsv"
clean.write_bytes(b"\n".join(good) + b"\n")
pairs = kerasseq.datasets.read_pairs(clean)
print(f"{len(lines):,} lines, {len(lines) - len(good):,} without a pair")
unique = list(dict.fromkeys(pairs))
print(f"{len(pairs) - len(unique):,} duplicate pairs; {len(unique):,} remain")
print(f"{len(unique) - len({source for source, _ in unique}):,} have a source that also has another target")

# %% [markdown]
# Duplicate pairs count twice in the loss, and the model will know best what is repeated a thousand times. Several
# targets for one source are fine: there is more than one way to say it.
#
# ## Split it and look for leaks
#
# A **leak** is a test sentence that the model was trained on: it measures memorization. A random split leaks wherever a
# source has several targets. `split_by_source` puts all of them into one split, chosen by a hash of the source, so a
# sentence stays in its split when the data grow. But with `key=None` it compares sources exactly, and "Ven aquí." and
# "Ven aquí" are two sentences. So we split by a **key** that ignores what does not matter: case, spaces, punctuation
# and other signs, and different Unicode forms of the same letter. ("2+2" and "22" get the same key. Change that if
# signs matter to you.)


# %%
def key(text):
    """Returns the letters, marks and digits of a text, case-folded, or the whole text if it has none."""
    text = unicodedata.normalize("NFKC", text).casefold()
    return "".join(char for char in text if unicodedata.category(char)[0] in "LMN") or text


def without_copies(pairs):
    """Keeps the longest of the pairs with the same keys."""
    longest = {}
    for pair in pairs:
        keys = tuple(map(key, pair))
        longest[keys] = max(longest.get(keys, pair), pair, key=lambda texts: len("".join(texts)))
    return list(longest.values())


def leaks(train, test):
    """Returns the share of test sources whose key occurs in training."""
    known = {key(source) for source, _ in train}
    return np.mean([key(source) in known for source, _ in test])


shuffled = random.Random(SEED).sample(unique, len(unique))
cut = len(unique) // 20
by_key = kerasseq.datasets.split_by_source([(key(source), (source, target)) for source, target in unique], key=None)
splits = {  # training, validation, test
    "random": (shuffled[2 * cut :], shuffled[cut : 2 * cut], shuffled[:cut]),
    "split_by_source": kerasseq.datasets.split_by_source(unique, key=None),
    "split_by_source of keys": tuple([pair for _, pair in split] for split in by_key),
}
for name, (train, _, test) in splits.items():
    print(f"{name:24} {leaks(train, test):6.1%} of {len(test):,} test pairs leak")
train, validation, test = map(without_copies, splits["split_by_source of keys"])
pairs = [*train, *validation, *test]
print(f"{len(unique) - len(pairs):,} pairs have the same keys as another; {len(pairs):,} remain")

# %% [markdown]
# Whatever belongs together in your data must stay together: the lines of one document, one customer, one template. In
# that case split by its name: `split_by_source([(name, pair), ...])`.
#
# ## The vocabulary and its unknown characters
#
# The vocabulary is learned from the training split only. Characters too rare for it are written as bytes. So no text is
# impossible, but the model has hardly seen these bytes. Look at the texts that need them: rare characters point to
# wrong encodings, other languages, and copy-and-paste errors. The second check is a round trip from text to ids and
# back. A text that comes back changed cannot be read or written faithfully.

# %%
preprocessor = kerasseq.preprocessing.TextPreprocessor.from_pairs(
    train, VOCABULARY_SIZE, max_source_length=MAX_LENGTH, max_target_length=MAX_LENGTH, normalization="nmt_nfkc"
)
lengths, rare = [], []
for number, side in enumerate(("source", "target")):
    texts = np.array([pair[number] for pair in pairs], dtype=object)
    ids = preprocessor.tokenize(tf.constant(texts), side)  # ragged (pairs, tokens), END included
    lengths.append(ids.row_lengths().numpy())
    needs_bytes = tf.reduce_any((ids >= 4) & (ids < 260), axis=1).numpy()  # the ids of the 256 bytes
    unknown = set("".join(texts[needs_bytes])) - set("".join(texts[~needs_bytes]))
    holds = collections.Counter(char for text in texts[needs_bytes] for char in unknown.intersection(text))
    rare.append({char for char, count in holds.items() if count < 5})
    print(
        f"{side}: {needs_bytes.sum()} texts need bytes, for",
        *(f"{char}:{count}" for char, count in holds.most_common()),
    )
    tokenizer = preprocessor.tokenizers[0] if side == "source" else preprocessor.tokenizers[-1]
    back = np.array([raw.decode() for raw in tokenizer.detokenize(ids[:, :-1]).numpy()], dtype=object)
    print(f"  {(back != texts).sum()} change in the round trip:", *map(repr, texts[back != texts][:3]))

# %% [markdown]
# ## Lengths
#
# The time and memory of a batch depend on its longest pair. The few lines that are far longer than all others are
# mostly not sentences. Put the limit where the tail begins. Pairs with one long and one short side are often not
# translations.

# %%
figure, axis = plt.subplots(figsize=(7, 3), layout="constrained")
bins = np.arange(3 * MAX_LENGTH)
axis.hist([np.minimum(values, bins[-1]) for values in lengths], bins, label=["source", "target"])
axis.axvline(MAX_LENGTH, color="0.3", linewidth=1, label=f"limit: {MAX_LENGTH}")
axis.set(yscale="log", xlabel="length (tokens), longer texts in the last bar", ylabel="number of texts (log scale)")
axis.set_title("Lengths of sources and targets")
axis.legend()
plt.show()
too_long = np.maximum(*lengths) > MAX_LENGTH
print(f"{too_long.sum()} pairs are longer than {MAX_LENGTH} tokens on one side")
ratios = np.log2(lengths[1] / lengths[0])
for row in np.argsort(-np.abs(ratios))[:3]:
    print(f"{lengths[0][row]} and {lengths[1][row]} tokens:", *(repr(text[:50]) for text in pairs[row]))

# %% [markdown]
# We drop pairs that are too long, and pairs with characters that occur in fewer than five texts of their language, from
# training, validation and test. That is honest as long as the served model is not meant to receive such texts.

# %%
bad = {
    pair
    for pair, long in zip(pairs, too_long, strict=True)
    if long or any(characters.intersection(text) for characters, text in zip(rare, pair, strict=True))
}
train, validation, test = ([pair for pair in split if pair not in bad] for split in (train, validation, test))
print(f"dropped {len(bad):,} pairs; {len(train):,} for training, {len(validation):,} and {len(test):,} held out")

# %% [markdown]
# ## Overfit one batch
#
# Before a long training run, do a short one that must succeed: 32 pairs, over and over. If a model cannot memorize
# them, there is a bug in the model or in the data, and more epochs will not help. (The sources are distinct, because no
# model can memorize two targets for one source.) The loss starts near $\ln V$, the loss of guessing among $V$ tokens,
# and must end near 0.


# %%
def build_model(dropout=0.2):
    return kerasseq.models.AttentionSeq2Seq(
        preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size,
        cell="gru", attention="luong", units=UNITS, embedding_dim=UNITS, dropout=dropout, tie_embeddings=True,
    )  # fmt: skip


model = build_model(dropout=0.0)
model.compile(keras.optimizers.Adam(3e-3, clipnorm=1.0), kerasseq.losses.MaskedCrossentropy())
few = list({source: (source, target) for source, target in random.Random(SEED).sample(train, len(train))}.values())[:32]
batch = preprocessor.dataset(few, batch_size=32).repeat()
history = model.fit(batch, steps_per_epoch=1, epochs=OVERFIT_STEPS, verbose=0, shuffle=False)
losses = history.history["loss"]
print(
    f"ln V = {np.log(preprocessor.target_vocabulary_size):.2f}; the loss goes from {losses[0]:.2f} to {losses[-1]:.3f}"
)
outputs = kerasseq.TextGenerator(model, preprocessor, sampler="greedy").generate([source for source, _ in few])
print(sum(output == target for output, (_, target) in zip(outputs, few, strict=True)), "of", len(few), "memorized")

# %% [markdown]
# ## Find the learning rate
#
# If the learning rate is too small, training gets nowhere. If it is too large, the loss explodes. One short run tries
# them all (Smith 2017): we raise the rate from batch to batch and record the loss of each.


# %% tags=["picture"]
class LearningRateFinder(keras.callbacks.Callback):
    def __init__(self, lowest, highest, steps):
        super().__init__()
        self.rates, self.losses = np.geomspace(lowest, highest, steps), []

    def on_train_batch_begin(self, batch, logs=None):
        self.model.optimizer.learning_rate = self.rates[batch]

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(float(logs["loss"]))
        self.model.reset_metrics()  # Keras reports running means. This makes it the loss of the batch.


batches = preprocessor.dataset(train, batch_size=64, shuffle=True, seed=SEED)
loss = kerasseq.losses.MaskedCrossentropy(label_smoothing=0.1)
model = build_model()
model.compile(keras.optimizers.Adam(clipnorm=1.0), loss)
finder = LearningRateFinder(1e-5, 1.0, FINDER_STEPS)
model.fit(batches.repeat(), steps_per_epoch=FINDER_STEPS, verbose=0, shuffle=False, callbacks=[finder])
window = max(FINDER_STEPS // 20, 1)  # Batches differ: a moving average shows the trend.
smooth = np.convolve(np.nan_to_num(finder.losses, nan=1e9), np.ones(window) / window, mode="valid")
rates = finder.rates[window // 2 :][: len(smooth)]
rate = float(rates[smooth < 1.05 * smooth.min()].max() / 5)

figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
axis.plot(finder.rates, finder.losses, color="0.8", label="one batch")
axis.plot(rates, smooth, label=f"mean of {window} batches")
axis.axvline(rate, color="C1", linestyle="--", label=f"chosen: {rate:.1e}")
axis.set(xscale="log", xlabel="learning rate", ylabel="loss (nats per token)", ylim=(0, 1.5 * finder.losses[0]))
axis.set_title("Learning rate finder: loss at increasing rates")
axis.legend()
plt.show()

# %% [markdown]
# On the left nothing happens, and on the right the steps are too large. The best rate lies in between, closer to the
# right. We take a fifth of the largest rate at which the loss is within 5 % of its minimum, and discard the finder's
# model.
#
# ## Train
#
# The loss says how likely the reference tokens are, but users see texts. So after each epoch, `GenerationScores`
# translates some validation sources, and two Keras callbacks monitor the BLEU score (Papineni et al. 2002):
# `ModelCheckpoint` keeps the best epoch, and `EarlyStopping` stops after three epochs without improvement. The order
# matters: `GenerationScores` comes first.

# %%
model = build_model()
schedule = keras.optimizers.schedules.CosineDecay(rate, EPOCHS * len(batches), alpha=0.02)
model.compile(keras.optimizers.Adam(schedule, clipnorm=1.0), loss, weighted_metrics=[kerasseq.metrics.TokenAccuracy()])
best = folder / "best.keras"
scored = random.Random(SEED).sample(validation, min(NUM_SCORED, len(validation)))  # Files may be sorted by length.
callbacks = [
    kerasseq.callbacks.GenerationScores(preprocessor, scored, metrics=["bleu"]),
    keras.callbacks.ModelCheckpoint(best, monitor="val_bleu", mode="max", save_best_only=True),
    keras.callbacks.EarlyStopping(monitor="val_bleu", mode="max", patience=3),
]
validation_batches = preprocessor.dataset(validation, batch_size=64)
history = model.fit(
    batches, validation_data=validation_batches, epochs=EPOCHS, shuffle=False, verbose=2, callbacks=callbacks
)

# %%
kerasseq.plotting.plot_history(history, title="Training, with BLEU of greedy translations")

# %% [markdown]
# (The loss cannot get close to 0 because of label smoothing, as in tutorial 4: the correct token should get a
# probability of 0.9.) If the validation loss rises while the training loss falls, the model begins to memorize the
# training data (it **overfits**): use more data, more dropout, or fewer epochs. BLEU often keeps rising for a while,
# and BLEU is what you watch.
#
# ## Evaluate once
#
# Use the test set once, when all choices are made. A source with several targets counts once, with all of them as
# references. A score without an interval says little: on 95 % of resampled test sets, the score lies within this one
# (Koehn 2004). A baseline shows what the number is worth. Here it is the unchanged source.

# %%
references = collections.defaultdict(list)
for source, target in test:
    references[source].append(target)
translator = kerasseq.TextGenerator(keras.models.load_model(best), preprocessor, sampler="beam")
for name, scores in translator.evaluate_text(references.items(), ["bleu", "chrf"]).items():
    low, high = scores["intervals"]["score"]
    print(f"{name}: {scores['score']:.1f}, between {low:.1f} and {high:.1f}; {scores['signature']}")
baseline = kerasseq.evaluation.bleu(list(references), list(references.values()))["score"]
print(f"the sources themselves: {baseline:.1f} BLEU")

# %% [markdown]
# (This BLEU differs from `val_bleu`, which comes from greedy search and one reference per source.) Where the model
# looks while it writes:

# %%
shown = sorted(references, key=len)[len(references) // 2 :][:2]
kerasseq.plotting.plot_attention(
    translator.generate(shown, details=True), title="Attention weights, two test sentences"
)

# %% [markdown]
# ## What it gets wrong
#
# A score is a mean. The worst outputs tell you more about what to do next, and often about the data: a wrong reference
# is dirt that no check has found. Look at them on validation data. If you read the test outputs and then change
# something, you have tuned on the test set.

# %%
sources, targets = zip(*scored, strict=True)
outputs = translator.generate(sources)
ranked = [
    (kerasseq.evaluation.chrf([output], [target])["score"], source, target, output)
    for source, target, output in zip(sources, targets, outputs, strict=True)
]
for score, source, target, output in sorted(ranked)[:6]:
    print(f"{score:5.1f}  {source}\n  expected: {target}\n  received: {output}\n")

# %% [markdown]
# ## Serve it
#
# `export` writes version 1 of a SavedModel and checks that its answers match the generator's. Vocabularies and beam
# search are part of the graph, which maps strings to strings. A model server does what the next cell does: it loads the
# folder and calls a signature. The score is the log-probability of the text, divided by its length penalty (tutorial
# 4). (A standalone program must first `import tensorflow_text`. Tutorial 6 starts a server.)

# %%
version = translator.export(folder / "exported")
served = tf.saved_model.load(version)
answers = served.signatures["serving_default"](text=tf.constant(sources[:5]))
for source, text, score in zip(sources, answers["text"].numpy(), answers["score"].numpy(), strict=False):
    print(f"{source} -> {text.decode()}  (score {score:.2f})")

# %% [markdown]
# Also ask what users will ask: nothing, another language, a text that is far too long, and emoji.

# %%
strange = ["", "Good morning!", " ".join(sources[:12]), "☕☕☕", sources[0].upper()]
answers = served.signatures["serving_default"](text=tf.constant(strange))
for source, text in zip(strange, answers["text"].numpy(), strict=True):
    print(f"{source!r}\n-> {text.decode()!r}\n")

# %% [markdown]
# It answers everything, because it never learned to refuse. Upper case is a good example of a gap in the data: there is
# hardly any, so the model knows next to nothing about "HOLA". Either add such texts to the training data, or lowercase
# them before they reach the model.
#
# ## Exercises
#
# 1. How much does a leak inflate the score? Train on the random split, and compare its test score with the honest one.
# 2. Break something on purpose, and see which check finds it: shift all targets by one line; swap the two columns in
#    half of the lines; use `Adam(0.3)`.
# 3. A served model gets new data. Continue from `best.keras` with a tenth of the learning rate on the old and the new
#    pairs, and export again. Which version number do you get?
#
# **Solutions**
#
# 1. Set `train, validation, test = splits["random"]` and `pairs = [*train, *validation, *test]`, and rerun from the
#    vocabulary on. The score is higher, but on a different test set. To isolate the leak, take the honest test set, add
#    its pairs to the training data of a second model, and score both models on it.
# 2. Shifted targets: the model still memorizes 32 pairs. But the validation loss only falls as far as a language
#    model's, `val_bleu` stays near 0, and the attention shows no diagonal. Swapped columns: training notices nothing,
#    because the language of a source tells the direction of translation. Only the printed lines of the file reveal it.
#    `Adam(0.3)`: the loss does not fall, not even on the overfitted batch.
# 3. `model = keras.models.load_model(best)`, `model.compile(keras.optimizers.Adam(rate / 10), loss)`, `fit`, and
#    `TextGenerator(model, preprocessor, "beam").export(folder / "exported")`: version 2. A server that watches the
#    folder loads it by itself. Callers who name the label `stable` get it once you move the label (tutorial 6). The
#    preprocessor must stay the same.
