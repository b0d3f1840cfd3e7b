# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # 6. Serve it
#
# A model in a notebook helps one person. A **server** keeps it in memory and answers requests over the network, and it
# can load the next version next to the current one.
#
# TensorFlow Serving is such a server. It knows nothing about Python or Keras: it runs graphs. This tutorial trains a
# small model, inspects the export, queries it the way the server does, measures the cost of a request, and rolls a new
# version forward and back.

# %% tags=["parameters"]
NUM_DATES = 20_000
UNITS = 64
EPOCHS = 2  # for the first version, and as many more for the second
REPEATS = 20  # timed requests per size
SEED = 1

# %%
import collections
import http.server
import json
import os
import pathlib
import random
import re
import shutil
import tempfile
import threading
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # Hides the message about a missing GPU. None is needed.

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

import kerasseq
import kerasseq.serving

tf.get_logger().setLevel("WARNING")  # Hides messages about written files.
keras.utils.set_random_seed(SEED)

# %% [markdown]
# ## A model in a minute
#
# People write dates in many formats; programs want `1998-05-03`. `load_dates` generates such pairs in five languages.
# The vocabularies are barely larger than sets of characters, so each digit of the answer is one token: after 260 ids
# for special tokens and bytes, 90 ids are left for source subwords and 12 for target subwords.

# %%
train, validation, test = kerasseq.datasets.load_dates(NUM_DATES)
for text, iso_date in train[:5]:
    print(f"{text:<34} {iso_date}")
texts, iso_dates = zip(*train, strict=True)
preprocessor = kerasseq.preprocessing.TextPreprocessor(
    kerasseq.preprocessing.train_vocabulary(texts, 350, normalization="nmt_nfkc"),
    kerasseq.preprocessing.train_vocabulary(iso_dates, 272, normalization="nmt_nfkc"),
    max_source_length=64,
    max_target_length=16,
)

# %%
model = kerasseq.models.AttentionSeq2Seq(
    preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size, cell="gru", units=UNITS,
    embedding_dim=48, attention="bahdanau",
)  # fmt: skip
batches = preprocessor.dataset(train, batch_size=64, shuffle=True, seed=SEED)
schedule = keras.optimizers.schedules.CosineDecay(5e-3, 2 * EPOCHS * len(batches), alpha=0.02)  # covers both versions
model.compile(
    keras.optimizers.Adam(schedule, clipnorm=1.0),
    kerasseq.losses.MaskedCrossentropy(),
    weighted_metrics=[kerasseq.metrics.TokenAccuracy()],
)
validation_batches = preprocessor.dataset(validation, batch_size=64)
first = model.fit(batches, validation_data=validation_batches, epochs=EPOCHS, shuffle=False, verbose=2)

# %% [markdown]
# ## Export
#
# A `TextGenerator` combines the model, its preprocessor and a sampler into one graph from strings to strings. `export`
# writes it as a *SavedModel* into a numbered folder, a **version**. A version appears completely or not at all, and it
# is never overwritten: the next export gets the next number.

# %%
temporary = tempfile.TemporaryDirectory()  # Deleted at the end. A real server needs a permanent folder.
models = pathlib.Path(temporary.name)
generator = kerasseq.TextGenerator(model, preprocessor, sampler=kerasseq.search.BeamSampler(4))
version = pathlib.Path(generator.export(models / "dates"))
print("exported:", version.relative_to(models))

# %% [markdown]
# The diagram shows the deployment. A client names a model, a label and a signature. The server holds all versions of
# the folder in memory, and a config file maps each **label** to one of them. **Signatures** are the functions of a
# version, with named inputs and outputs.

# %%
kerasseq.plotting.plot_diagram(
    {
        "client": ("client\nmodel, label, signature", 0, 1, "data"),
        "server": ("server\nREST 8501, gRPC 8500", 1.35, 1),
        "stable": ("label\nstable", 2.5, 1.6, "state"),
        "canary": ("label\ncanary", 2.5, 0.4, "state"),
        "one": ("dates/1", 3.4, 1.6),
        "two": ("dates/2", 3.4, 0.4),
        "signatures": ("signatures\nserving_default\ngreedy\nnbest\nattention", 4.5, 1),
    },
    [
        ("client", "server"), ("server", "stable"), ("server", "canary"), ("stable", "one"), ("canary", "two"),
        ("one", "signatures"), ("two", "signatures"),
    ],
    title="From a request to a signature",
)  # fmt: skip

# %% [markdown]
# ## Inside the export

# %%
for path in sorted(path for path in version.rglob("*") if path.is_file()):
    print(f"{path.stat().st_size:>9,} bytes  {path.relative_to(version)}")

