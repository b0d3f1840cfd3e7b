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
# `I didn't see them.` goes in, `Je ne les ai pas vus.` comes out.
#
# The last tutorial built the model: an encoder, a decoder, and attention between them. This one makes it work on real
# sentences. What decides there is not the network alone. It is how text is cut into tokens, how sentences are put into
# batches, how the output is searched for, and how one reads what went wrong.

# %% tags=["parameters"]
NUM_PAIRS = 45_000  # pairs of sentences to train on
MAX_WORDS = 7  # of an English sentence
VOCABULARY_SIZE = 4_000  # subwords of each language
UNITS = 256
EPOCHS = 6
NUM_SCORED = 500  # sentences of validation, and of test, that are translated and scored
NUM_FORMAL = 4_000  # pairs to fine-tune on
RELEASED = "translation_en_fr"  # the released model that is fine-tuned
SEED = 1

# %%
import collections
import os
import random
import re
import time
import unicodedata

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reports a missing GPU as an error; none is needed here.

import keras
import matplotlib.pyplot as plt
import numpy as np

import kerasseq

keras.utils.set_random_seed(SEED)

# %% [markdown]
# ## The data, looked at first
#
# Volunteers of the Tatoeba project write everyday sentences and translate each other's (CC BY 2.0 FR). `load_anki` has
# 167,130 English-French pairs, and puts an English sentence with all its translations into one split only: no sentence
# of the test was trained on as it stands. (Sentences much like it were: tutorial 9 counts them.) Short sentences are
# enough here, and train in minutes. (French has a space before "?" and "!", and the data have several kinds of it. NFKC
# makes one of them.)


# %%
def short(pairs):
    """The pairs with few English words, with one form of each character."""
    few = [pair for pair in pairs if len(pair[0].split()) <= MAX_WORDS]
    return [tuple(unicodedata.normalize("NFKC", text) for text in pair) for pair in few]


train, validation, test = map(short, kerasseq.datasets.load_anki("fra"))
print(f"{len(train):,} short pairs to train on, {len(validation):,} for validation, {len(test):,} for the test")
all_train, train = train, random.Random(SEED).sample(train, min(NUM_PAIRS, len(train)))
for english, french in train[:6]:
    print(f"{english:<40} {french}")

# %%
figure, axis = plt.subplots(figsize=(6, 2.8), layout="constrained")
for side, name in enumerate(("English", "French")):
    lengths = [len(pair[side].split()) for pair in train]
    axis.hist(lengths, bins=np.arange(0.5, 15), alpha=0.6, label=f"{name}, mean {np.mean(lengths):.1f}")
axis.set(xlabel="words in a sentence", ylabel="sentences", title="How long the sentences are")
axis.legend()
plt.show()


# %% [markdown]
# A sentence has more than one translation. English "you" alone is "tu" to a friend, "vous" to a stranger or to several,
# and an adjective shows whether a man or a woman is meant. So the model cannot know *the* answer, and a score that
# compares with a single one is unfair. We keep all of them for scoring.


# %%
def with_references(pairs, number):
    """Some of the sources, each once and with all its translations: a list of (source, list of targets)."""
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
# Which units should the model read and write? Words are too many: most of them are rare, and the next sentence holds
# one that no training sentence had. Characters are few, but make sequences five times as long. **Subwords** lie
# between: frequent words stay whole, rare ones are cut into pieces, and any text can be written with some thousand of
# them.
#
# SentencePiece learns a **unigram language model** from the texts. It gives each piece $w_k$ a probability, and a text
# the product $\prod_k p(w_k)$; a text is cut in the way with the largest product. It starts with very many pieces and
# throws away, again and again, those that the texts' probability misses least (Kudo 2018). Each language gets a
# vocabulary of its own.

# %%
preprocessor = kerasseq.preprocessing.TextPreprocessor.from_pairs(
    train, vocabulary_size=VOCABULARY_SIZE, max_source_length=64, max_target_length=80
)
for name, tokenizer in zip(("English", "French"), preprocessor.tokenizers, strict=True):
    pieces = tokenizer.id_to_string(range(260, 290)).numpy()  # before them: 4 special tokens, and 256 bytes
    print(f"{name}, {tokenizer.vocabulary_size:,}:", *(piece.decode() for piece in pieces))

