"""How cost grows: with the length of the source, with the vocabulary, and with the number of batches.

Models with attention, embeddings and units of 128, targets of 20 tokens. Each experiment writes its results, and a plot
of them beside it.

`lengths`: sources of 50 to 1,600 tokens, 8,000 subwords, batches of 16. Sides: GRUs with Luong's and with additive
("concat") attention, an SSRU with Luong's, pointer-generators with coverage and with location-sensitive attention.
`vocabularies`: 1,000 to 64,000 tokens on both sides, sources of 20 tokens, batches of 64. Sides: GRUs with Luong's
attention whose loss is computed in blocks, which is the default, or from all logits at once.

Both measure target tokens a second, for two steps of `fit` with Adam, and for two batches of greedy search, encoder
included. Ids are random, without padding, so all tokens are real. All sides run in one process, turn by turn; the
first, untimed turn traces and compiles. Peak memory is the most resident memory of a fresh process for each model and
vocabulary, for training or decoding alone: one batch of each length, short to long. A process that has seen the shorter
ones has a few percent more than one that begins with the long one. The imports alone are a line of their own.

`batches`: resident memory of a process in the course of 1,000 batches of `fit`, and of another in the course of 1,000
calls of `generate`. Random texts of 1 to 60 words; for `fit` an endless, shuffled data set of the preprocessor.
Memory rises over the first hundred batches, and should be flat from then on.

    python benchmarks/cost_growth.py
    python benchmarks/cost_growth.py --experiments batches
    python benchmarks/cost_growth.py --plots    # draws the plots again, from the results
"""

import argparse
import dataclasses
import functools
import io
import itertools
import json
import sys

import keras
import numpy as np
import tensorflow as tf
import timing
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator
from PIL import Image

import kerasseq
from kerasseq import search
from kerasseq.models import AttentionSeq2Seq, PointerGeneratorSeq2Seq

TARGET_LENGTH = 20

# What is built, and whether its loss is computed in blocks.
SIDES = {
    "Luong attention, GRU": (AttentionSeq2Seq, {"attention": "luong"}, True),
    "additive attention, GRU": (AttentionSeq2Seq, {"attention": "concat"}, True),
    "Luong attention, SSRU": (AttentionSeq2Seq, {"attention": "luong", "cell": "ssru"}, True),
    "pointer-generator, coverage": (PointerGeneratorSeq2Seq, {"attention": "coverage"}, True),
    "pointer-generator, location": (PointerGeneratorSeq2Seq, {"attention": "location"}, True),
    "loss in blocks": (AttentionSeq2Seq, {"attention": "luong"}, True),
    "all logits at once": (AttentionSeq2Seq, {"attention": "luong"}, False),
    "greedy search": (AttentionSeq2Seq, {"attention": "luong"}, True),
}
LENGTH_SIDES = list(SIDES)[:5]


@dataclasses.dataclass
class Growth:
    """An experiment: `values` of what grows, and the sides that train and decode at each of them.

    `sizes` is a function of a value that returns the source length and the size of the vocabulary.
    """

    axis: str
    values: tuple
    training: list
    decoding: list
    sizes: object
    batch_size: int
    title: str


def growth(name, quick):
    if name == "lengths":
        vocabulary_size, sides = (100, LENGTH_SIDES[2:4]) if quick else (8_000, LENGTH_SIDES)
        return Growth(
            axis="source length, tokens", values=(8, 16) if quick else (50, 100, 200, 400, 800, 1_600),
            training=sides, decoding=sides, sizes=lambda length: (length, vocabulary_size),
            batch_size=16, title=f"vocabulary of {vocabulary_size:,}",
        )  # fmt: skip
    return Growth(
        axis="vocabulary, tokens", values=(100, 200) if quick else (1_000, 4_000, 16_000, 64_000),
        training=["loss in blocks", "all logits at once"], decoding=["greedy search"],
        sizes=lambda vocabulary_size: (20, vocabulary_size), batch_size=64, title="sources of 20 tokens",
    )  # fmt: skip


# === Lengths and vocabularies ===


