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
# # 4. Translate English to French
#
# `I didn't see them.` becomes `Je ne les ai pas vus.`
#
# The last tutorial built the model: an encoder, a decoder, and attention between them. This one makes it work on real
# sentences. The network is only one part of that. The others are how text is split into tokens, how sentences are
# batched, how the output is searched, and how you analyse the errors.

# %% tags=["parameters"]
NUM_PAIRS = 45_000  # training pairs
MAX_WORDS = 7  # per English sentence
VOCABULARY_SIZE = 4_000  # subwords per language
UNITS = 256
EPOCHS = 6
NUM_SCORED = 500  # scored sentences, in validation and in test
NUM_FORMAL = 4_000  # formal pairs for fine-tuning, and as many others
RELEASED = "translation_en_fr"  # the released model to fine-tune
SEED = 1

# %%
import collections
import os
import random
import re
import time
import unicodedata

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # Hides the message about a missing GPU. None is needed.

import keras
import matplotlib.pyplot as plt
import numpy as np

import kerasseq

keras.utils.set_random_seed(SEED)

# %% [markdown]
# ## Look at the data first
#
# Volunteers of the Tatoeba project write everyday sentences and translate those of others (CC BY 2.0 FR). `load_anki`
# loads 167,130 English-French pairs. It puts an English sentence and all its translations into the same split, so no
# test sentence occurs in training word for word. (Near-duplicates do: tutorial 9 counts them.) We keep the short
# sentences, which train in minutes. (French puts a space before "?" and "!", and the data contain several kinds of
# space. NFKC normalization maps them to one.)


# %%
def short(pairs):
    """Returns the pairs with short English sentences, NFKC-normalized."""
    few = [pair for pair in pairs if len(pair[0].split()) <= MAX_WORDS]
    return [tuple(unicodedata.normalize("NFKC", text) for text in pair) for pair in few]


train, validation, test = map(short, kerasseq.datasets.load_anki("fra"))
print(f"{len(train):,} short pairs for training, {len(validation):,} for validation, {len(test):,} for the test")
all_train, train = train, random.Random(SEED).sample(train, min(NUM_PAIRS, len(train)))
for english, french in train[:6]:
    print(f"{english:<40} {french}")

# %%
figure, axis = plt.subplots(figsize=(6, 2.8), layout="constrained")
for side, name in enumerate(("English", "French")):
    lengths = [len(pair[side].split()) for pair in train]
    axis.hist(lengths, bins=np.arange(0.5, 15), alpha=0.6, label=f"{name}, mean {np.mean(lengths):.1f}")
axis.set(xlabel="sentence length (words)", ylabel="number of sentences", title="Sentence lengths in the training data")
axis.legend()
plt.show()


# %% [markdown]
# A sentence has more than one translation. English "you" is "tu" to a friend and "vous" to a stranger or to several
# people, and a French adjective shows whether it refers to a man or a woman. So the model cannot know *the* answer, and
# scoring against a single reference is unfair. For scoring we keep all references.


# %%
def with_references(pairs, number):
    """Samples distinct sources with all their translations: a list of (source, list of targets)."""
    targets = collections.defaultdict(list)
    for source, target in pairs:
        targets[source].append(target)
    return random.Random(SEED).sample(list(targets.items()), min(number, len(targets)))


validation_scored, test_scored = with_references(validation, NUM_SCORED), with_references(test, NUM_SCORED)
ambiguous, translations = max(validation_scored, key=lambda pair: len(pair[1]))
print(ambiguous)
for translation in translations:
    print("   ", translation)

# %% [markdown]
# ## Subwords
#
# Which units should the model read and write? There are too many words: most are rare, and new sentences contain words
# that never occurred in training. There are few characters, but they make sequences five times as long. **Subwords**
# lie in between. Frequent words stay whole, rare words are split into pieces, and a few thousand pieces can spell any
# text.
#
# SentencePiece learns a **unigram language model** from the texts (Kudo 2018). It assigns each piece $w_k$ a
# probability and a text the product $\prod_k p(w_k)$, and it splits a text in the way that maximizes this product.
# Training starts from a very large set of pieces and repeatedly drops those whose removal lowers the likelihood of the
# texts least. Each language gets its own vocabulary.