# %% [markdown]
# `▁` stands for the space before a word, so pieces can be joined again without guessing. Here is how words are cut. A
# character that is not in the vocabulary is written in the bytes of its UTF-8 form: nothing is ever unknown.


# %%
def pieces_of(texts):
    """The pieces of English texts, a list of lists of str."""
    ids = preprocessor.tokenize(texts, "source")[:, :-1]  # without END
    return [[piece.decode() for piece in row] for row in preprocessor.tokenizers[0].id_to_string(ids).to_list()]


words = ["house", "houses", "unbelievable", "Copenhagen", "bookkeeping", "日"]
for word, pieces in zip(words, pieces_of(words), strict=True):
    print(f"{word:<14}", *pieces)

# %% [markdown]
# ## Buckets
#
# A batch is a rectangle of ids `(batch, length)`; short sentences are filled up with padding, id 0. It counts nowhere,
# but it is computed. So the data set shuffles the pairs, sorts every hundred batches by length, cuts the batches and
# shuffles these: sentences of one batch are about as long as each other. It also rounds lengths up, here to even
# numbers, for few different shapes.


# %%
def padding(batches):
    """The share of ids, of both sides, that is padding."""
    ids = [tensor.numpy() for inputs, labels in batches for tensor in (inputs["encoder_token_ids"], labels)]
    return 1 - sum(np.count_nonzero(rows) for rows in ids) / sum(rows.size for rows in ids)


at_random = preprocessor.dataset(train, batch_size=64)  # The pairs were drawn in a random order.
batches = preprocessor.dataset(train, batch_size=64, shuffle=True, seed=SEED, pad_to_multiple=2)
print(f"padding in batches of random sentences: {padding(at_random):.0%}, in buckets: {padding(batches):.0%}")
tokens = sum(int(np.count_nonzero(labels)) for _, labels in batches)
print(f"{tokens:,} target tokens an epoch, {tokens / len(train):.1f} a sentence")

# %%
figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
for axis, some, title in zip(axes, (at_random, batches), ("random sentences", "a bucket"), strict=True):
    (_, labels) = next(iter(some))  # (batch, target)
    axis.imshow(labels != 0, aspect="auto", cmap="Blues", vmin=0, vmax=1.4, interpolation="nearest")
    axis.set(xlabel="position", ylabel="sentence of the batch", title=f"{title}: white is padding")
    axis.xaxis.get_major_locator().set_params(integer=True)
plt.show()

# %% [markdown]
# ## The model
#
# It is the model of the last tutorial, with Luong's attention (Luong et al. 2015).
#
# | symbol | what it is | shape |
# |---|---|---|
# | $h_j$ | memory: states of a bidirectional GRU at source token $j$ | `(batch, source, 2 * units)` |
# | $s_i$ | the decoder's state at target token $i$ | `(batch, target, units)` |
# | $a_{ij}$ | attention weights, $\mathrm{softmax}_j(h_j W s_i^T)$ | `(batch, target, source)` |
# | $c_i$ | context, $\sum_j a_{ij} h_j$ | `(batch, target, 2 * units)` |
# | $\tilde s_i$ | attentional state, $\tanh([c_i; s_i]\,R + b)$ | `(batch, target, embedding)` |
# | logits | $\tilde s_i$ times the target embeddings | `(batch, target, vocabulary)` |

# %%
kerasseq.plotting.plot_diagram(
    {
        "source": ("English ids\n(batch, source)", 0, 0, "data"),
        "encoder": ("embedding,\nbidirectional GRU", 0, 1),
        "memory": ("memory $h$\n(batch, source, 2 units)", 0, 2.1, "state"),
        "bridge": ("dense: first state\n(batch, units)", 1.35, 1, "state"),
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
    title="Encoder, attention, decoder",
)  # fmt: skip

# %% [markdown]
# Three things help where data is small. *Dropout* hides a share of the units, so that none is relied upon. *Label
# smoothing* asks for 0.9 of the probability for the right token instead of all of it: there are other good
# translations. *Tied embeddings* use one matrix for reading and for writing French tokens.
#
# The loss is no measure of translations. **BLEU** is: it counts which **n-grams** of one to four words of the output
# are in a reference, takes the geometric mean of the four **precisions**, and lowers it by a **brevity penalty** where
# outputs are too short (Papineni et al. 2002). `GenerationScores` translates the validation sentences after each epoch,
# and puts `val_bleu` into the history.

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
    shuffle=False,  # for Keras: the data set shuffles itself
    verbose=2,
    callbacks=[kerasseq.callbacks.GenerationScores(preprocessor, validation_scored, metrics=["bleu"], samples=1)],
)

