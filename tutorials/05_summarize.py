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
# The source is a sentence of news, and the target is a shorter one. Every name and number must survive unchanged.
#
# The translator of the last tutorial generates every token from its vocabulary. News is full of words that no
# vocabulary contains: people, villages, sports results. They stand in the source and only need to be copied. At each
# step, a *pointer-generator* (See et al. 2017) decides whether to generate a token or to copy one from the position it
# attends to. We train one next to the same model without copying, and measure what copying gains.

# %% tags=["parameters"]
NUM_TRAIN = 8_000  # training pairs, before long ones are dropped
NUM_TEST = 1_000  # validation pairs, and as many test pairs
MAX_WORDS = 30  # per source sentence
VOCABULARY_SIZE = 4_000
UNITS = 128
EPOCHS = 8
COVERAGE_EPOCHS = 1
RELEASED = "summarization_en"  # the released model to compare with
SEED = 1

# %%
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # Hides the message about a missing GPU. None is needed.

import re
from collections import Counter

import keras
import matplotlib.pyplot as plt
import numpy as np

import kerasseq

keras.utils.set_random_seed(SEED)

# %% [markdown]
# ## Look at the data first
#
# Google's sentence compression data pair sentences of news with shorter ones, made by leaving out words (Filippova and
# Altun 2013). Long sources take long to train on, so we drop sentences of more than `MAX_WORDS` words, in the test set
# as well. How many words of the test references occur in no training pair, on neither side?


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
print(f"{len(unknown)} of {sum(len(words(target)) for target in references)} reference words do not occur in training,")
print(f"{sum(word in words(source) for word, source in unknown)} of these occur in the source:")
print(", ".join(word for word, _ in unknown[:12]))

# %% [markdown]
# In a word vocabulary, each of these words would be `[UNK]`. With subwords, no word is unknown: a rare name is spelled
# in pieces of a few letters. But the decoder must pick every piece correctly among thousands, in an order it has never
# practised. One wrong piece makes a different name.
#
# Here source and target share one vocabulary (`joint=True`), so a copied token has the same id on both sides.

# %%
preprocessor = kerasseq.preprocessing.TextPreprocessor.from_pairs(
    train, VOCABULARY_SIZE, joint=True, max_source_length=256, max_target_length=256, normalization="nmt_nfkc"
)
vocabulary_size = preprocessor.source_vocabulary_size
rare = [row for row, target in enumerate(references) if set(words(target)) - known] or list(range(len(test)))
rare = sorted(rare, key=lambda row: len(sources[row]))  # Sentences with an unseen word, shortest first.
pieces = preprocessor.source_tokens(preprocessor.encode_source([sources[rare[0]]]))
print(" ".join(piece.decode() for piece in pieces[0].numpy()))

# %% [markdown]
# ## Two ways to produce a token
#
# At step $i$ the decoder has its hidden state $s_i$, the embedding $y_{i-1}$ of the previous token, the attention
# weights $a_{ij}$ over the source tokens $w_1, w_2, \dots$, and the context vector $c_i = \sum_j a_{ij} h_j$ of the
# memory $h_j$, as in tutorial 3. Two equations are new:
#
# $$p_\mathrm{gen} = \sigma(c_i\,u_c + s_i\,u_s + y_{i-1}\,u_y + b)$$
#
# $$P(w) = p_\mathrm{gen} \, P_\mathrm{vocab}(w) + (1 - p_\mathrm{gen}) \sum_{j:\, w_j = w} a_{ij}$$
#
# The **generation probability** $p_\mathrm{gen}$ is one number between 0 and 1. $u_c$, $u_s$, $u_y$ and $b$ are
# learned, and $\sigma$ is the logistic function. $P_\mathrm{vocab}$ is the usual softmax over the vocabulary. The sum
# gives token $w$ the attention weights of all positions that hold it: read this way, the attention weights are a
# distribution over source tokens. $P$ mixes two distributions that each sum to 1, so it sums to 1 as well.
#
# No label says which tokens are copies. The loss is $-\log P(w)$ of the correct token, and attending to the right
# position is the easiest way to lower it.

# %% [markdown]
# ### One step by hand
#
# Take a vocabulary of six tokens and a source of four. Context vector, hidden state and embedding have two numbers
# each. The softmax gives "kubel" a low probability, but the attention points to it. The output layer of kerasseq's
# model computes the same numbers from the same weights.