def make_side(what, name, vocabulary_size, size):
    """Builds a model, for training or for decoding.

    Returns:
        the model, and a function of a batch and a number that returns a function without arguments, which trains on, or
        decodes, that batch that many times.
    """
    builder, options, loss_in_blocks = SIDES[name]
    sizes = [vocabulary_size] * (1 if builder is PointerGeneratorSeq2Seq else 2)
    options = {"cell": "gru", "placement": "after", **options}
    model = builder(*sizes, embedding_dim=size, units=size, **options)
    if what == "training":
        model.loss_in_blocks = loss_in_blocks
        model.compile("adam", kerasseq.losses.MaskedCrossentropy())

        def train(batch, steps):
            return functools.partial(model.fit, timing.make_dataset([batch] * steps), shuffle=False, verbose=0)

        return model, train

    # All outputs have the same length.
    sampler = search.GreedySampler(constraints=[search.LengthLimits(min_length=TARGET_LENGTH)])

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)])
    def decode(token_ids):
        context = model.encode({"encoder_token_ids": token_ids})
        request = search.Request(batch_size=tf.shape(token_ids)[0], max_length=TARGET_LENGTH)
        return search.decode(model, context, sampler, request)["token_ids"]

    def decode_batches(batch, steps):
        token_ids = tf.constant(batch[0]["encoder_token_ids"])
        return lambda: [decode(token_ids).numpy() for _ in range(steps)]

    return model, decode_batches


def make_batch(batch_size, source_length, vocabulary_size):
    random = np.random.default_rng(1)
    source, target = (
        random.integers(4, vocabulary_size, (batch_size, length), dtype="int32")
        for length in (source_length, TARGET_LENGTH)
    )
    return {"encoder_token_ids": source, "decoder_token_ids": target}, target


def peaks(what, name, batch_size, lengths, vocabulary_size, size):
    """The most resident memory so far of this process, after one batch of each source length."""
    _, run = make_side(what, name, vocabulary_size, size)
    memory = []
    for length in lengths:
        run(make_batch(batch_size, length, vocabulary_size), 1)()
        memory.append(timing.process_memory("VmHWM"))
    return memory


def measure_growth(name, arguments):
    quick = arguments.quick
    size, rounds, steps = (16, 1, 1) if quick else (128, 3, 2)
    experiment = growth(name, quick)
    names = [("training", side) for side in experiment.training] + [("decoding", side) for side in experiment.decoding]
    make = functools.cache(make_side)

    # === Speed ===
    seconds = {}
    for value in experiment.values:
        progress(f"{name}: speed at {experiment.axis}: {value:,}")
        length, vocabulary_size = experiment.sizes(value)
        batch = make_batch(experiment.batch_size, length, vocabulary_size)
        sides = {key: make(*key, vocabulary_size, size)[1](batch, steps) for key in names}
        seconds |= {(*key, value): times for key, times in timing.alternate(sides, rounds).items()}

    # === Memory ===
    memory = {}
    for what, side in names:
        progress(f"{name}: memory of {what}, {side}")
        # One process for all lengths of a vocabulary.
        for vocabulary_size, values in itertools.groupby(experiment.values, lambda value: experiment.sizes(value)[1]):
            values = list(values)
            lengths = [experiment.sizes(value)[0] for value in values]
            settings = what, side, experiment.batch_size, lengths, vocabulary_size, size
            measured = timing.in_fresh_process(peaks, *settings)
            memory |= {(what, side, value): megabytes for value, megabytes in zip(values, measured, strict=True)}

    tokens = experiment.batch_size * TARGET_LENGTH * steps
    imports = timing.in_fresh_process(timing.process_memory, "VmHWM")
    results, rows = {"imports alone": {"peak_memory_mb": imports}, "training": {}, "decoding": {}}, []
    for what, side in names:
        results[what][side] = {}
        for value in experiment.values:
            speed = timing.summary(tokens / time for time in seconds[what, side, value])
            peak = memory[what, side, value]
            results[what][side][f"{value}"] = {"target_tokens_per_second": speed, "peak_memory_mb": peak}
            rows.append([f"{what}, {side}, {value:,}", *timing.spread(speed), str(peak)])
    settings = {
        "axis": experiment.axis, "title": experiment.title, "batch_size": experiment.batch_size,
        "target_length": TARGET_LENGTH, "steps": steps, "rounds": rounds, "units": size, "embedding_dim": size,
        "parameters": {
            side: {f"{value}": make("training", side, experiment.sizes(value)[1], size)[0].count_params()
                   for value in experiment.values}
            for side in experiment.training
        },
    }  # fmt: skip
    header = [f"side, {experiment.axis}", "target tokens/s", "least", "most", "peak MB"]
    timing.report(arguments, settings, results, header, rows)