# %%
preprocessor = kerasseq.preprocessing.TextPreprocessor.from_pairs(
    train, vocabulary_size=VOCABULARY_SIZE, max_source_length=64, max_target_length=80
)
for name, tokenizer in zip(("English", "French"), preprocessor.tokenizers, strict=True):
    pieces = tokenizer.id_to_string(range(260, 290)).numpy()  # after 4 special tokens and 256 bytes
    print(f"{name}, {tokenizer.vocabulary_size:,}:", *(piece.decode() for piece in pieces))

# %% [markdown]
# `▁` stands for the space before a word, so joining pieces restores the text exactly. Here is how some words are split.
# Characters that are not in the vocabulary are written as UTF-8 bytes, so nothing is ever unknown.


# %%
def pieces_of(texts):
    """Splits English texts into pieces: a list of lists of str."""
    ids = preprocessor.tokenize(texts, "source")[:, :-1]  # without END
    return [[piece.decode() for piece in row] for row in preprocessor.tokenizers[0].id_to_string(ids).to_list()]


words = ["house", "houses", "unbelievable", "Copenhagen", "bookkeeping", "日"]
for word, pieces in zip(words, pieces_of(words), strict=True):
    print(f"{word:<14}", *pieces)

# %% [markdown]
# ## Buckets
#
# A batch is a rectangle of ids, `(batch, length)`. Short sentences are filled up with padding, id 0, which is masked
# but still computed. To limit it, the data set shuffles the pairs, sorts every hundred batches by length, cuts batches,
# and shuffles the batches. Sentences in a batch then have similar lengths. Lengths are also rounded up, here to even
# numbers, so that there are fewer distinct shapes.


# %%
def padding(batches):
    """Returns the share of padding among the ids of both sides."""
    ids = [tensor.numpy() for inputs, labels in batches for tensor in (inputs["encoder_token_ids"], labels)]
    return 1 - sum(np.count_nonzero(rows) for rows in ids) / sum(rows.size for rows in ids)


at_random = preprocessor.dataset(train, batch_size=64)  # The pairs are already in random order.
batches = preprocessor.dataset(train, batch_size=64, shuffle=True, seed=SEED, pad_to_multiple=2)
print(f"padding in random batches: {padding(at_random):.0%}, in buckets: {padding(batches):.0%}")
tokens = sum(int(np.count_nonzero(labels)) for _, labels in batches)
print(f"{tokens:,} target tokens per epoch, {tokens / len(train):.1f} per sentence")

# %%
figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
for axis, some, title in zip(axes, (at_random, batches), ("Random batch", "Batch from a bucket"), strict=True):
    (_, labels) = next(iter(some))  # (batch, target)
    axis.imshow(labels != 0, aspect="auto", cmap="Blues", vmin=0, vmax=1.4, interpolation="nearest")
    axis.set(xlabel="position (tokens)", ylabel="sentence in the batch", title=f"{title} (white: padding)")
    axis.xaxis.get_major_locator().set_params(integer=True)
plt.show()

# %% [markdown]
# ## The model
#
# This is the model of the last tutorial, with `"luong"` attention (Luong et al. 2015).
#
# | symbol | what it is | shape |
# |---|---|---|
# | $h_j$ | memory: hidden states of a bidirectional GRU at source token $j$ | `(batch, source, 2 * units)` |
# | $s_i$ | hidden state of the decoder at target token $i$ | `(batch, target, units)` |
# | $a_{ij}$ | attention weights, $\mathrm{softmax}_j(h_j W s_i^T)$ | `(batch, target, source)` |
# | $c_i$ | context vector, $\sum_j a_{ij} h_j$ | `(batch, target, 2 * units)` |
# | $\tilde s_i$ | attentional state, $\tanh([c_i; s_i]\,R + b)$ | `(batch, target, embedding)` |
# | logits | $\tilde s_i$ times the target embeddings | `(batch, target, vocabulary)` |

