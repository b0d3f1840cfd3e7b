"""Fixtures shared by all tests. The project's tests make their own data; a mirror of the public data is optional."""

import gc
import itertools
import os
import pathlib
import random

import numpy as np
import pytest

MIRROR = pathlib.Path(__file__).resolve().parents[2] / "shared" / "data"
if MIRROR.is_dir():
    os.environ.setdefault("KERASSEQ_DATA_DIR", str(MIRROR))

BENCHMARKS = pathlib.Path(__file__).resolve().parent.parent / "benchmarks"

# Tracing makes many objects that live long; looking through them again and again takes a tenth of its time.
gc.set_threshold(50_000, 10, 10)

NUMBERS = ("one", "two", "three", "four")
ZAHLEN = ("eins", "zwei", "drei", "vier")


@pytest.fixture
def load_benchmark(monkeypatch):
    """A function of a name, such as "multi30k" or "peers/run", that loads a script of benchmarks/."""
    from helpers import load_script  # Deferred: it brings Keras.

    def load(name):
        path = BENCHMARKS / f"{name}.py"
        monkeypatch.syspath_prepend(path.parent)
        return load_script(path)

    return load


@pytest.fixture(scope="session")
def require_mirror():
    """A function that skips the test unless the folder in KERASSEQ_DATA_DIR has the given files, and returns it."""

    def require(*files):
        if not os.environ.get("KERASSEQ_DATA_DIR"):
            pytest.skip("KERASSEQ_DATA_DIR is not set")
        folder = pathlib.Path(os.environ["KERASSEQ_DATA_DIR"]).expanduser()
        for file in files:
            if not (folder / file).is_file():
                pytest.skip(f"the folder in KERASSEQ_DATA_DIR has no {file}")
        return folder

    return require


@pytest.fixture(scope="session")
def number_pairs():
    """32 pairs: one to four number words in English, the same in German and in reverse."""
    generator = random.Random(1)
    lists = [numbers for length in (1, 2) for numbers in itertools.product(range(4), repeat=length)]
    lists += [generator.choices(range(4), k=length) for length in (3, 4) for _ in range(6)]
    return [
        (" ".join(NUMBERS[number] for number in numbers), " ".join(ZAHLEN[number] for number in reversed(numbers)))
        for numbers in lists
    ]


@pytest.fixture(scope="session")
def hub_parts():
    """A function of a kind that returns a tiny tokenizer of KerasHub, which knows `NUMBERS`, and a random backbone."""
    import keras
    import keras_hub

    sizes = {"num_layers": 1, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 12, "dropout": 0.0}
    models, tokenizers = keras_hub.models, keras_hub.tokenizers

    def word_piece(tokenizer, backbone):
        tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "one", "two", "th", "##ree", "four", ",", "é"]
        return (
            tokenizer(tokens, lowercase=True),
            backbone(vocabulary_size=len(tokens), max_sequence_length=30, **sizes),
        )

    def byte_pair(tokenizer, backbone):
        merges = ["o n", "on e", "Ġ t", "Ġt w", "Ġtw o", "r e", "re e", "h ree", "Ġt hree", "t hree", "Ġ one"]
        special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        # GPT-2's alphabet of bytes, in another order than that of the bytes.
        alphabet = [chr(code) for code in [*range(33, 127), *range(161, 173), *range(174, 324)]]
        tokens = dict.fromkeys([*special, *alphabet, *(merge.replace(" ", "") for merge in merges)])
        vocabulary = {token: index for index, token in enumerate(tokens)}
        return (
            tokenizer(vocabulary, merges),
            backbone(vocabulary_size=len(vocabulary), max_sequence_length=60, **sizes),
        )

    def sentence_piece(tokenizer, backbone, special_ids, **options):
        import io

        import sentencepiece

        proto = io.BytesIO()
        texts = [" ".join(numbers) for numbers in itertools.permutations(NUMBERS)]
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts), model_writer=proto, vocab_size=24, hard_vocab_limit=False, minloglevel=2,
            **special_ids,
        )  # fmt: skip
        tokenizer = tokenizer(proto=proto.getvalue())
        return tokenizer, backbone(vocabulary_size=tokenizer.vocabulary_size(), **{**sizes, **options})

    t5_ids = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "pad_piece": "<pad>"}
    kinds = {
        "bert": lambda: word_piece(tokenizers.BertTokenizer, models.BertBackbone),
        "distil_bert": lambda: word_piece(tokenizers.DistilBertTokenizer, models.DistilBertBackbone),
        "roberta": lambda: byte_pair(tokenizers.RobertaTokenizer, models.RobertaBackbone),
        "bart": lambda: byte_pair(tokenizers.BartTokenizer, models.BartBackbone),
        "t5": lambda: sentence_piece(tokenizers.T5Tokenizer, models.T5Backbone, t5_ids),
        "xlm_roberta": lambda: sentence_piece(
            tokenizers.XLMRobertaTokenizer, models.XLMRobertaBackbone, {}, max_sequence_length=40
        ),
    }

    def parts(kind):
        keras.utils.set_random_seed(3)
        return kinds[kind]()

    return parts


