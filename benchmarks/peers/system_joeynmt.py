"""JoeyNMT with its recurrent model, through its own training loop and prediction.

Input feeding is off: attention follows the recurrence, as in the other systems. JoeyNMT runs its decoder step by step
even so, in training, too.

    python benchmarks/peers/system_joeynmt.py train
"""

import shutil

import comparison
import joeynmt
import torch
from joeynmt import prediction, training
from joeynmt.config import parse_global_args


def make_config(arguments, folder, updates=1, weights=None):
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
            "beam_size": settings.beam_width if arguments.what == "beam" else 1,
            "beam_alpha": 1.0,
            **({} if weights is None else {"load_model": str(weights)}),
        },
        "training": {
            "optimizer": "adam", "learning_rate": settings.learning_rate, "learning_rate_min": 1e-9,
            "scheduling": "exponential", "decrease_factor": 1.0, "clip_grad_norm": settings.gradient_norm,
            "label_smoothing": settings.label_smoothing, "normalization": "tokens", "batch_size": settings.batch_size,
            "batch_type": "sentence", "batch_multiplier": 1, "shuffle": True, "epochs": 1_000, "updates": updates,
            "validation_freq": 10**9, "logging_freq": 100, "keep_best_ckpts": 1,
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


def train(arguments, updates, clock=None):
    """Trains for some updates; returns the file of weights and the number of parameters."""
    folder = comparison.fresh_folder(arguments, "joeynmt")
    (folder / "model").mkdir()
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

    training.TrainManager = ClockedTrainManager
    config = make_config(arguments, folder, updates)
    training.train(rank=0, world_size=0, cfg=config, skip_test=True)
    parameters = sum(parameter.numel() for parameter in managers[0].model.parameters())
    return folder / "model" / f"{updates}.ckpt", parameters


def main():
    arguments = comparison.parse_arguments(__doc__)
    settings = arguments.settings
    torch.set_num_threads(comparison.THREADS)
    weights = comparison.weights_path(arguments, "joeynmt.pt")
    outputs = None
    if arguments.what == "weights":
        trained, parameters = train(arguments, settings.weight_steps)
        trained.replace(weights)
        result = {}
    elif arguments.what == "train":
        clock = comparison.StepClock(settings)
        _, parameters = train(arguments, settings.all_steps + 1, clock)
        result = clock.result()
    else:
        folder = comparison.fresh_folder(arguments, "joeynmt")
        (folder / "model").mkdir()
        run = parse_global_args(make_config(arguments, folder, weights=weights), rank=0, mode="test")
        model, _, _, test = prediction.prepare(run, rank=0, mode="test")
        parameters = sum(parameter.numel() for parameter in model.parameters())
        search = prediction.search = comparison.TimedCalls(prediction.search)
        test.has_trg = False

        def decode(sources):
            texts = [" ".join(source) for source in sources]
            test.data = {comparison.LANGUAGES[0]: texts, comparison.LANGUAGES[1]: []}
            test.reset_indices()
            *_, outputs, _, _ = prediction.predict(
                model, test, device=run.device, n_gpu=0, args=run.test, autocast=run.autocast
            )
            return [[piece for piece in output if piece != "</s>"] for output in outputs]

        result, outputs = comparison.measure_toolkit(arguments, decode, search)
    versions = {"JoeyNMT": joeynmt.__version__, "torch": torch.__version__}
    comparison.print_result("joeynmt", arguments, versions, parameters, result, outputs)


if __name__ == "__main__":
    main()
