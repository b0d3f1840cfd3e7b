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
# # 5. Summarize
#
# A sentence of news goes in, a shorter one comes out, and every name and number has to arrive unharmed.
#
# The translator of the last tutorial writes every token out of its vocabulary. News is full of words that no vocabulary
# knows: people, villages, scores of matches. They stand in the source; one only has to copy them. A *pointer-generator*
# (See et al. 2017) decides in every step whether to write a token itself or to copy one from where it looks. We train
# it beside the same model without copying, and count what copying buys.

# %% tags=["parameters"]
NUM_TRAIN = 8_000  # pairs, before the long ones are left out
NUM_TEST = 1_000  # pairs for validation, and as many for the test
MAX_WORDS = 30  # of a sentence
VOCABULARY_SIZE = 4_000
UNITS = 128
EPOCHS = 8
COVERAGE_EPOCHS = 1
RELEASED = "summarization_en"  # the released model to compare with
SEED = 1

# %%
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reports a missing GPU as an error; none is needed here.

import re
from collections import Counter

import keras
import matplotlib.pyplot as plt
import numpy as np

import kerasseq

keras.utils.set_random_seed(SEED)

# %% [markdown]
# ## The data, looked at first
#
# Google's sentence compression set has sentences of news, each with a shorter one that was made by leaving words out
# (Filippova and Altun 2013). Long sources take long to train on, so sentences of more than `MAX_WORDS` words are left
# out, in the test as well. How many words of the test's references are in no training pair, on neither side?


# %%
def words(text):
    return re.findall(r"\w+", text.lower())


train, validation, test = kerasseq.datasets.load_sentence_compression()
train, validation, test = (
    [pair for pair in pairs if len(pair[0].split()) <= MAX_WORDS]
    for pairs in (train[:NUM_TRAIN], validation[:NUM_TEST], test[:NUM_TEST])
)
sources, references = zip(*test, strict=True)
print(f"{len(train)} pairs for training, {len(validation)} for validation, {len(test)} for the test")
for source, target in train[:3]:
    print(f"{source}\n    -> {target}")

known = {word for pair in train for text in pair for word in words(text)}
unknown = [(word, source) for source, target in test for word in words(target) if word not in known]
print(f"{len(unknown)} of {sum(len(words(target)) for target in references)} words were never seen,")
print(f"{sum(word in words(source) for word, source in unknown)} of these stand in the source:")
print(", ".join(word for word, _ in unknown[:12]))

# %% [markdown]
# In a vocabulary of words, each of them would be `[UNK]`. With subwords none is unknown: a rare name is spelled, in
# pieces of a few letters. But a decoder that spells has to hit every piece, among thousands, in an order that it has
# never practised. One wrong piece makes another name.
#
# Source and target share one vocabulary here (`joint=True`): a token that is copied has the same id on both sides.

# %%
preprocessor = kerasseq.preprocessing.TextPreprocessor.from_pairs(
    train, VOCABULARY_SIZE, joint=True, max_source_length=256, max_target_length=256
)
vocabulary_size = preprocessor.source_vocabulary_size
rare = [row for row, target in enumerate(references) if set(words(target)) - known] or list(range(len(test)))
rare = sorted(rare, key=lambda row: len(sources[row]))  # Sentences with such a word, the shortest first.
pieces = preprocessor.source_tokens(preprocessor.encode_source([sources[rare[0]]]))
print(" ".join(piece.decode() for piece in pieces[0].numpy()))

# %% [markdown]
# ## Two ways to a token
#
# In step $i$ the decoder has its state $s_i$, the embedding $y_{i-1}$ of the previous token, the attention weights
# $a_{ij}$ over the source tokens $w_1, w_2, \dots$, and the context $c_i = \sum_j a_{ij} h_j$ of the memory $h_j$, as
# in tutorial 3. Two equations are new:
#
# $$p_\mathrm{gen} = \sigma(c_i\,u_c + s_i\,u_s + y_{i-1}\,u_y + b)$$
#
# $$P(w) = p_\mathrm{gen} \, P_\mathrm{vocab}(w) + (1 - p_\mathrm{gen}) \sum_{j:\, w_j = w} a_{ij}$$
#
# The **generation probability** $p_\mathrm{gen}$ is one number between 0 and 1; $u_c$, $u_s$, $u_y$ and $b$ are
# learned, $\sigma$ is the logistic function. $P_\mathrm{vocab}$ is the softmax over the vocabulary that every decoder
# has. The sum gives a token $w$ the attention of all positions that hold it. The weights that say where to look are,
# read another way, a distribution over the tokens of the source. $P$ mixes the two, and adds up to 1 as both do.
#
# No label says which tokens are copies. The loss is $-\log P(w)$ of the right token, and to look at the right place is
# the cheapest way to make it small.

