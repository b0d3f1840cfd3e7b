"""A training that is killed goes on at its last finished epoch, as if nothing had happened."""

import json
import os
import signal
import subprocess
import sys

import pytest

EPOCHS = 4

SCRIPT = """
import json, os, signal, sys
import keras, kerasseq

folder, kill_at = sys.argv[1], int(sys.argv[2])
pairs = [(" ".join("abcd"[i] for i in (n % 4, n % 3)), "xyz"[n % 3] * (1 + n % 4)) for n in range(24)]
preprocessor = kerasseq.preprocessing.TextPreprocessor.from_pairs(pairs, vocabulary_size=270)
keras.utils.set_random_seed(1)
model = kerasseq.models.AttentionSeq2Seq(
    preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size, units=12, embedding_dim=8, dropout=0.3)
schedule = keras.optimizers.schedules.CosineDecay(0.02, 24)
model.compile(keras.optimizers.Adam(schedule, use_ema=True, ema_momentum=0.9), kerasseq.losses.MaskedCrossentropy())
shuffle = kerasseq.preprocessing.EpochShuffle(seed=1)
batches = preprocessor.dataset(pairs, batch_size=4, shuffle=shuffle)

class Kill(keras.callbacks.Callback):
    batches = 0
    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1
        if self.batches == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
    def on_epoch_end(self, epoch, logs=None):
        with open(f"{folder}/losses", "a") as file:
            averages = float(sum(keras.ops.sum(keras.ops.abs(weight)) for weight in model.trainable_weights))
            print(json.dumps([epoch, logs["loss"], averages]), file=file)

backup = keras.callbacks.BackupAndRestore(f"{folder}/backup")
swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
model.fit(batches, epochs=EPOCHS, shuffle=False, verbose=0, callbacks=[shuffle, backup, swap, Kill()])
""".replace("EPOCHS", str(EPOCHS))


def train(folder, kill_at=0):
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    command = [sys.executable, "-c", SCRIPT, str(folder), str(kill_at)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)


def losses(folder):
    return [json.loads(line) for line in (folder / "losses").read_text().splitlines()]


@pytest.mark.exports
def test_a_killed_run_goes_on_at_its_last_epoch(tmp_path):
    """Dropout, the order of the batches, the schedule and the optimizer's averages all go on where they were."""
    whole = train(tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    # In the middle of the second epoch, each of which has 6 batches.
    assert train(tmp_path / "killed", kill_at=9).returncode == -signal.SIGKILL
    assert train(tmp_path / "killed").returncode == 0
    expected, found = losses(tmp_path / "whole"), losses(tmp_path / "killed")
    assert [epoch for epoch, _, _ in found] == [epoch for epoch, _, _ in expected] == list(range(EPOCHS))
    for (_, loss, averages), (_, other_loss, other_averages) in zip(expected, found, strict=True):
        assert loss == pytest.approx(other_loss, abs=1e-4) and averages == pytest.approx(other_averages, rel=1e-5)
    assert expected[0][2] != pytest.approx(expected[-1][2], rel=1e-3)
