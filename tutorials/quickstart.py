"""Quickstart: a model learns to read dates, shows where it looks, and is exported for serving.

    python tutorials/quickstart.py "3rd of May, 1998" "5 mai 2021"

People write dates in many ways; computers want 1998-05-03. The model sees 18,000 examples in five languages and learns
the rest by itself, in a minute or two on two CPU cores. At the end the project's released models translate English
sentences to French, and shorten news.
"""

import argparse
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reports a missing GPU as an error; none is needed here.

import keras
import tensorflow as tf

import kerasseq
from kerasseq.plotting import plot_attention, plot_history

SEED = 3
DATES = ["3rd of May, 1998", "Sonntag, 23. März 2033", "5 mai 2021", "12/31/99"]
SENTENCES = ["I would like a cup of tea.", "The train leaves at seven o'clock.", "Tom bought a new car last week."]
NEWS = [
    "A woman was injured by a falling tree in the Gresham neighborhood, according to the Chicago Fire Department.",
    "Interethnic relations are not a field for political games, Kazakhstan's President Nursultan Nazarbayev declared "
    "in his speech at the Assembly of People of Kazakhstan, Tengrinews reports.",
]


def make_preprocessor(train):
    """Texts to numbers: learns which pieces the dates on either side are made of."""
    sources, targets = zip(*train, strict=True)
    # Vocabularies of little more than single characters, after 260 ids for special tokens and bytes: every digit of the
    # ISO form is a token of its own, so the attention can show where each one was read.
    return kerasseq.preprocessing.TextPreprocessor(
        kerasseq.preprocessing.train_vocabulary(sources, vocabulary_size=350, normalization="nmt_nfkc"),
        kerasseq.preprocessing.train_vocabulary(targets, vocabulary_size=272, normalization="nmt_nfkc"),
        max_source_length=64,
        max_target_length=16,
    )


def build_model(preprocessor, steps):
    """An encoder reads the date, a decoder writes the ISO form and looks back at the date for every character."""
    model = kerasseq.models.AttentionSeq2Seq(
        source_vocabulary_size=preprocessor.source_vocabulary_size,
        target_vocabulary_size=preprocessor.target_vocabulary_size,
        cell="gru",
        units=128,
        embedding_dim=64,
        attention="bahdanau",
    )
    # Large steps first, smaller ones in the last quarter.
    learning_rate = keras.optimizers.schedules.PiecewiseConstantDecay([steps * 3 // 4], [2e-3, 5e-4])
    model.compile(
        keras.optimizers.Adam(learning_rate, clipnorm=1.0),
        kerasseq.losses.MaskedCrossentropy(),
        weighted_metrics=[kerasseq.metrics.TokenAccuracy()],
    )
    return model


def train_model(preprocessor, train, validation, epochs):
    """Plain Keras: build, compile, fit. Returns the model and the history of the training."""
    batches = preprocessor.dataset(train, batch_size=64, shuffle=True, seed=SEED)
    model = build_model(preprocessor, steps=epochs * len(batches))
    history = model.fit(
        batches,
        validation_data=preprocessor.dataset(validation, batch_size=64),
        epochs=epochs,
        shuffle=False,  # The data set shuffles itself.
        verbose=1 if sys.stdout.isatty() else 2,  # A bar, or a line for each epoch in a file.
    )
    return model, history


def exact_match(generator, pairs):
    """The share of dates whose every character is right."""
    sources, targets = zip(*pairs, strict=True)
    outputs = generator.generate(sources)
    return sum(output == target for output, target in zip(outputs, targets, strict=True)) / len(pairs)


def draw(generator, history, dates, output):
    """Saves the learning curves and a heat map of where the model looked."""
    plot_history(history).savefig(output / "learning_curves.png", dpi=150)
    generations = generator.generate(dates, details=True)
    plot_attention(generations).savefig(output / "attention.png", dpi=150)
    print("Learning curves:", output / "learning_curves.png")
    print("Attention heat map:", output / "attention.png")
    print("  Each row is a token of the answer, most of them characters; dark cells are where the model looked for it.")


def normalise(saved_model, dates):
    """Asks the SavedModel as a server would: TensorFlow alone, nothing of kerasseq."""
    loaded = tf.saved_model.load(saved_model)  # In a program of its own this needs `import tensorflow_text` as well.
    outputs = loaded.signatures["serving_default"](text=tf.constant(dates))
    for date, text in zip(dates, outputs["text"].numpy(), strict=True):
        print(f"  {date} -> {text.decode()}")


def generate_with(released, sentences):
    """Translates or shortens with a released model."""
    generator = kerasseq.TextGenerator.from_preset(released)
    for sentence, text in zip(sentences, generator.generate(sentences), strict=True):
        print(f"  {sentence} -> {text}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dates", nargs="*", default=DATES, help="dates to normalise, as people write them")
    parser.add_argument(
        "--output", type=pathlib.Path, default=pathlib.Path("quickstart_output"), help="folder to write"
    )
    parser.add_argument("--epochs", type=int, default=6, help="passes over the training dates")
    parser.add_argument("--examples", type=int, default=20_000, help="dates for training, validation and test together")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(SEED)

    print("\n1. Data: dates as people write them, and in ISO form")
    train, validation, test = kerasseq.datasets.load_dates(arguments.examples)
    for text, iso_date in train[:3]:
        print(f"  {text} -> {iso_date}")

    print("\n2. Training")
    preprocessor = make_preprocessor(train)
    model, history = train_model(preprocessor, train, validation, arguments.epochs)
    generator = kerasseq.TextGenerator(model, preprocessor)

    print("\n3. Evaluation on dates that the model has never seen")
    print(f"Exact match on {len(test)} test dates: {exact_match(generator, test):.1%}")
    draw(generator, history, arguments.dates, arguments.output)

    print("\n4. Export for serving")
    saved_model = generator.export(arguments.output / "dates")
    print("SavedModel:", saved_model)
    print("What it answers:")
    normalise(saved_model, arguments.dates)

    print("\n5. A released model: English to French")
    generate_with("translation_en_fr", SENTENCES)

    print("\n6. Another one: news in fewer words")
    generate_with("summarization_en", NEWS)


if __name__ == "__main__":
    main()