# %% [markdown]
# `saved_model.pb` is the graph, and `variables/` holds the weights. `assets.extra/` adds the vocabularies (also part of
# the graph), warm-up requests for the server, and `kerasseq.json`, from which `TextGenerator.load` rebuilds the Keras
# model. The graph itself declares its inputs and outputs:

# %%
served = {1: tf.saved_model.load(str(version))}
for name, function in served[1].signatures.items():
    print(name)
    for side, tensors in {"in": function.structured_input_signature[1], "out": function.structured_outputs}.items():
        for tensor in tensors.values():
            print(f"    {side:<4} {tensor.name:<15} {tensor.dtype.name:<8} {tensor.shape}")

# %% [markdown]
# `None` means any size. Every signature reads `text (batch,)`. Tokenization, encoding, the search loop and
# detokenization are all operations of the graph:

# %%
graph = served[1].signatures["serving_default"].graph.as_graph_def()
nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
operations = collections.Counter(node.op for node in nodes)
names = [name for name in operations if re.search("Sentencepiece|While|MatMul|TopK|Softmax|Tanh|Sigmoid|Gather", name)]
print(f"{len(nodes):,} operations of {len(operations)} kinds; among them")
print(", ".join(f"{operations[name]} {name}" for name in sorted(names)))

# %% [markdown]
# The graph contains no Python, no cuDNN, and nothing else that a CPU server lacks: `export` refuses to write such a
# graph.
#
# ### Warm-up
#
# TensorFlow prepares a function when it first runs, so the first caller would wait longest:

# %%
for number in range(1, 4):
    begin = time.perf_counter()
    served[1].signatures["serving_default"](text=tf.constant(["3rd of May, 1998"]))
    print(f"request {number}: {1e3 * (time.perf_counter() - begin):.1f} ms")

# %% [markdown]
# The server therefore replays the warm-up requests of a version before it accepts traffic: random texts, short and
# long, alone and in batches.

# %%
for record in tf.data.TFRecordDataset(str(version / "assets.extra" / "tf_serving_warmup_requests")).take(5):
    request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
    sources = tf.make_ndarray(request.inputs["text"])
    print(f"{request.model_spec.signature_name}: {len(sources)} texts of up to {max(map(len, sources))} bytes")

# %% [markdown]
# ### Digests
#
# `kerasseq.json` stores the SHA-256 digests of the graph, the weights and the vocabularies, and `TextGenerator.load`
# rejects damaged copies. The server does not check these digests, so load a copied version once before the server sees
# it. Here we flip one bit in the weights of a copy:

# %%
with tempfile.TemporaryDirectory() as folder:
    copy = shutil.copytree(version, pathlib.Path(folder) / "1")
    file = copy / "variables" / "variables.data-00000-of-00001"
    content = bytearray(file.read_bytes())
    content[1000] ^= 1
    file.write_bytes(content)
    try:
        kerasseq.TextGenerator.load(copy)
    except ValueError as error:
        print(str(error).replace(str(copy), "The copy"))

# %% [markdown]
# ## Query it like a server
#
# This needs neither kerasseq nor Keras: the input is a string tensor. (A standalone program must also
# `import tensorflow_text`, which provides the tokenizer operations.)

# %%
questions = ["3rd of May, 1998", "Sonntag, 23. März 2033", "5 mai 2021", "12/31/99"]
for name in ("serving_default", "nbest"):
    outputs = served[1].signatures[name](text=tf.constant(questions[:3]))
    print(name, outputs["text"].shape, "scores", outputs["score"].shape)
    for question, row in zip(questions, outputs["text"].numpy(), strict=False):
        print(f"    {question:<24}", *(text.decode() for text in np.atleast_1d(row)))

# %% [markdown]
# ## What a request costs
#
# A request can hold many texts, which pass through the graph together. A decoding step consists of many small
# operations, each with a fixed overhead that hardly depends on the number of texts. With 32 texts, they share this
# overhead. So 32 texts in one request should cost far less than 32 requests. Do they?


# %% tags=["picture"]
def milliseconds(function, size):
    """Returns the median time of a request with `size` dates, in ms."""
    seconds = []
    for _ in range(REPEATS + 2):
        sources = tf.constant(random.choices([text for text, _ in test], k=size))
        begin = time.perf_counter()
        function(text=sources)
        seconds.append(time.perf_counter() - begin)
    return 1e3 * np.median(seconds[2:])  # The first two warm up.