# %%
kerasseq.plotting.plot_diagram(
    {
        "source": ("English ids\n(batch, source)", 0, 0, "data"),
        "encoder": ("embedding,\nbidirectional GRU", 0, 1),
        "memory": ("memory $h$\n(batch, source, 2 units)", 0, 2.1, "state"),
        "bridge": ("dense: initial state\n(batch, units)", 1.35, 1, "state"),
        "target": ("French ids, shifted\n(batch, target)", 2.7, 0, "data"),
        "decoder": ("embedding, GRU\n$s$ (batch, target, units)", 2.7, 1),
        "attention": ("attention: context $c$\n(batch, target, 2 units)", 1.35, 2.1),
        "readout": ("attentional state\n(batch, target, embedding)", 2.7, 2.1),
        "logits": ("logits of the next token\n(batch, target, vocabulary)", 2.7, 3.1, "data"),
    },
    [
        ("source", "encoder"), ("encoder", "memory"), ("encoder", "bridge"), ("bridge", "decoder"),
        ("target", "decoder"), ("decoder", "attention"), ("memory", "attention"), ("attention", "readout"),
        ("decoder", "readout"), ("readout", "logits"),
    ],
    title="The translation model: encoder, attention, decoder",
)  # fmt: skip

# %% [markdown]
# Three techniques help when data are scarce. *Dropout* zeroes a random share of the units, so that the model does not
# rely on any single one. *Label smoothing* asks for a probability of 0.9 for the reference token instead of 1, because
# other translations are good too. *Tied embeddings* use one matrix to read and to write French tokens.
#
# The loss does not measure translation quality. **BLEU** does (Papineni et al. 2002): it counts which **n-grams** of
# one to four words in the output occur in a reference, takes the geometric mean of the four **precisions**, and applies
# a **brevity penalty** when outputs are too short. `GenerationScores` translates the validation sentences after each
# epoch and adds `val_bleu` to the history.

# %%
model = kerasseq.models.AttentionSeq2Seq(
    preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size, cell="gru", units=UNITS,
    embedding_dim=UNITS, attention="luong", dropout=0.2, tie_embeddings=True,
)  # fmt: skip
schedule = keras.optimizers.schedules.CosineDecay(2e-3, EPOCHS * len(batches), alpha=0.02)
model.compile(
    keras.optimizers.Adam(schedule, clipnorm=1.0),
    kerasseq.losses.MaskedCrossentropy(label_smoothing=0.1),
    weighted_metrics=[kerasseq.metrics.TokenAccuracy()],
)
pairs = [(source, target) for source, targets in validation_scored for target in targets]
history = model.fit(
    batches,
    validation_data=preprocessor.dataset(pairs, batch_size=64),
    epochs=EPOCHS,
    shuffle=False,  # The data set shuffles itself.
    verbose=2,
    callbacks=[kerasseq.callbacks.GenerationScores(preprocessor, validation_scored, metrics=["bleu"], samples=1)],
)

# %%
kerasseq.plotting.plot_history(history, title="Training the translation model")

# %% [markdown]
# Look at the sample in the log above: after one epoch its translation begins right, and soon it is right. In the last
# epochs the validation loss hardly falls, and BLEU hardly rises. With 500 sentences, a difference of one point may be
# chance. (The training loss starts above the validation loss for two reasons: dropout is active only in
# training, and the training loss is a mean over an epoch in which the model is still learning.)
#
# ## Inside beam search
#
# Greedy search takes the most probable token at each step and can never revise it. Beam search keeps the `beam_width`
# best **hypotheses** (partial outputs) at a time. A wider beam is slower. Is it better?

