"""Every kind of decoder by three roads: step by step in a loop over the model, by `generate`, served."""

import numpy as np
import pytest
import tensorflow as tf
from helpers import assert_same_outputs, check_greedy, dtype_policy, randomized

import kerasseq
from kerasseq import TextGenerator, models

SOURCES = ["one two three", "four", "", "two two one four three"]
LENGTH = 10


def attention(**options):
    return lambda *sizes, **common: models.AttentionSeq2Seq(*sizes, **common, **options)


BUILDERS = {
    "vanilla, 2 layers": lambda *sizes, **common: models.VanillaSeq2Seq(*sizes, **common, num_layers=2),
    "gru, luong, tied": attention(cell="gru", tie_embeddings=True, dropout=0.3),
    "lstm, bahdanau, 2 layers": attention(attention="bahdanau", num_layers=2),
    "gru, location, input feeding": attention(cell="gru", attention="location", placement="input_feeding"),
    "lstm, multi_head, input feeding, tied": attention(
        attention="multi_head", placement="input_feeding", num_layers=2, tie_embeddings=True, residual=True
    ),
    "simple_rnn, monotonic, unidirectional, tied": attention(
        cell="simple_rnn", attention="monotonic", bridge="zero", tie_embeddings=True, bidirectional=False
    ),
}


def transformer(cell, num_layers):
    return lambda *sizes, units, embedding_dim: models.TransformerSeq2Seq(
        *sizes, units, num_layers=num_layers, cell=cell
    )


BUILDERS |= {
    "transformer": transformer(None, num_layers=1),
    "transformer, ssru decoder, 2 layers": transformer("ssru", num_layers=2),
    "ssru, multi_head": attention(cell="ssru", attention="multi_head", num_layers=2),
    "ssru, bahdanau": attention(cell="ssru", attention="bahdanau"),
}
# With one vocabulary for both sides.
COPYING = {
    "lstm, coverage, pointer-generator": lambda size, _, **common: models.PointerGeneratorSeq2Seq(size, **common),
    "ensemble that copies": lambda *sizes, **common: models.Ensemble(
        [
            models.PointerGeneratorSeq2Seq(sizes[0], **common, cell="gru", attention="luong"),
            models.AttentionSeq2Seq(*sizes, **common, cell="gru", attention="concat"),
        ]
    ),
}
# Graphs take long to trace, and exports longer: most kinds of models are for the slow tests.
FAST = ["transformer", "lstm, multi_head, input feeding, tied", "lstm, coverage, pointer-generator"]
SERVED = [
    "transformer",
    "transformer, ssru decoder, 2 layers",
    "lstm, coverage, pointer-generator",
]


def make_generator(name, preprocessor, joint_preprocessor):
    """A generator with random weights, large enough that its outputs differ from source to source."""
    if name in COPYING:
        preprocessor = joint_preprocessor
    model = {**BUILDERS, **COPYING}[name](
        preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size, units=12, embedding_dim=8
    )
    randomized(model, 6)
    return TextGenerator(model, preprocessor, sampler="beam", max_length=LENGTH)


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in [*BUILDERS, *COPYING]],
)
def generator(request, preprocessor, joint_preprocessor):
    return make_generator(request.param, preprocessor, joint_preprocessor)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=pytest.mark.exports if name in SERVED else pytest.mark.slow)
        for name in [*BUILDERS, *COPYING]
    ],
)
def served(request, preprocessor, joint_preprocessor, tmp_path_factory):
    """A generator, its export's folder, and the loaded SavedModel."""
    generator = make_generator(request.param, preprocessor, joint_preprocessor)
    exported = generator.export(tmp_path_factory.mktemp("exported"), verify=False)
    return generator, exported, tf.saved_model.load(exported)


def test_generate_is_a_loop_over_the_model(generator):
    """Each token is the likeliest one after those before it."""
    generations = generator.generate(SOURCES, sampler="greedy", details=True)
    assert len({generation.text for generation in generations}) > 1
    for source, generation in zip(SOURCES, generations, strict=True):
        if not source:
            assert (generation.text, generation.target_tokens) == ("", [])
            continue
        inputs = generator.preprocessor.encode_source([source])
        outputs = check_greedy(generator, generation, inputs)
        if generator.model.decoder.has_generation_probability:
            expected = outputs["generation_probability"][0]
            np.testing.assert_allclose(generation.generation_probability, expected, atol=1e-4)
        else:
            assert generation.generation_probability is None


