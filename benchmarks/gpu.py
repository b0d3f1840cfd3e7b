"""Training and decoding on a GPU: recurrent models and Transformers, TensorFlow and JAX, float32 and bfloat16.

The recurrent model that `peers` measures, twice as wide (embeddings 512, both directions of 512, 1,024 in the decoder),
and a Transformer of 512 units and three layers a side, 8,000 tokens, batches of 128 pairs of 24 to 32 random tokens;
beside them the same LSTM in `keras.layers` by hand, and in PyTorch if torch is installed. Real target tokens a second
over the second epoch of 40 steps. Greedy search and a beam of 5, on TensorFlow: END is ruled out, so all sequences have
32 tokens. Each backend is a process of its own; the whole takes less than six minutes, and cases for which no time is
left are named.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --quick        # tiny, also without a GPU
"""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "peers"))

import comparison  # noqa: E402  The settings of the models that `peers` measures.

LIMIT = 330  # seconds
BACKENDS = ("tensorflow", "jax", "pytorch")
MODELS = ("lstm", "gru", "ssru", "transformer", "keras.layers")
POLICIES = ("float32", "mixed_bfloat16")
SETTINGS = dataclasses.replace(
    comparison.FULL, vocabulary_size=8_000, embedding_dim=512, encoder_units=512, decoder_units=1_024, batch_size=128,
    max_length=32, timed_steps=40,
)  # fmt: skip
ROUNDS = 3  # of decoding


# === In the process of a backend ===


def random_batch(settings):
    """Source ids, START and target, target and END, int32 `(batch, length)`, and the number of target tokens."""
    import numpy as np

    random = np.random.default_rng(1)
    shape = rows, longest = settings.batch_size, settings.max_length
    real = np.arange(longest) < random.integers(3 * longest // 4, longest + 1, size=(rows, 1))
    source, target = (np.where(real, random.integers(4, settings.vocabulary_size, size=shape), 0) for _ in range(2))
    shifted = np.concatenate([np.full((rows, 1), comparison.START_ID), target[:, :-1]], axis=1)
    return *(ids.astype("int32") for ids in (source, np.where(real, shifted, 0), target)), int(real.sum())


def build(name, settings):
    import kerasseq

    if name == "transformer":
        sizes = (settings.vocabulary_size,) * 2
        units = settings.embedding_dim
        return kerasseq.models.TransformerSeq2Seq(*sizes, units=units, num_layers=3, dropout=settings.dropout)
    if name == "keras.layers":
        import system_keras

        return system_keras.build(settings)[0]
    import system_kerasseq

    return system_kerasseq.build(settings, name)


def training_speed(name, settings):
    """Real target tokens a second, and the parameters."""
    import keras
    import system_keras
    import tensorflow as tf

    import kerasseq

    class Clock(keras.callbacks.Callback):
        """The seconds of the last epoch, at whose end Keras has waited for the loss."""

        def on_epoch_begin(self, epoch, logs=None):
            self.begin = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            self.seconds = time.perf_counter() - self.begin

    source, shifted, target, tokens = random_batch(settings)
    inputs = {"encoder_token_ids": source, "decoder_token_ids": shifted}
    loss = kerasseq.losses.MaskedCrossentropy(settings.label_smoothing)
    adam = kerasseq.optimizers.Adam
    if name == "keras.layers":
        inputs, loss = (source, shifted), system_keras.smoothed_crossentropy(settings.label_smoothing)
        adam = keras.optimizers.Adam
    model = build(name, settings)
    model.compile(adam(settings.learning_rate, clipnorm=settings.gradient_norm), loss)
    data, clock = tf.data.Dataset.from_tensors((inputs, target)).repeat(), Clock()
    model.fit(data, epochs=2, steps_per_epoch=settings.timed_steps, shuffle=False, verbose=0, callbacks=[clock])
    speed = tokens * settings.timed_steps / clock.seconds
    return {"tokens_per_second": speed, "parameters": model.count_params()}


def decoding_speed(name, settings):
    """Sentences a second by greedy search and by a beam of 5."""
    import tensorflow as tf

    import kerasseq

    model = build(name, settings)
    source, results = tf.constant(random_batch(settings)[0]), {}
    # Outputs go on to the limit.
    endless = [kerasseq.search.SuppressTokens([comparison.END_ID])]
    samplers = {
        "greedy": kerasseq.search.GreedySampler(endless),
        "beam": kerasseq.search.BeamSampler(constraints=endless),
    }
    for search, sampler in samplers.items():

        @tf.function(autograph=False)
        def decode(ids, sampler=sampler):
            context = model.encode({"encoder_token_ids": ids})
            request = kerasseq.search.Request(tf.shape(ids)[0], settings.max_length)
            return kerasseq.search.decode(model, context, sampler, request, num_hypotheses=1)["token_ids"]

        decode(source).numpy()
        begin = time.perf_counter()
        for _ in range(ROUNDS):
            decode(source).numpy()
        results[f"{search}_per_second"] = ROUNDS * settings.batch_size / (time.perf_counter() - begin)
    return results


def torch_speed(policy, settings):
    """The same as `training_speed`, for PyTorch."""
    import torch
    from system_pytorch import Translator

    device = "cuda" if torch.cuda.is_available() else "cpu"
    *ids, tokens = random_batch(settings)
    source, shifted, target = (torch.tensor(part, dtype=torch.long, device=device) for part in ids)
    model = Translator(settings).to(device)
    optimizer = torch.optim.Adam(model.parameters(), settings.learning_rate)
    loss_of = torch.nn.CrossEntropyLoss(ignore_index=comparison.PADDING_ID, label_smoothing=settings.label_smoothing)
    seconds = 0.0
    for _ in range(2):
        begin = time.perf_counter()
        for _ in range(settings.timed_steps):
            with torch.autocast(device, dtype=torch.bfloat16, enabled=policy != "float32"):
                loss = loss_of(model(source, shifted).flatten(0, 1), target.flatten())
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings.gradient_norm)
            optimizer.step()
        loss.item()  # waits
        seconds = time.perf_counter() - begin
    parameters = sum(part.numel() for part in model.parameters())
    return {"tokens_per_second": tokens * settings.timed_steps / seconds, "parameters": parameters, "device": device}