@pytest.fixture(scope="session")
def preprocessor(number_pairs):
    """Two vocabularies of their own sizes, trained on `number_pairs`."""
    import kerasseq

    return kerasseq.preprocessing.TextPreprocessor.from_pairs(
        number_pairs, vocabulary_size=285, max_source_length=24, max_target_length=16
    )


@pytest.fixture(scope="session")
def joint_preprocessor(number_pairs):
    """One vocabulary for both sides of `number_pairs`."""
    import kerasseq

    return kerasseq.preprocessing.TextPreprocessor.from_pairs(
        number_pairs, vocabulary_size=290, joint=True, max_source_length=24, max_target_length=16
    )


@pytest.fixture(scope="session")
def trained_model(preprocessor, number_pairs):
    """A small model with attention that has learnt `number_pairs` in part, compiled, with its optimizer's state.

    Not to be trained on or changed: it is shared by all tests.
    """
    import keras

    import kerasseq

    keras.utils.set_random_seed(4)
    model = kerasseq.models.AttentionSeq2Seq(
        source_vocabulary_size=preprocessor.source_vocabulary_size,
        target_vocabulary_size=preprocessor.target_vocabulary_size,
        cell="lstm",
        units=32,
        embedding_dim=16,
    )
    model.compile(keras.optimizers.Adam(0.01), kerasseq.losses.MaskedCrossentropy())
    model.fit(preprocessor.dataset(number_pairs * 10, batch_size=32, shuffle=True), epochs=16, verbose=0, shuffle=False)
    return model


@pytest.fixture(scope="session")
def generator(trained_model, preprocessor):
    """A beam-searching `TextGenerator` of `trained_model`."""
    import kerasseq

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kerasseq.generator.GRAPHS_KEPT", 32)  # Tests take turns at more of them than users do.
        yield kerasseq.TextGenerator(trained_model, preprocessor, sampler=kerasseq.search.BeamSampler(beam_width=3))


@pytest.fixture(scope="session")
def exported(generator, tmp_path_factory):
    """The folder of version 1 of `generator`, verified. For tests marked `exports`."""
    return pathlib.Path(generator.export(tmp_path_factory.mktemp("models") / "numbers"))


@pytest.fixture(scope="session")
def numpy_cell():
    """The equations of one step of a cell: inputs `(batch, features)`, states, weights in the layer's order."""

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    def simple_rnn(x, states, kernel, recurrent_kernel, bias):
        return [np.tanh(x @ kernel + bias + states[0] @ recurrent_kernel)]

    def lstm(x, states, kernel, recurrent_kernel, bias):
        i, f, g, o = np.split(x @ kernel + bias + states[0] @ recurrent_kernel, 4, axis=-1)
        memory = sigmoid(f) * states[1] + sigmoid(i) * np.tanh(g)
        return [sigmoid(o) * np.tanh(memory), memory]

    def gru(x, states, kernel, recurrent_kernel, bias, recurrent_bias):
        inputs = np.split(x @ kernel + bias, 3, axis=-1)
        hiddens = np.split(states[0] @ recurrent_kernel + recurrent_bias, 3, axis=-1)
        update, reset = sigmoid(inputs[0] + hiddens[0]), sigmoid(inputs[1] + hiddens[1])
        return [update * states[0] + (1 - update) * np.tanh(inputs[2] + reset * hiddens[2])]

    def ssru(x, states, kernel, bias):
        forget, candidate = np.split(x @ kernel + bias, 2, axis=-1)
        return [sigmoid(forget) * states[0] + (1 - sigmoid(forget)) * candidate]

    equations = {"simple_rnn": simple_rnn, "lstm": lstm, "gru": gru, "ssru": ssru}
    return lambda cell, x, states, *weights: equations[cell](x, states, *weights)
