"""What the systems on Keras 3 share: their threads, the clock of training by `fit`, and the order of measuring."""

import comparison
import keras
import numpy as np
import tensorflow as tf


class TrainingClock(keras.callbacks.Callback):
    """Tells a `comparison.StepClock` of every batch of `fit`.

    Args:
        clock: the `StepClock`.
        batches: data set of (inputs, labels) like that of `fit`, from whose labels the tokens are counted beforehand.
    """

    def __init__(self, clock, batches):
        super().__init__()
        self.clock = clock
        batches = batches.take(clock.settings.all_steps).as_numpy_iterator()
        self.tokens = [np.count_nonzero(labels) for _, labels in batches]

    def on_train_batch_end(self, batch, logs=None):
        float(logs["loss"])  # The step has ended.
        self.clock.step(self.tokens[batch])


def start():
    """Sets the threads and the seed."""
    tf.config.threading.set_intra_op_parallelism_threads(comparison.THREADS)
    tf.config.threading.set_inter_op_parallelism_threads(comparison.THREADS)
    keras.utils.set_random_seed(1)


def measure(arguments, model, weights_name, train, make_batches, make_decode):
    """Trains brief weights, or times training or a search: the result, a dict, and the outputs of a search.

    Args:
        arguments: those of `comparison.parse_arguments`.
        model: the model that `fit` trains.
        weights_name: str, the file of its brief weights.
        train: function of the model, the arguments, a number of steps and callbacks that returns Keras's history.
        make_batches: function of the arguments that returns the data set of `train`.
        make_decode: function without arguments that returns the one that `comparison.measure_search` takes.
    """
    settings = arguments.settings
    weights = comparison.weights_path(arguments, weights_name)
    if arguments.what == "weights":
        result = {"loss": train(model, arguments, settings.weight_steps).history["loss"][-1]}
        model.save_weights(weights)
        return result, None
    if arguments.what == "train":
        clock = comparison.StepClock(settings)
        train(model, arguments, settings.all_steps, [TrainingClock(clock, make_batches(arguments))])
        return clock.result(), None
    model.load_weights(weights)
    sources = comparison.read_ids(arguments, "test", comparison.LANGUAGES[0])
    return comparison.measure_search(arguments, sources, make_decode())