sizes = (1, 8, 32)
figure, axes = plt.subplots(1, 2, figsize=(9, 3.3), layout="constrained")
for name in ("greedy", "serving_default"):
    costs = [milliseconds(served[1].signatures[name], size) for size in sizes]
    rates = [1e3 * size / cost for size, cost in zip(sizes, costs, strict=True)]
    for axis, values in zip(axes, (costs, rates), strict=True):
        axis.plot(sizes, values, "o-", label=name + " (beam width 4)" * (name == "serving_default"))
    print(
        name, *(f"{size}: {cost:.1f} ms, {speed:.0f}/s;" for size, cost, speed in zip(sizes, costs, rates, strict=True))
    )
for axis, label in zip(axes, ("time per request (ms)", "throughput (dates per second)"), strict=True):
    axis.set(xlabel="dates per request", ylabel=label, ylim=(0, None), xticks=sizes)
    axis.legend()
figure.suptitle("Cost of a request by its size")
plt.show()

# %% [markdown]
# They do: compare the milliseconds. So there are two ways to go faster: use `greedy` where its answers are good enough,
# and put more texts into a request. But callers arrive one by one. So the server waits two milliseconds for other
# requests and runs all that arrived together. This is **batching**, and a config file turns it on.
#
# ## The files of a deployment
#
# `configure` writes the files that a server needs for a folder of models. On the command line it is
# `python -m kerasseq.serving configure FOLDER`.

# %%
deployment = kerasseq.serving.configure(models)
print(deployment.files)


def settings(name):
    """Prints a config file without its comments."""
    lines = (models / name).read_text().splitlines()
    print("\n".join(line for line in lines if line.strip() and not line.lstrip().startswith("#")))


settings("batching.config")
settings("models.config")

# %% [markdown]
# `max_batch_size` is the maximum number of texts in a batch and in a request. `num_batch_threads` is the number of
# batches that run in parallel: one per CPU. When `max_enqueued_batches` batches are waiting, the next caller gets 503,
# "try again", at once, which is better than no answer for a minute.
#
# `docker-compose.yml` starts the server with these files:
#
# ```bash
# docker compose -f FOLDER/docker-compose.yml up -d
# ```
#
# For a first look, serve one model without labels and batching:
#
# ```bash
# docker run -p 8501:8501 -v "$PWD/FOLDER/dates:/models/dates" -e MODEL_NAME=dates tensorflow/serving:2.20.0
# curl -d '{"instances": ["3rd of May, 1998"]}' localhost:8501/v1/models/dates:predict
# ```
#
# (This notebook does not run these commands.)
#
# ## What goes over the wire
#
# A notebook has no Docker, so here is a stand-in: a few lines that answer like the server's REST API. Use it only to
# look at requests. It has no batching, no limits, and no version management.


# %%
class StandIn(http.server.BaseHTTPRequestHandler):
    """Answers `POST /v1/models/dates/labels/LABEL:predict`."""

    requests = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.requests.append((self.path, body.decode()))
        label, request = re.search("/labels/(.+):predict", self.path)[1], json.loads(body)
        number = deployment.labels["dates"][label]
        outputs = served[number].signatures[request["signature_name"]](text=tf.constant(request["instances"]))
        rows = zip(outputs["text"].numpy(), outputs["score"].numpy(), strict=True)
        predictions = [{"text": text.decode(), "score": float(score)} for text, score in rows]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"predictions": predictions}).encode())

    def log_message(self, *arguments):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), StandIn)  # 0: any free port
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"

# %% [markdown]
# `kerasseq.serving.Client` is the other side. It sends at most 32 texts per request, retries where that helps, and
# gives up at its deadline. A real server has an address such as `http://localhost:8501`. (The file
# `kerasseq/serving/client.py` only needs `requests`: you can copy it to machines without TensorFlow.)

# %%
client = kerasseq.serving.Client(url, "dates", label="stable")
print(client.generate(questions))
print(client.answers("5 mai 2021", signature="greedy"))
for path, body in StandIn.requests:
    print(f"\nPOST {path}\n{body}")

# %% [markdown]
# (If a date is wrong: version 1 was trained for only two epochs, and a server returns whatever the model says.) This is
# all of REST: a URL that names model and label, and JSON. gRPC sends the same content in a binary format and reuses one
# connection for many calls. We can build the message without a server:

# %%
request = predict_pb2.PredictRequest()
request.model_spec.name, request.model_spec.version_label = "dates", "stable"
request.model_spec.signature_name = "greedy"
request.inputs["text"].CopyFrom(tf.make_tensor_proto(["5 mai 2021"]))
print(f"{len(request.SerializeToString())} bytes:\n{request}")