# %%
vocabulary = ["the", "kubel", "was", "traded", "arrested", "."]
source_ids = np.array([1, 2, 3, 5])  # kubel was traded .
attention = np.array([0.7, 0.1, 0.15, 0.05])  # (source,)
logits = np.array([2.0, -3.0, 1.0, 0.5, 1.5, 0.0])  # (vocabulary,)
features = np.array([0.3, -0.2, 0.8, 0.1, -0.5, 0.4])  # c, s and y, concatenated
kernel, bias = np.array([-0.4, 0.9, -1.1, 0.2, 0.7, -0.3]), -0.2

p_gen = 1 / (1 + np.exp(-(features @ kernel + bias)))
p_vocab = np.exp(logits) / np.exp(logits).sum()
copied = np.zeros(len(vocabulary))
np.add.at(copied, source_ids, attention)  # A token that occurs twice gets both weights.
mixture = p_gen * p_vocab + (1 - p_gen) * copied

layer = kerasseq.layers.PointerGenerator()
step = [array[None, None] for array in (logits, attention, features)] + [source_ids[None]]  # (batch, target, ...)
layer(*step)  # The first call creates the weights.
layer.set_weights([kernel[:, None], np.array([bias])])
log_probabilities, probability = layer(*step)
np.testing.assert_allclose(np.exp(log_probabilities[0, 0]), mixture, atol=1e-6)
np.testing.assert_allclose(probability[0, 0], p_gen, atol=1e-6)

figure, axis = plt.subplots(figsize=(7.5, 2.8), layout="constrained")
for shift, (name, values) in enumerate({"generated": p_vocab, "copied": copied, "mixture": mixture}.items()):
    axis.bar(np.arange(len(vocabulary)) + 0.27 * (shift - 1), values, 0.25, label=name)
axis.set_xticks(range(len(vocabulary)), vocabulary)
axis.set(xlabel="token", ylabel="probability", title=f"One step with generation probability {p_gen:.2f}")
axis.legend()
plt.show()

# %% [markdown]
# ### Coverage
#
# A decoder that attends to the same position twice writes its words twice. **Coverage** is the attention so far,
# $\kappa_{ij} = \sum_{k < i} a_{kj}$, one number per source position. The attention reads it: `"coverage"` adds one
# term to the additive score of tutorial 3, and its query is the state after the step:
#
# $$e_{ij} = \tanh(h_j W_h + s_i W_s + \kappa_{ij} w_\kappa + b)\,v.$$
#
# In addition, a loss penalizes each step for attending to covered positions: $\sum_j \min(a_{ij}, \kappa_{ij})$,
# averaged over all steps.

# %%
weights = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.7, 0.2, 0.1]])  # (target, source): the last step looks back.
losses = np.minimum(weights, np.cumsum(weights, axis=0) - weights).sum(axis=1)
print("loss of each step:", losses.round(2))
tensors = {"attention": weights[None], "decoder_token_ids": np.ones((1, 3), int)}  # (batch, target, source), no padding
np.testing.assert_allclose(kerasseq.layers.CoverageLoss().loss(tensors), losses.mean(), atol=1e-6)

# %% [markdown]
# The paper first trains without coverage and adds both the term and the loss for a short final phase. Our attention
# reads the coverage from the start, and only the loss comes later. All parts together:

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
    ("source", "encoder"), ("encoder", "decoder", "initial state"), ("encoder", "attention", "memory"),
    ("previous", "decoder"), ("decoder", "attention"), ("coverage", "attention"), ("attention", "copy"),
    ("source", "copy"), ("attention", "gate"), ("decoder", "gate"), ("previous", "gate"), ("attention", "generate"),
    ("decoder", "generate"), ("copy", "mixture"), ("gate", "mixture"), ("generate", "mixture"),
]  # fmt: skip
kerasseq.plotting.plot_diagram(boxes, arrows, title="The pointer-generator with coverage")

# %% [markdown]
# ## With and without copying
#
# Data, batches, sizes, attention and epochs are the same for both models. One of them copies. Its readout has no tanh,
# as in the paper. Its $p_\mathrm{gen}$ starts with a bias of -2, a generation probability of about 0.12: a model that
# copies from the first step has a reason to learn where to look. The learning rate warms up for a tenth of the steps
# and then decays.


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
# Perplexity is the exponential of the mean loss: the number of equally likely tokens among which the model hesitates.
# Without copying, the steep drop comes late, because the attention first has to learn where to look, and the softmax
# then has to learn what to do with it. With copying, the drop comes at once. In the last epochs the perplexity of the
# pointer-generator falls only on the training data: the model begins to memorize them (it **overfits**).