# %% [markdown]
# ### One step by hand
#
# Six tokens, a source of four of them; context, state and embedding have two numbers each. The softmax has hardly heard
# of "kubel", but the attention looks at it. The layer that ends kerasseq's model says the same with the same weights.

# %%
vocabulary = ["the", "kubel", "was", "traded", "arrested", "."]
source_ids = np.array([1, 2, 3, 5])  # kubel was traded .
attention = np.array([0.7, 0.1, 0.15, 0.05])  # (source,)
logits = np.array([2.0, -3.0, 1.0, 0.5, 1.5, 0.0])  # (vocabulary,)
features = np.array([0.3, -0.2, 0.8, 0.1, -0.5, 0.4])  # c, s and y side by side
kernel, bias = np.array([-0.4, 0.9, -1.1, 0.2, 0.7, -0.3]), -0.2

p_gen = 1 / (1 + np.exp(-(features @ kernel + bias)))
p_vocab = np.exp(logits) / np.exp(logits).sum()
copied = np.zeros(len(vocabulary))
np.add.at(copied, source_ids, attention)  # A token that stands there twice gets both weights.
mixture = p_gen * p_vocab + (1 - p_gen) * copied

layer = kerasseq.layers.PointerGenerator()
step = [array[None, None] for array in (logits, attention, features)] + [source_ids[None]]  # (batch, target, ...)
layer(*step)  # The first call makes the weights.
layer.set_weights([kernel[:, None], np.array([bias])])
log_probabilities, probability = layer(*step)
np.testing.assert_allclose(np.exp(log_probabilities[0, 0]), mixture, atol=1e-6)
np.testing.assert_allclose(probability[0, 0], p_gen, atol=1e-6)

figure, axis = plt.subplots(figsize=(7.5, 2.8), layout="constrained")
for shift, (name, values) in enumerate({"generated": p_vocab, "copied": copied, "mixture": mixture}.items()):
    axis.bar(np.arange(len(vocabulary)) + 0.27 * (shift - 1), values, 0.25, label=name)
axis.set_xticks(range(len(vocabulary)), vocabulary)
axis.set(xlabel="token", ylabel="probability", title=f"One step with a generation probability of {p_gen:.2f}")
axis.legend()
plt.show()

# %% [markdown]
# ### Coverage
#
# A decoder that looks at a place twice writes its words twice. **Coverage** is what it has looked at so far,
# $\kappa_{ij} = \sum_{k < i} a_{kj}$, a number for each source position. The attention reads it: its score is the
# additive one of tutorial 3, asked by the state after the step, with one term more,
# $e_{ij} = \tanh(h_j W_h + s_i W_s + \kappa_{ij} w_\kappa + b)\,v$. And a loss punishes what a step looks at again,
# $\sum_j \min(a_{ij}, \kappa_{ij})$, the mean over all steps:

# %%
weights = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.7, 0.2, 0.1]])  # (target, source): the last step goes back.
losses = np.minimum(weights, np.cumsum(weights, axis=0) - weights).sum(axis=1)
print("loss of each step:", losses.round(2))
tensors = {"attention": weights[None], "decoder_token_ids": np.ones((1, 3), int)}  # (batch, target, source), no padding
np.testing.assert_allclose(kerasseq.layers.CoverageLoss().loss(tensors), losses.mean(), atol=1e-6)

# %% [markdown]
# The paper trains without coverage first, and adds both, the term and the loss, for a short while in the end. Our
# attention reads the coverage from the start; only the loss comes later. All parts together:

# %%
boxes = {
    "source": ("source tokens $w$\n(batch, source)", -1.05, 0, "data"),
    "encoder": ("bidirectional GRU\n(batch, source, 2 · units)", 0, 1.1),
    "previous": ("previous token, $y_{i-1}$\n(batch, target)", 3.5, 0, "data"),
    "decoder": ("GRU, state $s_i$\n(batch, target, units)", 2.45, 1.1),
    "coverage": ("coverage $\\kappa_i$: sum\nof earlier weights\n(batch, source)", -0.2, 2.2, "state"),
    "attention": ("weights $a_i$ (batch, target, source)\ncontext $c_i$ (batch, target, 2 · units)", 1.15, 2.2),
    "copy": ("copy distribution\n(batch, target,\nvocabulary)", -1.05, 3.3),
    "generate": ("$P_{vocab}$\n(batch, target, vocabulary)", 1.9, 3.3),
    "gate": ("$p_{gen}$\n(batch, target)", 3.5, 3.3),
    "mixture": ("$P(w)$\n(batch, target, vocabulary)", 1.3, 4.4, "data"),
}
arrows = [
    ("source", "encoder"), ("encoder", "decoder", "start state"), ("encoder", "attention", "memory"),
    ("previous", "decoder"), ("decoder", "attention"), ("coverage", "attention"), ("attention", "copy"),
    ("source", "copy"), ("attention", "gate"), ("decoder", "gate"), ("previous", "gate"), ("attention", "generate"),
    ("decoder", "generate"), ("copy", "mixture"), ("gate", "mixture"), ("generate", "mixture"),
]  # fmt: skip
kerasseq.plotting.plot_diagram(boxes, arrows, title="A pointer-generator")

# %% [markdown]
# ## With and without copying
#
# Data, batches, sizes, attention and epochs are the same. One model copies; its readout has no tanh, as in the paper,
# and its $p_\mathrm{gen}$ begins with a bias of -2, a probability of about 0.12 to generate: a model that copies from
# the first step on has a reason to learn where to look. The learning rate rises for a tenth of the steps and then
# falls.


# %%
def fit(model, epochs, learning_rate):
    batches = preprocessor.dataset(train, batch_size=32, shuffle=True, seed=SEED)
    warmup = 1 + epochs * len(batches) // 10
    decay = max(1, epochs * len(batches) - warmup)
    schedule = keras.optimizers.schedules.CosineDecay(
        learning_rate / 10, decay, 0.02, warmup_target=learning_rate, warmup_steps=warmup
    )
    loss, perplexity = kerasseq.losses.MaskedCrossentropy(), kerasseq.metrics.Perplexity()
    model.compile(keras.optimizers.Adam(schedule, clipnorm=1.0), loss, weighted_metrics=[perplexity])
    validation_batches = preprocessor.dataset(validation, batch_size=64)
    return model.fit(batches, validation_data=validation_batches, epochs=epochs, shuffle=False, verbose=2)


sizes = {"cell": "gru", "units": UNITS, "embedding_dim": 96, "attention": "coverage", "tie_embeddings": True}
plain = kerasseq.models.AttentionSeq2Seq(vocabulary_size, vocabulary_size, dropout=0.2, **sizes)
copying = kerasseq.models.PointerGeneratorSeq2Seq(vocabulary_size, dropout=0.2, **sizes)
copying.decoder.pointer_generator.bias.assign([-2.0])
print(f"{plain.count_params():,} parameters, with copying {copying.count_params():,}")

# %%
histories = {"attention": fit(plain, EPOCHS, 2e-3), "pointer-generator": fit(copying, EPOCHS, 2e-3)}

# %% [markdown]
# The perplexity is the exponential of the mean loss: among how many equally likely tokens the model hesitates. Without
# copying, the steep fall comes late: first the attention has to find out where to look, and then the softmax what to
# make of it. With copying it comes at once. In the last epochs the perplexity of that model falls in training alone: it
# begins to learn by heart (it **overfits**).

# %%
figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
for name, history in histories.items():
    axis.plot(range(1, EPOCHS + 1), history.history["val_perplexity"], "o-", label=name)
axis.set(yscale="log", xlabel="epoch", ylabel="validation perplexity", title="With and without copying")
axis.set_xticks(range(1, EPOCHS + 1))
axis.legend()
plt.show()

# %% [markdown]
# ## What copying buys
#
# ROUGE-1 and ROUGE-2 count the words, and the pairs of words, that output and reference share, ROUGE-L their longest
# common subsequence, each as the harmonic mean of precision and recall, from 0 to 100. The bar to beat is the **lead**:
# the first words of the sentence, as many as score best on validation. News says the main thing first, so it is high.
# "New" is the share of output words that are not in the source. The references only leave words out, so all of them are
# suspicious here.


