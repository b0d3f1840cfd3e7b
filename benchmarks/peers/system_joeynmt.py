"""JoeyNMT with its recurrent model, through its own training loop and prediction.

Input feeding is off: attention follows the recurrence, as in the other systems. JoeyNMT runs its decoder step by step
even so, in training, too.

    python benchmarks/peers/system_joeynmt.py train
"""

import functools
import math
import shutil

import comparison
import joeynmt
import torch
from joeynmt import prediction, training
from joeynmt.config import parse_global_args


def make_config(arguments, folder, updates=1, weights=None, decay=1.0, save_every=10**9):
    """The configuration of a run."""
    settings, source, target = arguments.settings, *comparison.LANGUAGES
    data, dropout = arguments.folder / "data", settings.dropout
    # JoeyNMT finds files by the language at their end.
    paths = {}
    for name, split in (("train", "train"), ("dev", "validation"), ("test", "test")):
        paths[name] = str(folder / split)
        for language in comparison.LANGUAGES:
            shutil.copy(data / f"{split}.{language}.pieces", folder / f"{split}.{language}")

    def side(language):
        return {
            "lang": language, "level": "word", "lowercase": False, "normalize": False, "max_length": 200,
            "voc_file": str(data / "subwords.txt"),
        }  # fmt: skip

    embeddings = {"embedding_dim": settings.embedding_dim, "scale": False, "dropout": dropout}
    return {
        "name": "peers", "joeynmt_version": joeynmt.__version__, "model_dir": str(folder / "model"), "use_cuda": False,
        "fp16": False, "random_seed": 1, "num_workers": 0,
        "data": {
            **paths, "dataset_type": "plain", "src": side(source), "trg": side(target),
            "special_symbols": {
                "unk_token": "<unk>", "unk_id": 0, "pad_token": "<pad>", "pad_id": 1, "bos_token": "<s>", "bos_id": 2,
                "eos_token": "</s>", "eos_id": 3,
            },
        },
        "testing": {
            "batch_size": 1 if arguments.what == "latency" else settings.batch_size, "batch_type": "sentence",
            "max_output_length": settings.max_length, "eval_metrics": [],
            "beam_size": settings.beam_width if arguments.what in ("beam", "learn") else 1,
            "beam_alpha": 1.0,
            **({} if weights is None else {"load_model": str(weights)}),
        },
        "training": {
            "optimizer": "adam", "learning_rate": settings.learning_rate, "learning_rate_min": 1e-9,
            "scheduling": "exponential", "decrease_factor": decay, "clip_grad_norm": settings.gradient_norm,
            "label_smoothing": settings.label_smoothing, "normalization": "tokens", "batch_size": settings.batch_size,
            "batch_type": "sentence", "batch_multiplier": 1, "shuffle": True, "epochs": 1_000, "updates": updates,
            "validation_freq": save_every, "logging_freq": save_every // 2, "keep_best_ckpts": -1,
        },
        "model": {
            "tied_embeddings": False, "tied_softmax": False,
            "encoder": {
                "type": "recurrent", "rnn_type": "lstm", "hidden_size": settings.encoder_units, "num_layers": 1,
                "bidirectional": True, "dropout": dropout, "embeddings": embeddings,
            },
            "decoder": {
                "type": "recurrent", "rnn_type": "lstm", "hidden_size": settings.decoder_units, "num_layers": 1,
                "attention": "luong", "input_feeding": False, "init_hidden": "last", "dropout": dropout,
                "hidden_dropout": dropout, "embeddings": embeddings,
            },
        },
    }  # fmt: skip


def train(arguments, folder, updates, clock=None, **options):
    """Trains for some updates; returns the file of weights and the number of parameters."""
    managers = []

    class ClockedTrainManager(training.TrainManager):
        tokens = None

        def _train_step(self, batch):
            # The update of a batch has ended when the next batch begins.
            if clock is not None and self.tokens is not None:
                clock.step(self.tokens)
            if not managers:
                managers.append(self)
            self.tokens = batch.ntokens
            return super()._train_step(batch)

        def _validate(self, data):
            save = functools.partial(self._save_checkpoint, new_best=False, score=math.nan)
            clock.uncounted(save)()

    training.TrainManager = ClockedTrainManager
    config = make_config(arguments, folder, updates, **options)
    training.train(rank=0, world_size=0, cfg=config, skip_test=True)
    return folder / "model" / f"{updates}.ckpt", count_parameters(managers[0].model)


def make_predict(arguments, folder, weights):
    """A function of lists of subwords that returns their translations, and the number of parameters."""
    run = parse_global_args(make_config(arguments, folder, weights=weights), rank=0, mode="test")
    model, _, _, data = prediction.prepare(run, rank=0, mode="test")
    data.has_trg = False

    def predict(sources):
        texts = [" ".join(source) for source in sources]
        data.data = {comparison.LANGUAGES[0]: texts, comparison.LANGUAGES[1]: []}
        data.reset_indices()
        *_, outputs, _, _ = prediction.predict(
            model, data, device=run.device, n_gpu=0, args=run.test, autocast=run.autocast
        )
        return [[piece for piece in output if piece != "</s>"] for output in outputs]

    return predict, count_parameters(model)


def versions():
    return {"JoeyNMT": joeynmt.__version__, "torch": torch.__version__}


def count_parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def learn(arguments):
    """Learns with the model of the comparison, and its rate, which falls after each epoch.

    Returns minutes and BLEU, see `comparison.measure_learning`, and the number of parameters.
    """
    settings, steps = arguments.settings, comparison.steps_per_epoch(arguments)
    sources = comparison.read_pieces(arguments, "validation", comparison.LANGUAGES[0])

    def train_epochs(folder, clock):
        (folder / "model").mkdir()
        train(arguments, folder, steps * settings.epochs + 1, clock, decay=settings.decay, save_every=steps)

    def translate_validation(folder, epoch):
        predict, count = make_predict(arguments, folder, folder / "model" / f"{epoch * steps}.ckpt")
        parameters.append(count)
        return comparison.texts_of(arguments, predict(sources))

    parameters = []
    return comparison.measure_learning(
        arguments, "joeynmt", versions(), train_epochs, translate_validation
    ), parameters[0]


def fresh_folder(arguments):
    folder = comparison.fresh_folder(arguments, "joeynmt")
    (folder / "model").mkdir()
    return folder


def main():
    arguments = comparison.parse_arguments(__doc__)
    settings = arguments.settings
    torch.set_num_threads(comparison.THREADS)
    weights = comparison.weights_path(arguments, "joeynmt.pt")
    outputs = None
    if arguments.what == "learn":
        result, parameters = learn(arguments)
    elif arguments.what == "weights":
        trained, parameters = train(arguments, fresh_folder(arguments), settings.weight_steps)
        trained.replace(weights)
        result = {}
    elif arguments.what == "train":
        clock = comparison.StepClock(settings)
        _, parameters = train(arguments, fresh_folder(arguments), settings.all_steps + 1, clock)
        result = clock.result()
    else:
        predict, parameters = make_predict(arguments, fresh_folder(arguments), weights)
        search = prediction.search = comparison.TimedCalls(prediction.search)
        result, outputs = comparison.measure_toolkit(arguments, predict, search)
    comparison.print_result("joeynmt", arguments, versions(), parameters, result, outputs)


if __name__ == "__main__":
    main()
