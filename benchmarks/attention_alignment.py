"""Which attention can be read: where it looks, beside where it should look, on tasks whose alignment is known.

Sources are characters, targets words:

- digits: "4071" -> "four zero seven one". Each word belongs to one character.
- words: "four zero seven one" -> "4 0 7 1". Each digit belongs to the characters of a word.
- dates: "Sunday, May 3rd, 1998" -> "1998 05 03". The order differs, and nothing belongs to the weekday.

For each score with LSTM cells, and for each cell with two scores: the share of target words whose highest weight is on
a character of theirs, the weight on these characters, the entropy of the weights, and the accuracy of the model. All
under teacher forcing, on pairs that were not trained on; means over the seeds. Accuracy and weights leave out END.

    python benchmarks/attention_alignment.py
"""

import datetime
import random

import keras
import numpy as np
import timing

import kerasseq

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SCORES = ("luong", "bahdanau", "location", "multi_head")
CELLS = ("gru", "ssru")
FEW_SCORES = ("luong", "bahdanau")  # with the other cells
EPOCHS = {"digits": 8, "words": 10, "dates": 24}  # until most models are right
UNITS = 64
FIRST = datetime.date(1950, 1, 1)
DAYS = 36_524  # a century


def digits(choose):
    """A source, a target and, for each target word, the beginning and end of its characters in the source."""
    numbers = choose.choices(range(10), k=choose.randint(3, 8))
    return "".join(map(str, numbers)), " ".join(NAMES[n] for n in numbers), [(i, i + 1) for i in range(len(numbers))]


def words(choose):
    numbers = choose.choices(range(10), k=choose.randint(3, 6))
    source, spans = "", []
    for number in numbers:
        source += " " * bool(source)
        spans.append((len(source), len(source) + len(NAMES[number])))
        source += NAMES[number]
    return source, " ".join(map(str, numbers)), spans


def dates(choose):
    date = FIRST + datetime.timedelta(choose.randrange(DAYS))
    ending = {1: "st", 2: "nd", 3: "rd"}.get(date.day % 10 if date.day // 10 != 1 else 0, "th")
    weekday = choose.choice(["", f"{date:%A}, "])
    month, day, year = f"{date:%B}", f"{date.day}", f"{date.year}"
    source, spans = weekday, {}
    for part in choose.choice(["D M Y", "M D, Y", "the De of M, Y", "M De, Y", "Y M D", "Y, D M"]):
        text = {"D": day, "M": month, "Y": year}.get(part)
        if text:
            spans[part] = (len(source), len(source) + len(text))
        source += text or (ending if part == "e" and source[-1].isdigit() else part)
    return source, f"{date:%Y %m %d}", [spans[part] for part in "YMD"]


TASKS = {"digits": digits, "words": words, "dates": dates}


def examples(task, count, seed):
    """Examples with different sources."""
    choose, found = random.Random(seed), {}
    while len(found) < count:
        source, *rest = TASKS[task](choose)
        found[source] = (source, *rest)
    return list(found.values())


def measure(model, preprocessor, test):
    """Means over the target words of the test."""
    is_right, weights, entropies, looks = [], [], [], []
    inputs = preprocessor.encode_source([source for source, *_ in test])
    inputs["decoder_token_ids"], labels = preprocessor.encode_target([target for _, target, _ in test])
    outputs = model.decoder_outputs(inputs)
    attention = keras.ops.convert_to_numpy(outputs["attention"])
    predicted = keras.ops.convert_to_numpy(keras.ops.argmax(outputs["logits"], axis=-1))
    for row, (_, _, spans) in enumerate(test):
        for step, (begin, end) in enumerate(spans):
            where = attention[row, step]
            is_right.append(predicted[row, step] == labels[row, step].numpy())
            weights.append(where[begin:end].sum())
            looks.append(begin <= where.argmax() < end)
            entropies.append(-np.sum(where * np.log(np.maximum(where, 1e-12))))
    names = ("accuracy", "highest_weight_on_its_characters", "weight_on_its_characters", "entropy")
    return dict(zip(names, map(float, map(np.mean, (is_right, looks, weights, entropies))), strict=True))


def run(task, cell, attention, seed, counts, epochs):
    keras.utils.set_random_seed(seed)
    train, test = (examples(task, count, number) for number, count in enumerate(counts))
    known = {source for source, *_ in train}
    test = [example for example in test if example[0] not in known]
    pairs = [(source, target) for source, target, _ in train]
    preprocessor = kerasseq.preprocessing.TextPreprocessor.from_pairs(pairs, tokens=("characters", "words"))
    sizes = preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size
    model = kerasseq.models.AttentionSeq2Seq(
        *sizes, units=UNITS, embedding_dim=UNITS // 2, cell=cell, attention=attention
    )
    data = preprocessor.dataset(pairs, batch_size=64, shuffle=True, seed=seed)
    steps = epochs * (len(pairs) // 64)
    rate = keras.optimizers.schedules.CosineDecay(3e-3, steps, alpha=0.02)
    model.compile(kerasseq.optimizers.Adam(rate, clipnorm=1.0), kerasseq.losses.MaskedCrossentropy())
    model.fit(data, epochs=epochs, verbose=0, shuffle=False)  # The data set shuffles.
    return measure(model, preprocessor, test)


def main():
    arguments = timing.parse_arguments(__file__, __doc__, seeds={"type": int, "default": 1, "metavar": "N"})
    counts = (200, 50) if arguments.quick else (4_000, 500)
    kinds = [("lstm", score) for score in SCORES] + [(cell, score) for cell in CELLS for score in FEW_SCORES]
    results, rows = {}, []
    for task in TASKS:
        epochs = 1 if arguments.quick else EPOCHS[task]
        for cell, score in kinds:
            seeds = [run(task, cell, score, seed, counts, epochs) for seed in range(1, arguments.seeds + 1)]
            means = {name: float(f"{np.mean([seed[name] for seed in seeds]):.4g}") for name in seeds[0]}
            results[f"{task}, {cell}, {score}"] = {**means, "seeds": seeds}
            rows.append([task, cell, score, *means.values()])
            print(*rows[-1], flush=True)
    settings = {"pairs": counts[0], "test": counts[1], "epochs": EPOCHS, "units": UNITS, "seeds": arguments.seeds}
    header = ["task", "cell", "score", "accuracy", "highest", "weight", "entropy"]
    timing.report(arguments, settings, results, header, rows)


if __name__ == "__main__":
    main()