# %%
translator = kerasseq.TextGenerator(model, preprocessor, sampler=kerasseq.search.BeamSampler(4))
sources, references = zip(*validation_scored, strict=True)
greedy = None
print("width   BLEU   seconds differs from greedy")
for width in (1, 2, 4, 8):
    sampler = kerasseq.search.BeamSampler(width)
    translator.generate(sources[:2], sampler=sampler)  # The first call builds the graph.
    begin = time.perf_counter()
    outputs = translator.generate(sources, sampler=sampler)
    seconds = time.perf_counter() - begin
    greedy = greedy or outputs  # Beam width 1 is greedy search.
    changed = np.mean([output != other for output, other in zip(outputs, greedy, strict=True)])
    print(f"{width:>5} {kerasseq.evaluation.bleu(outputs, references)['score']:>6} {seconds:>9.1f} {changed:>19.0%}")

# %% [markdown]
# With 500 sentences, no single difference here is certain. From beam width 4 to 8, the time doubles. The final beam
# holds the n-best alternatives. Their scores are log-probabilities divided by a length penalty, which the next section
# explains. A star marks alternatives that a volunteer also wrote.

# %%
generation = translator.generate(ambiguous, details=True)
print(ambiguous)
for text, score in generation.alternatives:
    print(f"{score:8.2f} {'*' if text in translations else ' '} {text}")

# %% [markdown]
# ### Why there is a length penalty
#
# The log-probability of an output $y$ is a sum, $\log p(y \mid x) = \sum_i \log p(y_i \mid y_{<i}, x)$, of negative
# terms, so every additional token lowers it. The plain sum therefore favours short outputs, and the wider the beam, the
# more of them it finds. To compensate, beam search ranks finished hypotheses by
#
# $$\frac{\log p(y \mid x)}{\mathrm{lp}(y)}, \qquad \mathrm{lp}(y) = \left(\frac{5 + |y|}{6}\right)^\alpha,$$
#
# with $|y|$ tokens and the length penalty $\alpha$ (Wu et al. 2016). $\alpha = 0$ gives the plain sum. The default of
# `BeamSampler` is $\alpha = 1$.

# %%
by_penalty = {}
print("alpha   BLEU   length ratio (words, output / reference)")
for alpha in (0.0, 1.0, 2.0):
    outputs = translator.generate(sources, sampler=kerasseq.search.BeamSampler(4, length_penalty=alpha))
    by_penalty[alpha] = outputs
    ratio = sum(len(text.split()) for text in outputs)
    ratio /= sum(np.mean([len(text.split()) for text in texts]) for texts in references)
    print(f"{alpha:>5} {kerasseq.evaluation.bleu(outputs, references)['score']:>6} {ratio:>14.3f}")
longer = [
    (source, brief, full)
    for source, brief, full in zip(sources, by_penalty[0.0], by_penalty[1.0], strict=True)
    if len(brief.split()) < len(full.split())
]
for source, brief, full in longer[:4]:
    print(f"\n{source}\n  alpha 0: {brief}\n  alpha 1: {full}")

# %% [markdown]
# A penalty above 1 is dangerous. For long outputs, $\mathrm{lp}$ then grows faster than the sum falls, and outputs that
# never stop win. Like every search setting, choose $\alpha$ on validation data.
#
# ## Where the decoder looks
#
# Each row is a French piece, each column an English one. French puts most adjectives after the noun, and "them" before
# the verb: there the dark cells leave the diagonal. Pieces that need nothing new from the source often attend to the
# full stop or to END, as the "s" of "vus" does.

# %% tags=["picture"]
generations = translator.generate(["She has a black dog.", "I didn't see them."], details=True)
kerasseq.plotting.plot_attention(generations, title="Attention weights of two translations")

# %% [markdown]
# ## Good and bad translations
#
# Use the test set once. A score without its uncertainty says little, so BLEU comes with the interval that contains 95 %
# of its values on resampled test sets. To rank single sentences we use chrF, which compares character n-grams (Popović
# 2015): plain sentence-level BLEU is 0 as soon as no four consecutive words match.