def run_backend(backend, settings, end):
    """Prints a line of JSON for each case that is begun before the time `end`."""

    def report(case, function, *arguments):
        result = {"skipped": "no time left"}
        if time.time() < end:
            try:
                result = function(*arguments)
            except Exception as error:  # The other cases go on.
                result = {"failed": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps({"case": case, **result}), flush=True)

    if backend == "pytorch":
        for policy in POLICIES:
            report(["training", "PyTorch, LSTM", policy], torch_speed, policy, settings)
        return
    import keras
    import tensorflow as tf

    if backend == "jax":
        tf.config.set_visible_devices([], "GPU")  # It makes the batches alone.
    print(json.dumps({"case": ["devices", ", ".join(map(str, keras.distribution.list_devices())), ""]}), flush=True)
    for policy in POLICIES:
        keras.config.set_dtype_policy(policy)
        for name in MODELS:
            report(["training", name, policy], training_speed, name, settings)
        if backend == "tensorflow":
            for name in MODELS[:-1]:
                report(["decoding", name, policy], decoding_speed, name, settings)


# === All of them ===


def main():
    import timing

    options = {"backend": {"choices": BACKENDS, "help": "this one alone, in this process"}, "end": {"type": float}}
    arguments = timing.parse_arguments(__file__, __doc__, **options)
    settings = dataclasses.replace(comparison.QUICK, batch_size=4) if arguments.quick else SETTINGS
    if arguments.backend:
        run_backend(arguments.backend, settings, arguments.end)
        return
    end, results, rows = time.time() + LIMIT, {}, []
    for backend in BACKENDS:
        command = [sys.executable, __file__, "--backend", backend, "--end", str(end), *["--quick"] * arguments.quick]
        environment = {**os.environ, "KERAS_BACKEND": "tensorflow" if backend == "pytorch" else backend}
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                if not line.startswith('{"case"'):
                    continue
                result = json.loads(line)
                what, name, policy = result.pop("case")
                results[" ".join([backend, what, name, policy])] = result
                print(backend, what, name, policy, result, flush=True)
                if "tokens_per_second" in result:
                    rows.append([backend, name, policy, f"{result['tokens_per_second']:,.0f}"])
        if process.returncode:
            results[backend] = {"failed": "see the messages above"}
    timing.report(arguments, dataclasses.asdict(settings), results, ["backend", "model", "policy", "tokens/s"], rows)
    if failures := [name for name, result in results.items() if "failed" in result]:
        raise SystemExit(f"Failed: {', '.join(failures)}.")


if __name__ == "__main__":
    main()
