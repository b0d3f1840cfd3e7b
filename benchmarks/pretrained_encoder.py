"""A pretrained encoder for sentence compression: a pointer-generator over a BERT of KerasHub.

    python benchmarks/pretrained_encoder.py PRESET

`PRESET` is a name or a folder that `keras_hub.models.BertBackbone.from_preset` reads. The decoder is that of the
released summarizer with one layer. First the decoder alone learns, over the frozen encoder, then both. A run that was
cut off goes on at its last epoch. `--random` starts from random weights instead, for comparison. Sources and targets
share the vocabulary of the preset, so that tokens can be copied; outputs are in lower case where its tokenizer
lowercases, which token F1 ignores.
"""

import argparse
import functools
import json
import os
import pathlib
import platform

import keras_hub
from fitting import fit

import kerasseq
from kerasseq.search import BeamSampler, GreedySampler, LengthLimits, NoRepeatNGram

SEED = 1
SIZES = {"cell": "gru", "units": 192, "embedding_dim": 128, "attention": "location", "placement": "after"}
DROPOUT = 0.35
BATCH_SIZE = 32
FROZEN = {"epochs": 2, "learning_rate": 1.5e-3}
TUNED = {"epochs": 4, "learning_rate": 2e-4}
CONSTRAINTS = [LengthLimits(max_length_ratio=1.0), NoRepeatNGram(3)]
SAMPLERS = {"greedy": GreedySampler(CONSTRAINTS), "beam 5": BeamSampler(5, 1.0, "length", CONSTRAINTS)}


def build(preset, tokenizer, vocabulary_size, random):
    backbone = keras_hub.models.BertBackbone.from_preset(preset, load_weights=not random)
    # Random weights are of no use as they are.
    backbone.trainable = random
    encoder = kerasseq.encoders.from_backbone(backbone, tokenizer)
    decoder = kerasseq.decoders.RecurrentDecoder(
        vocabulary_size, dropout=DROPOUT, tie_embeddings=True, copy=True, **SIZES
    )
    losses = [
        kerasseq.layers.CoverageLoss(1.0, name="coverage_loss"),
        kerasseq.layers.ContentSelectionLoss(SIZES["units"], 2.0, name="content_selection_loss"),
    ]
    model = kerasseq.Seq2Seq(encoder, decoder, losses)
    decoder.pointer_generator.bias.assign([-3.0])  # Nearly all tokens are copied, so it begins there.
    return model


def unfreeze(model):
    model.encoder.trainable = True  # In a loaded model, the encoder is frozen and not its backbone alone.
    return model


def scores(generator, sampler, pairs):
    sources, targets = zip(*pairs, strict=True)
    outputs = generator.generate(sources, sampler)
    return {
        "token_f1": kerasseq.evaluation.token_f1(outputs, targets)["score"],
        "rouge": kerasseq.evaluation.rouge(outputs, targets),
        "compression_rate": kerasseq.evaluation.compression_rate(outputs, sources),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset")
    parser.add_argument("--random", action="store_true", help="random weights in the encoder")
    parser.add_argument("--quick", action="store_true", help="a few steps: shows that the script works")
    parser.add_argument("--output", type=pathlib.Path)
    parser.add_argument("--model", type=pathlib.Path, help="where to save the generator, a .keras file")
    arguments = parser.parse_args()
    train, validation, test = kerasseq.datasets.load_sentence_compression()
    if arguments.quick:
        train, validation, test = train[:320], validation[:32], test[:32]
    name = os.path.basename(arguments.preset.rstrip("/"))
    work = pathlib.Path("runs/pretrained_encoder_quick" if arguments.quick else "runs/pretrained_encoder")
    tokenizer = keras_hub.tokenizers.BertTokenizer.from_preset(arguments.preset)
    preprocessor = kerasseq.preprocessing.TextPreprocessor(tokenizer, max_source_length=128, max_target_length=64)
    vocabulary_size = preprocessor.target_vocabulary_size

    def make_data(shuffle):
        held_out = preprocessor.dataset(sorted(validation, key=lambda pair: len(pair[1])), 64)
        return preprocessor.dataset(train, BATCH_SIZE, shuffle=shuffle), held_out

    results = {
        "preset": name, "random": arguments.random, "seed": SEED, "machine": platform.processor() or platform.machine(),
        "sizes": SIZES, "frozen": FROZEN, "tuned": TUNED,
    }  # fmt: skip
    model = None
    first = functools.partial(build, arguments.preset, tokenizer, vocabulary_size, arguments.random)
    for stage, settings in (("frozen", FROZEN), ("tuned", TUNED)):
        begin = first if stage == "frozen" else functools.partial(unfreeze, model)
        epochs = 1 if arguments.quick else settings["epochs"]
        data_settings = [name, arguments.random, stage, len(train)]
        model, results[f"{stage}_minutes"] = fit(
            work, begin, make_data, epochs, settings["learning_rate"], SEED, data_settings, warmup=0.1,
            label_smoothing=0.0,
        )  # fmt: skip
        generator = kerasseq.TextGenerator(model, preprocessor, sampler=SAMPLERS["beam 5"], long_sources="cut")
        results[f"{stage}_validation"] = scores(generator, SAMPLERS["greedy"], validation)
        print(stage, results[f"{stage}_validation"], flush=True)
    results["parameters"] = model.count_params()
    if arguments.model is not None:
        generator.save(arguments.model)
    results["test"] = {name: scores(generator, sampler, test) for name, sampler in SAMPLERS.items()}
    print(json.dumps(results["test"], indent=1))
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