# %%
sources, references = zip(*test_scored, strict=True)
outputs = translator.generate(sources)
print(kerasseq.evaluation.bleu(outputs, references, resamples=1_000))
scores = [
    kerasseq.evaluation.chrf([output], [texts])["score"] for output, texts in zip(outputs, references, strict=True)
]
order = np.argsort(scores, kind="stable")


def show(rows):
    """Prints sources, outputs and first references side by side."""
    print(f"{'English':<42} {'model':<44} reference")
    for row in rows:
        print(f"{sources[row]:<42} {outputs[row]:<44} {references[row][0]}")


# %%
good = [row for row in order if scores[row] == 100]
show(sorted(good, key=lambda row: -len(sources[row]))[:8])

# %%
show(order[:12])

# %% [markdown]
# Read the bad ones one by one, and ask which kind of error each is:
#
# - **No error at all.** The output is another correct translation, which no volunteer wrote. The score is wrong, not
#   the model.
# - **A rare word**, seen once or never, becomes a frequent word of the same kind or an invention of plausible pieces.
# - **An idiom** is translated word by word.
# - **An omission or a repetition**: something is left out or said twice.
#
# Are rare words to blame? Group the sentences by how often their rarest word occurs in the training data:

# %%
counts = collections.Counter(word for source, _ in train for word in re.findall(r"[\w'-]+", source.lower()))
rarest = np.array([min([counts[word] for word in re.findall(r"[\w'-]+", source.lower())] or [0]) for source in sources])
groups = {"never": (0, 0), "1 to 9": (1, 9), "10 to 49": (10, 49), "50 and more": (50, np.inf)}
members = [np.flatnonzero((low <= rarest) & (rarest <= high)) for low, high in groups.values()]
labels = [f"{name}\n({len(rows)} sentences)" for name, rows in zip(groups, members, strict=True)]
means = [np.mean(np.array(scores)[rows]) if len(rows) else 0 for rows in members]
figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
axis.bar_label(axis.bar(labels, means), fmt="%.0f")
axis.set(
    xlabel="occurrences of the rarest source word in the training data",
    ylabel="mean chrF",
    ylim=(0, 100),
    title="Test sentences: quality against word frequency",
)
plt.show()

# %% [markdown]
# Sentences with rare words are translated worse. (The groups may differ in other ways too, such as length: this is a
# hint, not a proof.) The table lists remedies for bad translations. None of them is tried here. The samplers and their
# options are in `kerasseq.search`.
#
# | symptom | remedy |
# |---|---|
# | rare words | more pairs: `NUM_PAIRS`, `MAX_WORDS` |
# | training much better than validation | `dropout=0.3`, `dataset(..., subword_sampling=0.3)` |
# | omissions | `BeamSampler(4, scorers=[Coverage(0.02)])`; a larger length penalty, if it was below 1 |
# | repetitions | `BeamSampler(4, constraints=[NoRepeatNGram(3)])` |
# | a bit of everything | an ensemble: `kerasseq.models.Ensemble([model, other])` |
# | "tu" where it should be "vous" | show it with data: fine-tune |
#
# ## Fine-tune a released model
#
# The released model has more units and was trained on all pairs, long ones included. Its model card documents the
# training and the scores. Like its training data, it mixes "tu" and "vous". Suppose a hotel always wants "vous". A
# model that already translates can learn this from few examples with small steps. `TextGenerator.from_preset` loads a
# released model by name, with its subwords, from a clone of the project. Without a clone, it downloads the model on
# first use (27 MB).

# %%
released = kerasseq.TextGenerator.from_preset(RELEASED)

# %% [markdown]
# We select the domain data from the corpus: pairs in which "you" is "vous". We add the same number of pairs without
# "you". Otherwise the model would forget what it no longer sees, and put "vous" everywhere.