# === Batches ===


def random_texts(count, longest):
    """Texts of 1 to `longest` words, from 500 words of three syllables."""
    random = np.random.default_rng(1)
    syllables = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
    words = ["".join(random.choice(syllables, 3)) for _ in range(500)]
    return [" ".join(random.choice(words, length)) for length in random.integers(1, longest, count, endpoint=True)]


def memory_over_batches(what, counts, batch_size, longest, vocabulary_size, size):
    """Resident memory of this process in MB after so many batches, a list as `counts`."""
    texts = random_texts(100 * batch_size, longest)
    pairs = [(text, " ".join(reversed(text.split()))) for text in texts]
    limits = {"max_source_length": 8 * longest, "max_target_length": 8 * longest}
    preprocessor = kerasseq.preprocessing.TextPreprocessor.from_pairs(pairs, vocabulary_size, **limits)
    sizes = preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size
    model = AttentionSeq2Seq(*sizes, cell="gru", embedding_dim=size, units=size)
    memory = {}

    def note(count):
        if count in counts:
            memory[count] = timing.process_memory("VmRSS")

    if what == "training":
        model.compile("adam", kerasseq.losses.MaskedCrossentropy())
        dataset = preprocessor.dataset(pairs, batch_size, shuffle=True).repeat()
        callback = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: note(batch + 1))
        model.fit(dataset, steps_per_epoch=max(counts), shuffle=False, verbose=0, callbacks=[callback])
    else:
        generator = kerasseq.TextGenerator(model, preprocessor, "greedy", max_length=TARGET_LENGTH)
        random = np.random.default_rng(2)
        for count in range(1, max(counts) + 1):
            cut = random.integers(1, longest, endpoint=True)  # So that batches differ in length.
            generator.generate([" ".join(text.split()[:cut]) for text in random.choice(texts, batch_size)])
            note(count)
    return [memory[count] for count in counts]


def measure_batches(_, arguments):
    quick = arguments.quick
    counts = (1, 10, 100, 400, 600) if quick else (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)
    batch_size, longest, vocabulary_size, size = (4, 6, 300, 8) if quick else (32, 60, 1_000, 128)
    settings = {"batch_size": batch_size, "longest_in_words": longest, "vocabulary_size": vocabulary_size}
    results, rows = {}, []
    for what in ("training", "generate"):
        progress(f"batches: memory of {what}, {max(counts):,} batches")
        memory = timing.in_fresh_process(memory_over_batches, what, counts, *settings.values(), size)
        results[what] = {f"{count}": megabytes for count, megabytes in zip(counts, memory, strict=True)}
        rows.append([what, *map(str, memory)])
    settings |= {"units": size, "embedding_dim": size, "max_length_of_generate": TARGET_LENGTH}
    timing.report(arguments, settings, results, ["MB after batches:", *(f"{count:,}" for count in counts)], rows)


# === Plots ===


def plot_growth(content):
    """Four panels: speed above memory, training beside decoding."""
    results, settings = content["results"], content["settings"]
    imports = results["imports alone"]["peak_memory_mb"]
    figure = Figure(figsize=(11.5, 7.5), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True)
    for (what, title), (speeds, memory) in zip(
        {"training": "Training", "decoding": "Greedy decoding"}.items(), axes.T, strict=True
    ):
        values = [int(value) for value in next(iter(results[what].values()))]
        for axis, key in ((speeds, "target_tokens_per_second"), (memory, "peak_memory_mb")):
            ends = {}
            for side, cells in results[what].items():
                numbers = [cell[key]["median"] if axis is speeds else cell[key] for cell in cells.values()]
                (line,) = axis.plot(values, numbers, "o-", markersize=4)
                ends[side] = values[-1], numbers[-1], line.get_color()
            if axis is memory:
                axis.axhline(imports, color="grey", linestyle=":")
                ends["imports alone"] = values[-1], imports, "grey"
            finish_axis(axis, values, log_y=axis is speeds)
            label_ends(axis, ends)
        speeds.set_title(f"{title}: speed", loc="left")
        memory.set_title(f"{title}: peak memory of the process", loc="left")
        memory.set_xlabel(settings["axis"])
        speeds.set_ylabel("target tokens a second")
        memory.set_ylabel("resident memory, MB")
    varied, _ = settings["axis"].split(",")
    figure.suptitle(
        f"Cost by {varied} ({settings['title']}, {settings['target_length']} target tokens, batches of "
        f"{settings['batch_size']}, {settings['units']} units, {content['environment']['cpus']} CPU cores)"
    )
    return figure


