"""OpenNMT-tf with its recurrent encoder and attentional decoder, through its own runner.

Its decoder always feeds the attention back, so the model is a little larger, and slower to train, than the others.

    python benchmarks/peers/system_opennmt_tf.py train
"""

import comparison
import opennmt
import tensorflow as tf
import tensorflow_addons as tfa
from opennmt import training
from opennmt.utils import checkpoint as checkpoints
from opennmt.utils.misc import extract_batches


class StateBridge(opennmt.layers.Bridge):
    """The encoder's states as the decoder's: those of both directions are concatenated before.

    `CopyBridge` refuses them, because one side is a list and the other a tuple.
    """

    def call(self, states):
        encoder_state, decoder_state = states
        return tf.nest.pack_sequence_as(decoder_state, tf.nest.flatten(encoder_state))


def build(settings):
    encoder = opennmt.encoders.LSTMEncoder(
        num_layers=1, num_units=settings.encoder_units, bidirectional=True, dropout=settings.dropout
    )
    decoder = opennmt.decoders.AttentionalRNNDecoder(
        num_layers=1,
        num_units=settings.decoder_units,
        bridge_class=StateBridge,
        attention_mechanism_class=tfa.seq2seq.LuongAttention,
        cell_class=tf.keras.layers.LSTMCell,
        dropout=settings.dropout,
    )
    inputters = [opennmt.inputters.WordEmbedder(embedding_size=settings.embedding_dim) for _ in range(2)]
    return opennmt.models.SequenceToSequence(*inputters, encoder, decoder)


def make_runner(arguments, folder, steps=None):
    """The runner of training and inference in a folder."""
    settings = arguments.settings
    vocabulary = folder / "vocabulary.txt"
    pieces = ["<blank>", "<s>", "</s>", *comparison.read_lines(arguments, "subwords.txt")]
    vocabulary.write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")
    source, target = (str(arguments.folder / "data" / f"train.{language}.pieces") for language in comparison.LANGUAGES)
    beam = arguments.what == "beam"
    config = {
        "model_dir": str(folder),
        "data": {
            "source_vocabulary": str(vocabulary), "target_vocabulary": str(vocabulary),
            "train_features_file": source, "train_labels_file": target,
        },
        "params": {
            "optimizer": "Adam", "optimizer_params": {"clipnorm": settings.gradient_norm},
            "learning_rate": settings.learning_rate, "label_smoothing": settings.label_smoothing,
            "average_loss_in_time": True, "beam_width": settings.beam_width if beam else 1,
            "length_penalty": 1.0 if beam else 0.0, "maximum_decoding_length": settings.max_length,
        },
        "train": {
            "batch_size": settings.batch_size, "batch_type": "examples", "length_bucket_width": 3, "max_step": steps,
            "sample_buffer_size": 30_000, "save_checkpoints_steps": 10**9, "keep_checkpoint_max": 1,
        },
    }  # fmt: skip
    return opennmt.Runner(build(settings), config, auto_config=False, seed=1)


class CountedBatches:
    """A data set that counts the target tokens, END included, of the batch that it gave last."""

    def __init__(self, dataset):
        self.dataset, self.element_spec = dataset, dataset.element_spec

    def __iter__(self):
        for batch in self.dataset:
            self.tokens = int(tf.reduce_sum(batch[1]["length"]))
            yield batch


def train(arguments, runner, clock=None):
    """Trains, and returns the number of parameters."""
    parameters = []

    class ClockedTrainer(training.Trainer):
        def _finalize_dataset(self, dataset):
            self.batches = CountedBatches(super()._finalize_dataset(dataset))
            return self.batches

        def _steps(self, dataset, accum_steps=1):
            for loss in super()._steps(dataset, accum_steps):
                if clock is not None:
                    clock.step(self.batches.tokens)
                if not parameters:
                    parameters.append(self._model.count_params())
                yield loss

    training.Trainer = ClockedTrainer
    runner.train()
    return parameters[0]


def make_decoder(arguments, runner, folder):
    """A function of lists of subwords that returns outputs; its search, as `TimedCalls`; and the parameters."""
    config = runner._finalize_config()
    model = runner._init_model(config)
    checkpoints.Checkpoint.from_config(config, model).restore(weights_only=True)
    batch_size = 1 if arguments.what == "latency" else arguments.settings.batch_size
    path = folder / f"{arguments.what}.pieces"

    def make_dataset(sources):
        path.write_text("".join(f"{' '.join(source)}\n" for source in sources), encoding="utf-8")
        return model.examples_inputter.make_inference_dataset(str(path), batch_size, batch_type="examples")

    signature = make_dataset([["a"]]).element_spec
    infer = tf.function(model.infer, input_signature=[signature])
    search = comparison.TimedCalls(lambda batch: tf.nest.map_structure(lambda tensor: tensor.numpy(), infer(batch)))

    def decode(sources):
        outputs = []
        for batch in make_dataset(sources):
            for output in extract_batches(search(batch)):
                outputs.append([piece.decode() for piece in output["tokens"][0][: output["length"][0]]])
        return outputs

    return decode, search, model


def main():
    arguments = comparison.parse_arguments(__doc__)
    settings = arguments.settings
    tf.config.threading.set_intra_op_parallelism_threads(comparison.THREADS)
    tf.config.threading.set_inter_op_parallelism_threads(comparison.THREADS)
    weights = comparison.weights_path(arguments, "opennmt_tf")
    outputs = None
    if arguments.what == "weights":
        folder = comparison.fresh_folder(arguments, "opennmt_tf")
        parameters = train(arguments, make_runner(arguments, folder, settings.weight_steps))
        folder.rename(weights)
        result = {}
    elif arguments.what == "train":
        folder, clock = comparison.fresh_folder(arguments, "opennmt_tf"), comparison.StepClock(settings)
        parameters = train(arguments, make_runner(arguments, folder, settings.all_steps), clock)
        result = clock.result()
    else:
        decode, search, model = make_decoder(arguments, make_runner(arguments, weights), weights)
        result, outputs = comparison.measure_toolkit(arguments, decode, search)
        parameters = model.count_params()
    versions = {"OpenNMT-tf": opennmt.__version__, "tensorflow": tf.__version__, "tensorflow-addons": tfa.__version__}
    comparison.print_result("opennmt_tf", arguments, versions, parameters, result, outputs)


if __name__ == "__main__":
    main()