# %%
def lead(pairs, number):
    return [" ".join(source.split()[:number]) for source, _ in pairs]


def report(outputs):
    print(f"{'':36}{'ROUGE-1':>9}{'ROUGE-2':>9}{'ROUGE-L':>9}{'new':>9}{'words':>8}")
    for name, texts in outputs.items():
        rouge = kerasseq.evaluation.rouge(texts, references)
        new = sum(len(found) for _, found in kerasseq.evaluation.new_words(texts, sources)["examples"])
        share = new / max(1, sum(len(set(words(text))) for text in texts))  # A word counts once an output.
        scores = "".join(f"{rouge[key]:9.1f}" for key in ("rouge1", "rouge2", "rougeL"))
        print(f"{name:36}{scores}{share:9.1%}{np.mean([len(words(text)) for text in texts]):8.1f}")


targets = [target for _, target in validation]
best = max(range(6, 19, 2), key=lambda number: kerasseq.evaluation.rouge(lead(validation, number), targets)["rougeL"])
generator = kerasseq.TextGenerator(copying, preprocessor, sampler="greedy", max_length=48)
generations = generator.generate(sources, details=True)
outputs = {
    "references": references,
    f"lead, {best} words": lead(test, best),
    "attention": kerasseq.TextGenerator(plain, preprocessor, sampler="greedy", max_length=48).generate(sources),
    "pointer-generator": [generation.text for generation in generations],
}
report(outputs)
for row in rare[:3]:
    print("\nsource:", sources[row])
    for name in ("references", "attention", "pointer-generator"):
        print(f"{name}: {outputs[name][row]}")

# %% [markdown]
# Attention alone stays far below the lead, and a quarter of its words are not in the source: it has to spell what it
# sees there, and "Edwardsville" becomes "Japansville". With copying the model passes the lead. (Larger and trained for
# longer, the model without copying passes the lead too, and stays behind the other: see the model card of the released
# summarizer.) Where the pointer-generator has new words, look for a jump: the first pieces of one word, the last pieces
# of another.
#
# ## Where it copies
#
# Each row is a token of the output, each column one of the source: how probable it was, before the token was chosen,
# that this step copies from there, $(1 - p_\mathrm{gen}) \, a_{ij}$. So a row may have some weight on other tokens than
# the one that it wrote. The last column, "vocabulary", is $p_\mathrm{gen}$. Where the diagonal jumps, words are left
# out.

# %% tags=["picture"]
kerasseq.plotting.plot_attention(generations[rare[0]], copies=True)

# %% [markdown]
# When does it generate? The means of $p_\mathrm{gen}$ over all outputs:

# %%
kinds = {"first tokens": [], "full stops": [], "all others": []}
for generation in generations:
    for place, token in enumerate(generation.target_tokens):
        kind = "first tokens" if place == 0 else "full stops" if token == "." else "all others"
        kinds[kind].append(generation.generation_probability[place])
print(*(f"{kind}: {np.mean(values or [0]):.3f}" for kind, values in kinds.items()), sep="\n")

# %% [markdown]
# It writes full stops mostly itself, first tokens sometimes, and copies nearly all else.
#
# ## Say nothing twice
#
# How often does a sequence of three tokens return in an output? There are two cures. One is learned: train on for
# `COVERAGE_EPOCHS` with the coverage loss; to be fair, a copy of the model trains on without it. The other is a
# constraint of the search, which forbids the token that would complete a trigram for the second time.


# %%
def repeated(tokens):
    return sum(count - 1 for count in Counter(zip(tokens, tokens[1:], tokens[2:], strict=False)).values())


constrained = kerasseq.search.GreedySampler(constraints=[kerasseq.search.NoRepeatNGram(3)])
counts, trained = {}, copying.get_weights()
for weight in (0.0, 1.0):
    copying.set_weights(trained)
    copying.get_layer("coverage_loss").weight = weight
    fit(copying, COVERAGE_EPOCHS, 3e-4)
    for name, sampler in (("", None), (", no trigram twice", constrained)):
        name = ("coverage loss" if weight else "no coverage loss") + name
        generations = generator.generate(sources, sampler, details=True)
        outputs[name] = [generation.text for generation in generations]
        counts[name] = sum(repeated(generation.target_tokens) for generation in generations)