def plot_batches(content):
    """Memory over the number of batches, one line for training and one for generation."""
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axis = figure.subplots()
    ends = {}
    for name, memory in zip(("fit", "generate"), content["results"].values(), strict=True):
        counts = [int(count) for count in memory]
        numbers = list(memory.values())
        (line,) = axis.plot(counts, numbers, "o-", markersize=4)
        label = f"{name}: {memory['100']:,} MB after 100,\n{numbers[-1]:,} MB after {counts[-1]:,}"
        ends[label] = counts[-1], numbers[-1], line.get_color()
    finish_axis(axis, [1, 10, 100, counts[-1]], log_y=False)
    label_ends(axis, ends, gap=0.13)
    axis.set_xlabel("batches since the start of the process")
    axis.set_ylabel("resident memory, MB")
    settings = content["settings"]
    axis.set_title(
        f"Memory over batches of {settings['batch_size']} texts, 1 to {settings['longest_in_words']} words, shuffled"
    )
    return figure


def finish_axis(axis, ticks, log_y):
    """Logarithmic x with a label at each of `ticks`; y logarithmic, or from 0."""
    thousands = FuncFormatter(lambda value, _: f"{value:,.0f}")
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(FixedLocator(ticks))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(thousands)
    if log_y:
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_minor_locator(NullLocator())
    else:
        axis.set_ylim(0, 1.1 * axis.get_ylim()[1])
    axis.yaxis.set_major_formatter(thousands)
    axis.tick_params(labelbottom=True)
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)


def label_ends(axis, ends, gap=0.075):
    """Writes names to the right of the lines, none over another, and ties each to the end of its line.

    Args:
        ends: dict by name of x and y of the end of a line, and its colour.
        gap: float, the least distance of two names, as a share of the axis.
    """
    to_share = axis.transScale + axis.transLimits
    heights = {name: to_share.transform(end[:2])[1] for name, end in ends.items()}
    names = sorted(heights, key=heights.get)
    # Each far enough from the one below, and each far enough from the one above: the mean is both.
    up = itertools.accumulate(map(heights.get, names), lambda below, height: max(below + gap, height))
    down = list(itertools.accumulate(map(heights.get, names[::-1]), lambda above, height: min(above - gap, height)))
    placed = [(low + high) / 2 for low, high in zip(down[::-1], up, strict=True)]
    excess = max(0.0, placed[-1] - 0.97)
    for name, height in zip(names, placed, strict=True):
        x, y, color = ends[name]
        axis.annotate(
            name, (x, y), (1.06, height - excess), textcoords="axes fraction", color=color, fontsize=9, va="center",
            arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.6, "shrinkA": 1, "shrinkB": 3},
        )  # fmt: skip


def save(figure, path):
    """Writes a PNG file of few colours, which is small."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=90)
    Image.open(file).convert("RGB").quantize(48).save(path, optimize=True)
    print("Wrote", path)


# === Experiments ===

EXPERIMENTS = {
    "lengths": (measure_growth, plot_growth),
    "vocabularies": (measure_growth, plot_growth),
    "batches": (measure_batches, plot_batches),
}


def progress(text):
    print(text, file=sys.stderr, flush=True)


def main():
    options = {
        "experiments": {"nargs": "+", "choices": list(EXPERIMENTS), "default": list(EXPERIMENTS)},
        "plots": {"action": "store_true", "help": "only draws the plots of the JSON files"},
    }
    arguments = timing.parse_arguments(__file__, __doc__, **options)
    output = arguments.output
    for name in arguments.experiments:
        measure, plot = EXPERIMENTS[name]
        path = output and output.with_stem(f"{output.stem}_{name}")
        if not arguments.plots:
            measure(name, argparse.Namespace(**{**vars(arguments), "output": path}))
        if path:
            save(plot(json.loads(path.read_text(encoding="utf-8"))), path.with_suffix(".png"))


if __name__ == "__main__":
    main()