# %% [markdown]
# To send it, you need a running server (not run here):
#
# ```python
# import grpc
# from tensorflow_serving.apis import prediction_service_pb2_grpc
#
# with grpc.insecure_channel("localhost:8500") as channel:
#     stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
#     outputs = stub.Predict(request, timeout=10.0, wait_for_ready=True).outputs
# print(tf.make_ndarray(outputs["text"]))
# ```
#
# ## Roll forward and back
#
# We train the model further and export it again. The server loads version 2 next to version 1, and traffic does not
# move by itself: callers ask for `stable`, and `stable` is version 1.

# %%
second = model.fit(
    batches, validation_data=validation_batches, initial_epoch=EPOCHS, epochs=2 * EPOCHS, shuffle=False, verbose=2
)
version = pathlib.Path(generator.export(models / "dates"))
served[2] = tf.saved_model.load(str(version))
print("exported:", version.relative_to(models))

# %%
curves = {name: [*first.history[name], *second.history[name]] for name in first.history}
kerasseq.plotting.plot_history(curves, title=f"Training: version 1 after {EPOCHS} epochs, version 2 after {2 * EPOCHS}")

# %% [markdown]
# A **canary** was a bird that warned miners of bad air. We point the label `canary` to the new version, send it a few
# requests, and compare the answers.

# %%
deployment = kerasseq.serving.configure(models, canary={"dates": 2})
print(deployment.labels)
clients = {label: kerasseq.serving.Client(url, "dates", label=label) for label in ("stable", "canary")}
dates, expected = zip(*validation[:300], strict=True)
answers = {label: client.generate(dates, signature="greedy") for label, client in clients.items()}
for label, texts in answers.items():
    print(f"{label}: {kerasseq.evaluation.exact_match(texts, expected)['score']:.1f}% exact match")
different = [row for row in range(len(dates)) if answers["stable"][row] != answers["canary"][row]]
for row in different[:6]:
    print(f"{dates[row]:<34} stable {answers['stable'][row]}  canary {answers['canary'][row]}  true {expected[row]}")

# %% [markdown]
# If the new version is better, `stable` moves to it. If something goes wrong at night, version 1 is still loaded, and
# rolling back means changing one line in `models.config`, which the server of `docker-compose.yml` rereads every ten
# seconds. The client's requests stay the same.

# %%
asked = dates[different[0]] if different else dates[0]
for number in (2, 1):
    deployment = kerasseq.serving.configure(models, stable={"dates": number})
    print(f"stable is {deployment.labels['dates']['stable']}: {asked} -> {clients['stable'].generate(asked)}")
server.shutdown()

# %% [markdown]
# ## What it gets wrong
#
# A server answers everything. Inputs that are not dates mostly get answers that look like dates:

# %%
strange = ["3rd of May, 1998", "the day after tomorrow", "31 February 2001", "99/99/99", "Grüße aus Köln", ""]
outputs = served[2].signatures["greedy"](text=tf.constant(strange))
for text, answer, score in zip(strange, outputs["text"].numpy(), outputs["score"].numpy(), strict=True):
    print(f"{text!r:<26} {answer.decode():<12} log-probability {score:7.2f}")

# %% [markdown]
# The score of greedy search is $\log p(y \mid x)$ of the answer $y$ to the text $x$. A low score is a reason to ask for
# confirmation, but a model can also be confident about nonsense. So validate inputs before the server and outputs after
# it: `datetime.date.fromisoformat` knows that there is no 31st of February.
#
# ## Serve a released model
#
# The project's released models are versions like those above and need no training.
# `python -m kerasseq.zoo fetch translation_en_fr` prints the folder of a version, after downloading it if necessary.
# Give its parent folder to the server as the model. `kerasseq.TextGenerator.from_preset("translation_en_fr")` loads the
# same model in Python.
#
# ## Exercises
#
# 1. Which label does a caller get who names none?
# 2. Plot the time of a request against the beam width, 1 to 8, with one date per request.
# 3. Someone sends 1,000 dates. What does `Client` send, and what happens if its `batch_size` is 1,000?
#
# **Solutions**
#
# 1. None: the server then uses the highest version it has loaded, tested or not. So always name a label.
# 2. `generator.sampler = kerasseq.search.BeamSampler(width)`, `generator.export(models / f"beam_{width}")`, load the
#    export with `tf.saved_model.load`, and call `milliseconds(loaded.signatures["serving_default"], 1)`, for each
#    width.
# 3. 32 requests of up to 32 dates each, one after the other, under one deadline. A request of 1,000 exceeds
#    `max_batch_size`, so the server rejects it with 400. Larger batches may still process more dates per second, but
#    every caller waits for the whole batch, and a batch takes as long as its longest output.