# %%
YOU = re.compile(r"\b(you|your|yours|yourself)\b", re.IGNORECASE)
FORMAL = re.compile(r"\b(vous|votre|vos|vôtre)\b", re.IGNORECASE)
FAMILIAR = re.compile(r"\b(tu|te|toi|ton|ta|tes|tien)\b|\bt['’]", re.IGNORECASE)


def is_formal(pair):
    return YOU.search(pair[0]) and FORMAL.search(pair[1]) and not FAMILIAR.search(pair[1])


def some_of(pairs):
    return random.Random(SEED).sample(pairs, min(NUM_FORMAL, len(pairs)))


formal = some_of([pair for pair in all_train if is_formal(pair)])
other = some_of([pair for pair in all_train if not YOU.search(pair[0])])
for english, french in formal[:4]:
    print(f"{english:<40} {french}")

# %% [markdown]
# We score two sets of validation sentences: those with "you", against their formal translations only, and those without
# "you", whose quality should not change.

# %%
asked, answers = zip(*with_references(filter(is_formal, validation), NUM_SCORED), strict=True)
rest = with_references([pair for pair in validation if not YOU.search(pair[0])], NUM_SCORED)


def measure(generator, name):
    """Prints how a generator translates "you" and its BLEU scores, and returns its outputs."""
    outputs = generator.generate(asked)
    vous, tu = (sum(bool(kind.search(text)) for text in outputs) for kind in (FORMAL, FAMILIAR))
    print(f"{name:<6} of {len(asked)} sentences with you, {vous} have vous and {tu} tu;", end=" ")
    print("BLEU", kerasseq.evaluation.bleu(outputs, answers)["score"], end=", ")
    print("without you", generator.evaluate_text(rest, ["bleu"], resamples=0)["bleu"]["score"])
    return outputs


before = measure(released, "before")

# %%
released.model.compile(
    keras.optimizers.Adam(2e-4, clipnorm=1.0), kerasseq.losses.MaskedCrossentropy(label_smoothing=0.1)
)
domain = released.preprocessor.dataset(formal + other, batch_size=64, shuffle=True, seed=SEED)
released.model.fit(domain, epochs=2, shuffle=False, verbose=2)
after = measure(released, "after")
print(f"\n{'English':<42} {'before':<44} after")
changed = [row for row, (text, other) in enumerate(zip(before, after, strict=True)) if text != other]
for row in changed[:12]:
    print(f"{asked[row]:<42} {before[row]:<44} {after[row]}")

# %% [markdown]
# The learning rate is a tenth of the one in training, because large steps would undo what the model knows. Always look
# at both numbers: what the model was taught, and what it should not have lost.
# `released.export("exported/formal_en_fr")` exports a version for a server. Tutorial 6, *Serve it*, continues from
# there.
#
# ## Exercises
#
# 1. Try vocabularies of 1,000 and of 8,000. How many tokens does a sentence have, how long does an epoch take, and what
#    is `val_bleu`?
# 2. Split the training texts differently in every epoch (Kudo 2018). Which of the two losses rises, and what happens to
#    BLEU?
# 3. Fine-tune on the formal pairs only. What happens to the sentences without "you"?
#
# **Solutions**
#
# 1. Set `VOCABULARY_SIZE = 1_000` in the parameters cell. Small pieces make long sequences, and the decoder has more
#    pieces to put together. Large pieces are rarer, so the model sees each of them less often, and the logits layer
#    costs more.
# 2. `preprocessor.dataset(train, batch_size=64, shuffle=True, seed=SEED, subword_sampling=0.3)`. The training loss
#    rises, because the same sentence never comes back in the same form. Compare `val_bleu` at the end of training, not
#    in the first epochs.
# 3. Reload the released model with `TextGenerator.from_preset`, and pass only `formal` to `dataset`. Compare the BLEU
#    of the sentences without "you", and look for a "vous" that nobody asked for.