# %%
for name, count in counts.items():
    print(f"{name:36}{count:4} repeated trigrams in {len(test)} outputs")
report({name: outputs[name] for name in counts})

# %% [markdown]
# The constraint cures the symptom, always, and would spoil what rightly comes twice. The loss is meant to change where
# the model looks. Here it changes too little to tell from chance, for in one sentence there is little to repeat; the
# paper summarizes articles in several sentences, where repetition is the first thing one sees. (The validation loss of
# the second run contains the coverage loss. Compare the perplexities.)
#
# ## What ROUGE misses
#
# A reference of the test, and two outputs made by hand:

# %%
reference = "Sony has no firm plans at this stage to bundle PlayStation 4 and PlayStation Vita together."
for text in (
    "Sony has no firm plans at this stage to bundle PlayStation 4 and Vita together.",
    "Sony has firm plans at this stage to bundle PlayStation 4 and PlayStation Vita together.",
):
    rouge = kerasseq.evaluation.rouge([text], [reference])
    print(*(f"{rouge[key]:.1f}" for key in ("rouge1", "rouge2", "rougeL")), text, sep="  ")

# %% [markdown]
# Each lacks one word of the reference. For ROUGE one word is like another, so the scores are the same; but the second
# output says the opposite.
#
# ## A larger model
#
# The released summarizer is larger (two layers of 192 units), its encoder has read 65,000 sentences more and learned
# what a parser says of them, and its search writes whole words of the source alone, so that "new" is 0 by construction.
# Its model card says what that is worth.

# %%
summaries = outputs["coverage loss, no trigram twice"]
released = kerasseq.TextGenerator.from_preset(RELEASED)
compared = {"this tutorial's": summaries, "released": released.generate(sources)}
report(compared)

# %% [markdown]
# ## What it gets wrong
#
# One word can turn a sentence round. How often does a reference deny something, and our output does not? A search for
# words cannot tell whether the output then says the opposite, has left the clause out, or is broken: read them. And
# which outputs share least with their references?

# %%
negation = re.compile(r"\b(no|not|never|without|cannot)\b|n ?'t\b", re.IGNORECASE)
denied = [row for row, text in enumerate(references) if negation.search(text)]
lost = [row for row in denied if not negation.search(summaries[row])]
print(f"{len(denied)} references deny something, {len(lost)} of their outputs do not")
overlap = [
    kerasseq.evaluation.token_f1([text], [target])["score"] for text, target in zip(summaries, references, strict=True)
]
for row in [*lost[:3], *np.argsort(overlap)[:3]]:
    print(f"\nsource: {sources[row]}\nreference: {references[row]}")
    for name, texts in compared.items():
        print(f"{name}: {texts[row]}")

# %% [markdown]
# Sort them. Some are no worse than their reference: the sentence says two things, and the model keeps the other one.
# Some are broken: look at the first words, which it writes before the attention has settled on a beginning, and at the
# joints, where it jumps into the middle of a clause. The dangerous ones read well and are untrue: the right words, put
# together to what the source never said. Copying keeps most names, though pieces of two words may melt together, as in
# "Gatorsrey". It does not make a summary true, and no score here tells.
#
# ## Exercises
#
# 1. Force the model to copy always, then never. What is wrong with its outputs?
# 2. Let it write whole words of the source alone. What happens to "new", and to ROUGE?
# 3. Halve the training pairs. Which of the two models suffers more?
#
# **Solutions**
#
# 1. `copying.decoder.pointer_generator.bias.assign([-20.0])`, and generate; then `[20.0]`.
#    Who only copies has one full stop, at the end of the source, and runs on to it. Who only generates babbles: this
#    softmax has learned no more than what copying left over.
# 2. `generator.generate(sources, kerasseq.search.GreedySampler(constraints=[kerasseq.search.SourceWords()]))`. "New" is
#    0 by construction. ROUGE moves far less: another whole word stands where a broken one was, and it need not be the
#    right one.
# 3. `NUM_TRAIN = 4_000`, and twice the `EPOCHS` for as many steps. Look at the perplexities: to point is one skill for
#    all names, to spell is one for each.
