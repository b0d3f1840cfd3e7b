"""The clock of training by `fit`, for the systems on Keras 3."""

import keras
import numpy as np


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