# %%
kerasseq.plotting.plot_history(history, title="Learning to translate")

# %% [markdown]
# Look at the sample in the log above: after one epoch it is almost right, and soon it is right. In the last epochs the
# validation loss hardly falls, and BLEU goes up and down a little: with 500 sentences, a difference of a point may be
# chance. (The training loss starts above the validation loss because dropout is on in training alone, and because it is
# the mean over an epoch in which the model is still learning.)
#
# ## Beam search, looked into
#
# Greedy search takes the most probable token in each step, and cannot take it back. Beam search keeps the `beam_width`
# best **hypotheses**, outputs as far as they are written, at a time. Wider is slower; is it better?

# %%
translator = kerasseq.TextGenerator(model, preprocessor, sampler=kerasseq.search.BeamSampler(4))
sources, references = zip(*validation_scored, strict=True)
greedy = None
print("width   BLEU   seconds   other than greedy")
for width in (1, 2, 4, 8):
    sampler = kerasseq.search.BeamSampler(width)
    translator.generate(sources[:2], sampler=sampler)  # The first call builds the graph.
    begin = time.perf_counter()
    outputs = translator.generate(sources, sampler=sampler)
    seconds = time.perf_counter() - begin
    greedy = greedy or outputs  # A beam of 1 is greedy.
    changed = np.mean([output != other for output, other in zip(outputs, greedy, strict=True)])
    print(f"{width:>5} {kerasseq.evaluation.bleu(outputs, references)['score']:>6} {seconds:>9.1f} {changed:>19.0%}")

# %% [markdown]
# With 500 sentences no single step is certain, and from four to eight the time doubles. What the beam holds in
# the end are the n-best alternatives. Their scores are log-probabilities, divided by a length penalty that the next
# section explains. A star marks those that some volunteer wrote as well.

# %%
generation = translator.generate(ambiguous, details=True)
print(ambiguous)
for text, score in generation.alternatives:
    print(f"{score:8.2f} {'*' if text in translations else ' '} {text}")

# %% [markdown]
# ### Why there is a length penalty
#
# The log-probability of an output $y$ is a sum, $\log p(y \mid x) = \sum_i \log p(y_i \mid y_{<i}, x)$, and every term
# is below 0: each further token makes it smaller. So the plain sum prefers short outputs, and the wider the beam, the
# more of them it finds. Beam search therefore ranks what has ended by
#
# $$\frac{\log p(y \mid x)}{\mathrm{lp}(y)}, \qquad \mathrm{lp}(y) = \left(\frac{5 + |y|}{6}\right)^\alpha,$$
#
# with $|y|$ tokens and the length penalty $\alpha$ (Wu et al. 2016). With $\alpha = 0$ it is the plain sum, and
# `BeamSampler` takes $\alpha = 1$ unless it is told otherwise.

# %%
by_penalty = {}
print("alpha   BLEU   words to those of the references")
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
# A penalty above 1 is dangerous: for long outputs $\mathrm{lp}$ then grows faster than the sum falls, and what goes on
# and on wins. Choose $\alpha$ on validation, as every setting of the search.
#
# ## Where it looks
#
# Each row is a French piece, each column an English one. French puts most adjectives behind the noun, and "them" before
# the verb: the dark cells leave the diagonal there. Pieces that need nothing new of the source often rest on the full
# stop or on END, as the "s" of "vus" does.

# %% tags=["picture"]
generations = translator.generate(["She has a black dog.", "I didn't see them."], details=True)
kerasseq.plotting.plot_attention(generations, title="Where the decoder looks")

# %% [markdown]
# ## Good ones and bad ones
#
# The test, once. A score without its uncertainty says little: BLEU comes with the interval in which it lies for 95 % of
# resampled tests. To sort single sentences we take chrF, which compares runs of characters (Popović 2015): plain BLEU
# of one sentence is 0 as soon as no four words in a row agree.

# %%
sources, references = zip(*test_scored, strict=True)
outputs = translator.generate(sources)
print(kerasseq.evaluation.bleu(outputs, references, resamples=1_000))
scores = [
    kerasseq.evaluation.chrf([output], [texts])["score"] for output, texts in zip(outputs, references, strict=True)
]
order = np.argsort(scores, kind="stable")