# %%
figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
for name, history in histories.items():
    axis.plot(range(1, EPOCHS + 1), history.history["val_perplexity"], "o-", label=name)
axis.set(yscale="log", xlabel="epoch", ylabel="perplexity (log scale)", title="Validation perplexity of both models")
axis.set_xticks(range(1, EPOCHS + 1))
axis.legend()
plt.show()

# %% [markdown]
# ## What copying gains
#
# ROUGE-1 and ROUGE-2 count the words and the word pairs that output and reference share. ROUGE-L measures their longest
# common subsequence. Each is the harmonic mean of precision and recall, from 0 to 100. The baseline is the **lead**:
# the first words of the sentence, with the number of words that scores best on validation data. It is strong, because
# news puts the main point first. "New" is the share of output words that do not occur in the source. The references
# only leave out words, so every new word is suspicious here.


# %%
def lead(pairs, number):
    return [" ".join(source.split()[:number]) for source, _ in pairs]


def report(outputs):
    print(f"{'':36}{'ROUGE-1':>9}{'ROUGE-2':>9}{'ROUGE-L':>9}{'new':>9}{'words':>8}")
    for name, texts in outputs.items():
        rouge = kerasseq.evaluation.rouge(texts, references)
        new = sum(len(found) for _, found in kerasseq.evaluation.new_words(texts, sources)["examples"])
        share = new / max(1, sum(len(set(words(text))) for text in texts))  # A word counts once per output.
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
# Without copying, the model stays far below the lead, and one in seven of its words does not occur in the source: it
# has to spell what it attends to. With copying, the model beats the lead. (With more
# units and more training, the model without copying beats the lead too, but not the pointer-generator: see the model
# card of the released summarizer.) Where the pointer-generator writes new words, look for a jump: the first pieces of
# one word followed by the last pieces of another.
#
# ## Where the model copies
#
# Each row is an output token, each column a source token. The cell shows the probability that this step copies from
# there, $(1 - p_\mathrm{gen}) \, a_{ij}$, before the token is chosen. A row can therefore put some weight on other
# tokens than the one it emits. The last column, "vocabulary", is $p_\mathrm{gen}$. Where the diagonal jumps, words are
# left out.

# %% tags=["picture"]
kerasseq.plotting.plot_attention(generations[rare[0]], copies=True)

# %% [markdown]
# When does the model generate? The means of $p_\mathrm{gen}$ over all outputs:

# %%
kinds = {"first tokens": [], "full stops": [], "all others": []}
for generation in generations:
    for place, token in enumerate(generation.target_tokens):
        kind = "first tokens" if place == 0 else "full stops" if token == "." else "all others"
        kinds[kind].append(generation.generation_probability[place])
print(*(f"{kind}: {np.mean(values or [0]):.3f}" for kind, values in kinds.items()), sep="\n")

# %% [markdown]
# It mostly generates full stops, sometimes first tokens, and copies almost everything else.
#
# ## Avoid repetition
#
# How many trigrams of tokens occur repeatedly in an output? There are two remedies. One is learned: continue training
# for `COVERAGE_EPOCHS` with the coverage loss. (For a fair comparison, a copy of the model continues without it.) The
# other is a search constraint, which forbids any token that would complete a trigram a second time.


# %%
def repeated(tokens):
    return sum(count - 1 for count in Counter(zip(tokens, tokens[1:], tokens[2:], strict=False)).values())


constrained = kerasseq.search.GreedySampler(constraints=[kerasseq.search.NoRepeatNGram(3)])
counts, trained = {}, copying.get_weights()
for weight in (0.0, 1.0):
    copying.set_weights(trained)
    copying.get_layer("coverage_loss").weight = weight
    fit(copying, COVERAGE_EPOCHS, 3e-4)
    for name, sampler in (("", None), (", no repeated trigrams", constrained)):
        name = ("coverage loss" if weight else "no coverage loss") + name
        generations = generator.generate(sources, sampler, details=True)
        outputs[name] = [generation.text for generation in generations]
        counts[name] = sum(repeated(generation.target_tokens) for generation in generations)

