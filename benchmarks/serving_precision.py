"""16 bits for serving on a CPU: what they save, what they cost. The released translator, on Tatoeba's validation split.

- Products in bfloat16: the graph rewriting that a model server does with `--mixed_precision=bfloat16` (its session's
  option `auto_mixed_precision_onednn_bfloat16`), against float32, turn by turn in one process.
- Weights stored in float16 or bfloat16 and cast to float32 when they are used: BLEU with rounded weights, the size of
  the weights, and the time of the casts, which every request would pay for.

    python benchmarks/serving_precision.py
"""

import functools
import random

import keras
import tensorflow as tf
import timing
from serving import TRANSLATOR

import kerasseq
from kerasseq.export import versions

MODES = {"float32": None, "bfloat16 products": "auto_mixed_precision_onednn_bfloat16"}


class Session:
    """A SavedModel in a session whose graph is rewritten as the mode says."""

    def __init__(self, folder, option):
        import tensorflow_text  # noqa: F401  For its operations.

        v1 = tf.compat.v1
        config = v1.ConfigProto()
        if option:
            from tensorflow.core.protobuf import rewriter_config_pb2

            setattr(config.graph_options.rewrite_options, option, rewriter_config_pb2.RewriterConfig.ON)
        self.session = v1.Session(graph=tf.Graph(), config=config)
        with self.session.graph.as_default():
            self.signatures = v1.saved_model.load(self.session, ["serve"], str(folder)).signature_def

    def run(self, signature, sources):
        signature = self.signatures[signature]
        texts = self.session.run(signature.outputs["text"].name, {signature.inputs["text"].name: sources})
        return [text.decode() for text in texts]

    def translate(self, signature, sources, batch_size):
        batches = [sources[start : start + batch_size] for start in range(0, len(sources), batch_size)]
        return [text for batch in batches for text in self.run(signature, batch)]


def casts_to_float32(weights):
    return [tf.cast(weight, tf.float32) for weight in weights]


def first_references(pairs, count):
    references = {}
    for source, target in pairs:
        references.setdefault(source, target)
    return list(references)[:count], list(references.values())[:count]


def main():
    arguments = timing.parse_arguments(__file__, __doc__)
    quick = arguments.quick
    _, validation, _ = kerasseq.datasets.load_anki("fra")
    validation = sorted(validation)
    random.Random(1).shuffle(validation)
    sources, references = first_references(validation, 40 if quick else 1_000)
    version = TRANSLATOR / str(max(versions(TRANSLATOR)))
    results, rows = {}, []

    # === Products ===
    sessions = {name: Session(version, option) for name, option in MODES.items()}
    for signature in ("greedy", "serving_default"):
        for batch_size in (1, 8, 32):
            some = sources[:32] if batch_size == 1 else sources[:96]
            sides = {
                name: functools.partial(session.translate, signature, some, batch_size)
                for name, session in sessions.items()
            }
            seconds = timing.alternate(sides, 2 if quick else 7)
            for name, values in seconds.items():
                speed = timing.summary(len(some) / value for value in values)
                speedup = timing.ratio(seconds["float32"], values)
                results[f"{signature}, {name}, batch {batch_size}"] = {
                    "sentences_per_second": speed,
                    "speedup": speedup,
                }
                rows.append([f"{signature}, {name}, batch {batch_size}", speed["median"], speedup["median"]])
    outputs = {name: session.translate("serving_default", sources, 64) for name, session in sessions.items()}
    for name, texts in outputs.items():
        same = sum(text == other for text, other in zip(texts, outputs["float32"], strict=True))
        bleu = kerasseq.evaluation.bleu(texts, references)["score"]
        results[f"{name}, validation"] = {"bleu": bleu, "same_texts": same}
        rows.append([f"{name}, BLEU, same texts", bleu, same])

    # === Weights ===
    generator = kerasseq.TextGenerator.load(version)
    exact = generator.model.get_weights()
    for dtype in ("float16", "bfloat16"):
        generator.model.set_weights(
            [keras.ops.convert_to_numpy(keras.ops.cast(keras.ops.cast(weight, dtype), "float32")) for weight in exact]
        )
        texts = generator.generate(sources)
        stored = [tf.Variable(tf.cast(weight, dtype)) for weight in exact]
        cast = tf.function(casts_to_float32)
        seconds = timing.alternate({"cast": lambda cast=cast, stored=stored: cast(stored)}, 50)["cast"]
        bleu = kerasseq.evaluation.bleu(texts, references)["score"]
        results[f"{dtype} weights"] = {
            "bleu": bleu,
            "same_texts": sum(text == other for text, other in zip(texts, outputs["float32"], strict=True)),
            "megabytes": sum(2 * weight.size for weight in exact) / 1e6,
            "megabytes_float32": sum(4 * weight.size for weight in exact) / 1e6,
            "cast_ms": timing.summary(1e3 * value for value in seconds)["median"],
        }
        rows.append([f"{dtype} weights, BLEU, ms of casts", bleu, results[f"{dtype} weights"]["cast_ms"]])
    settings = {"version": version.name, "sentences": len(sources)}
    timing.report(arguments, settings, results, ["", "sentences/s", "to float32"], rows)


if __name__ == "__main__":
    main()