def show(rows):
    """Sources, outputs and first references side by side."""
    print(f"{'English':<42} {'the model':<44} a reference")
    for row in rows:
        print(f"{sources[row]:<42} {outputs[row]:<44} {references[row][0]}")


# %%
good = [row for row in order if scores[row] == 100]
show(sorted(good, key=lambda row: -len(sources[row]))[:8])

# %%
show(order[:12])

# %% [markdown]
# Read the bad ones one by one, and ask of each which kind it is:
#
# - **No mistake at all.** Another translation, which no volunteer wrote. The score is wrong, not the model.
# - **A rare word**, seen once or never, becomes a frequent one of its kind, or an invention of plausible pieces.
# - **An idiom**, translated word by word.
# - **Something left out**, or said twice.
#
# Is it the rare words? Group the sentences by how often their rarest word is in the training data:

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
    xlabel="how often the rarest word is in the data", ylabel="mean chrF", ylim=(0, 100), title="Do rare words hurt?"
)
plt.show()

# %% [markdown]
# Rare words go with bad translations. (The groups may differ in other ways too, as in length: a hint, not a proof.)
# What to do about the bad ones (none of it is tried here; the samplers and their options are those of
# `kerasseq.search`):
#
# | what is seen | what helps |
# |---|---|
# | rare words | more pairs: `NUM_PAIRS`, `MAX_WORDS` |
# | training much better than validation | `dropout=0.3`, `dataset(..., subword_sampling=0.3)` |
# | something left out | `BeamSampler(4, scorers=[Coverage(0.02)])`; a larger length penalty, if it was below 1 |
# | something said twice | `BeamSampler(4, constraints=[NoRepeatNGram(3)])` |
# | all kinds, a little | an ensemble: `kerasseq.models.Ensemble([model, other])` |
# | "tu" where it should be "vous" | say so with data: fine-tune |
#
# ## Fine-tune a released model
#
# The released model has more units, and learned from all pairs, long ones too; its model card says how, and how good it
# is. It mixes "tu" and "vous" as its data does. A hotel wants "vous", always. A model that can translate needs few
# examples and small steps to learn that. `TextGenerator.from_preset` gets a released model by its name, with its
# subwords: from a clone of the project, or else over the network, the first time (27 MB).

# %%
released = kerasseq.TextGenerator.from_preset(RELEASED)

# %% [markdown]
# The domain is made from the data: pairs in which "you" is "vous". As many pairs without "you" go with them, or the
# model would forget what is not shown any more, and see a "vous" everywhere.

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
# The yardsticks are validation sentences with "you", scored against their formal translations alone, and those without
# "you", which should stay as they are.

# %%
asked, answers = zip(*with_references(filter(is_formal, validation), NUM_SCORED), strict=True)
rest = with_references([pair for pair in validation if not YOU.search(pair[0])], NUM_SCORED)


def measure(generator, name):
    """Prints how a generator speaks to "you", and returns its outputs."""
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
# Its steps are a tenth of those of the training: large ones would undo what the model knows. Look at both numbers,
# always: what it was taught, and what it should not have lost. `released.export("exported/formal_en_fr")` makes a
# version of it for a server; *Serve it*, the sixth tutorial, goes on from there.
#
# ## Exercises
#
# 1. A vocabulary of 1,000, and one of 8,000. How many tokens has a sentence, how fast is an epoch, and which `val_bleu`
#    comes out?
# 2. Cut the training texts into other pieces in every epoch (Kudo 2018). Which of the two losses rises, and what does
#    BLEU say?
# 3. Fine-tune on the formal pairs alone. What happens to the sentences without "you"?
#
# **Solutions**
#
# 1. `VOCABULARY_SIZE = 1_000` in the cell of parameters. Small pieces make long sequences, and the decoder has more to
#    put together; large ones are rarer each, so the model sees each of them less often, and the layer of logits costs
#    more.
# 2. `preprocessor.dataset(train, batch_size=64, shuffle=True, seed=SEED, subword_sampling=0.3)`. The training loss
#    rises, because the same sentence never comes twice in the same form. Compare `val_bleu` at the end, not in the
#    first epochs.
# 3. Give `dataset` the list `formal`, after a fresh `TextGenerator.load`. Compare the BLEU of the others, and look for
#    a "vous" that nobody said.