# %%
for name, count in counts.items():
    print(f"{name:36}{count:4} repeated trigrams in {len(test)} outputs")
report({name: outputs[name] for name in counts})

# %% [markdown]
# The constraint always cures the symptom, but it would also suppress legitimate repetitions. The loss is meant to
# change where the model looks. Here the change is too small to tell from chance, because one sentence has little to
# repeat. The paper summarizes articles in several sentences, where repetition is the most visible error. (The
# validation loss of the second run includes the coverage loss, so compare the perplexities.)
#
# ## What ROUGE misses
#
# Take a test reference and two handwritten outputs:

# %%
reference = "Sony has no firm plans at this stage to bundle PlayStation 4 and PlayStation Vita together."
for text in (
    "Sony has no firm plans at this stage to bundle PlayStation 4 and Vita together.",
    "Sony has firm plans at this stage to bundle PlayStation 4 and PlayStation Vita together.",
):
    rouge = kerasseq.evaluation.rouge([text], [reference])
    print(*(f"{rouge[key]:.1f}" for key in ("rouge1", "rouge2", "rougeL")), text, sep="  ")

# %% [markdown]
# Each output lacks one word of the reference. ROUGE treats all words alike, so the scores are the same, but the second
# output says the opposite.
#
# ## A larger model
#
# The released summarizer is larger (two layers of 192 units). Its encoder has read 65,000 more sentences and learned
# from a parser's analysis of them. Its search writes only whole words of the source, so "new" is 0 by construction. Its
# model card says what each of these is worth.

# %%
summaries = outputs["coverage loss, no repeated trigrams"]
released = kerasseq.TextGenerator.from_preset(RELEASED)
compared = {"this tutorial's": summaries, "released": released.generate(sources)}
report(compared)

# %% [markdown]
# ## What it gets wrong
#
# One word can reverse the meaning of a sentence. How often does a reference contain a negation that our output lacks? A
# word search cannot tell whether the output then says the opposite, omits the clause, or is broken: read them. And
# which outputs share the fewest words with their references?

# %%
negation = re.compile(r"\b(no|not|never|without|cannot)\b|n ?'t\b", re.IGNORECASE)
negated = [row for row, text in enumerate(references) if negation.search(text)]
lost = [row for row in negated if not negation.search(summaries[row])]
print(f"{len(negated)} references contain a negation, {len(lost)} of their outputs do not")
overlap = [
    kerasseq.evaluation.token_f1([text], [target])["score"] for text, target in zip(summaries, references, strict=True)
]
for row in [*lost[:3], *np.argsort(overlap)[:3]]:
    print(f"\nsource: {sources[row]}\nreference: {references[row]}")
    for name, texts in compared.items():
        print(f"{name}: {texts[row]}")

# %% [markdown]
# Sort the errors. Some outputs are no worse than their reference: the sentence says two things, and the model keeps the
# other one. Some are broken: look at the first words, written before the attention has settled on a starting point, and
# at the joints, where the model jumps into the middle of a clause. The dangerous ones read well and are false: they
# combine the right words into something the source never said. Copying preserves most names, though pieces of two words
# can merge: "After Brad Hand" became "A Hand". It does not make a summary true, and no score here would notice.
#
# ## Exercises
#
# 1. Force the model to always copy, then to never copy. What is wrong with its outputs?
# 2. Let it write only whole words of the source. What happens to "new" and to ROUGE?
# 3. Halve the number of training pairs. Which of the two models suffers more?
#
# **Solutions**
#
# 1. `copying.decoder.pointer_generator.bias.assign([-20.0])`, and generate; then `[20.0]`. A model that only copies has
#    one full stop to copy, at the end of the source, and runs on until it gets there. A model that only generates
#    babbles: this softmax has learned no more than what copying left over.
# 2. `generator.generate(sources, kerasseq.search.GreedySampler(constraints=[kerasseq.search.SourceWords()]))`. "New" is
#    0 by construction. ROUGE changes far less: a whole word replaces a broken one, but it need not be the right one.
# 3. Set `NUM_TRAIN = 4_000` and double `EPOCHS`, to keep the number of steps. Compare the perplexities. Pointing is one
#    skill for all names, but each name is spelled differently.
