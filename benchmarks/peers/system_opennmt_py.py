"""OpenNMT-py with its recurrent encoder and decoder, through its own training and inference.

Input feeding, its default, is off: attention follows the recurrence, as in the other systems.

    python benchmarks/peers/system_opennmt_py.py train
"""

import functools
import importlib.util
import json
import sys
import types
import warnings

import comparison
import torch

# Imported by transforms that this does not use.
for absent in ("spacy", "fasttext"):
    if importlib.util.find_spec(absent) is None:
        sys.modules[absent] = types.ModuleType(absent)
warnings.filterwarnings("ignore")

import onmt  # noqa: E402
from onmt import train_single, trainer  # noqa: E402
from onmt.bin import train as training  # noqa: E402
from onmt.bin import translate  # noqa: E402
from onmt.inference_engine import InferenceEnginePY  # noqa: E402
from onmt.utils.parse import ArgumentParser  # noqa: E402


def training_options(arguments, folder, steps):
    """The configuration of a training run."""
    settings = arguments.settings
    vocabulary = folder / "vocabulary.txt"
    pieces = comparison.read_lines(arguments, "subwords.txt")
    vocabulary.write_text("".join(f"{piece}\t1\n" for piece in pieces), encoding="utf-8")
    source, target = (str(arguments.folder / "data" / f"train.{language}.pieces") for language in comparison.LANGUAGES)
    return {
        # === Data ===
        "data": {"train": {"path_src": source, "path_tgt": target, "transforms": []}},
        "save_data": str(folder), "src_vocab": str(vocabulary), "tgt_vocab": str(vocabulary),
        "src_vocab_size": settings.vocabulary_size, "tgt_vocab_size": settings.vocabulary_size,
        "batch_size": settings.batch_size, "batch_type": "sents", "num_workers": 0,
        "bucket_size": comparison.BATCHES_PER_POOL * settings.batch_size,
        # === Model ===
        "encoder_type": "brnn", "decoder_type": "rnn", "rnn_type": "LSTM", "layers": 1,
        "hidden_size": settings.decoder_units, "word_vec_size": settings.embedding_dim,
        "global_attention": "general", "input_feed": 0, "dropout": [settings.dropout],
        # === Training ===
        "optim": "adam", "learning_rate": settings.learning_rate, "max_grad_norm": settings.gradient_norm,
        "label_smoothing": settings.label_smoothing, "normalization": "tokens", "train_steps": steps,
        "save_model": str(folder / "model"), "save_checkpoint_steps": steps, "valid_steps": 10**9,
        "report_every": 50, "seed": 1, "world_size": 1,
    }  # fmt: skip


def train(arguments, folder, steps, clock=None, **options):
    """Trains for some steps; returns the file of weights and the number of parameters."""
    config = folder / "config.yaml"
    config.write_text(json.dumps(training_options(arguments, folder, steps) | options))  # JSON is YAML.
    parameters = []
    build_trainer, accumulate = train_single.build_trainer, trainer.Trainer._gradient_accumulation

    def counting_build_trainer(options, device_id, model, *others, **named):
        parameters.append(sum(parameter.numel() for parameter in model.parameters()))
        return build_trainer(options, device_id, model, *others, **named)

    def clocked_accumulate(self, batches, *others):
        result = accumulate(self, batches, *others)  # A whole step: nothing is accumulated over several batches.
        clock.step(sum((batch["tgt"][:, 1:, 0] != self.train_loss.padding_idx).sum() for batch in batches))
        return result

    train_single.build_trainer = counting_build_trainer
    if clock is not None:
        trainer.Trainer._gradient_accumulation = clocked_accumulate
    options, _ = training._get_parser().parse_known_args(["-config", str(config)])
    training.train(options)
    return folder / f"model_step_{steps}.pt", parameters[0]


def learn(arguments):
    """Learns with the model of the comparison, and its rate, which falls after each epoch.

    Returns minutes and BLEU, see `comparison.measure_learning`, and the number of parameters.
    """
    steps = comparison.steps_per_epoch(arguments)
    sources = [" ".join(pieces) for pieces in comparison.read_pieces(arguments, "validation", comparison.LANGUAGES[0])]

    def train_epochs(folder, clock):
        every = {"start_decay_steps": steps, "decay_steps": steps, "save_checkpoint_steps": steps}
        decay = {"learning_rate_decay": arguments.settings.decay, "keep_checkpoint": -1}
        train(arguments, folder, steps * arguments.settings.epochs, clock, **every, **decay)

    def translate_validation(folder, epoch):
        engine = make_translator(arguments, folder / f"model_step_{epoch * steps}.pt")
        parameters.append(count_parameters(engine))
        _, outputs = engine.infer_list(sources)
        return comparison.texts_of(arguments, [best[0].split() for best in outputs])

    parameters = []
    result = comparison.measure_learning(arguments, "opennmt_py", versions(), train_epochs, translate_validation)
    return result, parameters[0]


def make_translator(arguments, weights):
    """The inference engine of `onmt_translate`, with hypotheses compared by mean log-probability."""
    settings, latency = arguments.settings, arguments.what == "latency"
    beam_width = settings.beam_width if arguments.what in ("beam", "learn") else 1
    options = translate._get_parser().parse_args(
        [
            "-model", str(weights), "-src", "", "-gpu", "-1", "-batch_type", "sents",
            "-beam_size", str(beam_width), "-length_penalty", "avg",
            "-batch_size", str(1 if latency else settings.batch_size), "-max_length", str(settings.max_length),
        ]
    )  # fmt: skip
    ArgumentParser.validate_translate_opts(options)
    ArgumentParser._get_all_transform_translate(options)
    ArgumentParser._validate_transforms_opts(options)
    ArgumentParser.validate_translate_opts_dynamic(options)
    return InferenceEnginePY(options)


def versions():
    return {"OpenNMT-py": onmt.__version__, "torch": torch.__version__}


def count_parameters(engine):
    return sum(parameter.numel() for parameter in engine.translator.model.parameters())


def main():
    arguments = comparison.parse_arguments(__doc__)
    settings = arguments.settings
    torch.set_num_threads(comparison.THREADS)
    weights = comparison.weights_path(arguments, "opennmt_py.pt")
    # Since 2.6, PyTorch refuses to load the options of OpenNMT-py unless told otherwise.
    torch.load = functools.partial(torch.load, weights_only=False)
    outputs = None
    if arguments.what == "learn":
        result, parameters = learn(arguments)
    elif arguments.what == "weights":
        trained, parameters = train(arguments, comparison.fresh_folder(arguments, "opennmt_py"), settings.weight_steps)
        trained.replace(weights)
        result = {}
    elif arguments.what == "train":
        clock = comparison.StepClock(settings)
        folder = comparison.fresh_folder(arguments, "opennmt_py")
        _, parameters = train(arguments, folder, settings.all_steps, clock)
        result = clock.result()
    else:
        engine = make_translator(arguments, weights)
        parameters = count_parameters(engine)
        search = engine.translator.translate_batch = comparison.TimedCalls(engine.translator.translate_batch)

        def decode(sources):
            _, outputs = engine.infer_list([" ".join(source) for source in sources])
            return [best[0].split() for best in outputs]

        result, outputs = comparison.measure_toolkit(arguments, decode, search)
    comparison.print_result("opennmt_py", arguments, versions(), parameters, result, outputs)


if __name__ == "__main__":
    main()