def test_served_as_in_process(served):
    generator, _, loaded = served
    for signature, sampler in {"serving_default": "beam", "greedy": "greedy"}.items():
        answers = loaded.signatures[signature](text=tf.constant(SOURCES))
        expected = generator.generate(SOURCES, sampler=sampler, details=True)
        assert [text.decode() for text in answers["text"].numpy()] == [generation.text for generation in expected]
        np.testing.assert_allclose(answers["score"], [generation.score for generation in expected], atol=1e-3)
    if generator.model.decoder.copies:
        answers = loaded.signatures["attention"](text=tf.constant(SOURCES))["generation_probability"].numpy()
        for row, generation in zip(answers, generator.generate(SOURCES, details=True), strict=True):
            probability = generation.generation_probability
            np.testing.assert_allclose(row[: len(probability)], probability, atol=1e-4)


def test_sources_one_by_one(generator):
    """Each hypothesis of a beam search decodes the source that it belongs to."""
    together = generator.generate(SOURCES, sampler="beam", details=True)
    for source, generation in zip(SOURCES, together, strict=True):
        alone = generator.generate(source, sampler="beam", details=True)
        scores = [[score for _, score in one.alternatives] for one in (generation, alone)]
        np.testing.assert_allclose(scores[0], scores[1], atol=1e-3)


def test_an_empty_batch_is_answered(served):
    _, _, loaded = served
    for signature in loaded.signatures:
        answers = loaded.signatures[signature](text=tf.constant([], tf.string))
        assert answers["text"].shape == answers["score"].shape == ((0, 5) if signature == "nbest" else (0,))


def test_loaded_from_the_export(served):
    generator, exported, _ = served
    loaded = TextGenerator.load(exported)
    assert_same_outputs(loaded, generator, SOURCES)


def test_the_steps_of_a_search_have_no_loop(generator):
    """Each step gets one token of static length 1, so the recurrences run their cells alone.

    The loop over steps is alone in another, in which sequences leave the batch.
    """
    # With details, because long sources go through a loop of their own without.
    graph = generator.compiled_decode(generator.sampler, LENGTH, details=True).graph.as_graph_def()
    functions = {function.signature.name: function.node_def for function in graph.library.function}
    loops = {
        name: [node for node in nodes if node.op in ("While", "StatelessWhile")]
        for name, nodes in {**functions, "": graph.node}.items()
    }
    bodies = [node.attr["body"].func.name for nodes in loops.values() for node in nodes]
    recurrent = isinstance(generator.model.encoder, kerasseq.encoders.RecurrentEncoder)
    assert len(bodies) >= 2 + recurrent  # The search's, and the encoder's.
    attention = getattr(generator.model.decoder, "attention", None)
    if not isinstance(attention, kerasseq.layers.MonotonicAttention):  # It has a loop of its own.
        (outer,) = (body for body in bodies if loops[body])
        assert len(loops[outer]) == 1


def test_half_precision(preprocessor):
    """Computing in bfloat16, with float32 weights and logits, decodes and serves too."""
    with dtype_policy("mixed_bfloat16"):
        model = models.AttentionSeq2Seq(
            preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size, cell="gru", units=12,
            embedding_dim=8, tie_embeddings=True, attention="location",
        )  # fmt: skip
    generator = TextGenerator(model, preprocessor, max_length=LENGTH, long_sources="cut")
    assert model.output.dtype == "float32"
    assert len(generator.generate(SOURCES)) == len(SOURCES)
    inputs, labels = next(iter(preprocessor.dataset([("one", "eins"), ("two", "zwei")], batch_size=2)))
    model.compile("sgd", kerasseq.losses.MaskedCrossentropy(), run_eagerly=True)
    assert np.isfinite(model.train_on_batch(inputs, labels))
