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
# A model in a notebook helps one person. A **server** keeps it in memory and answers whoever asks, over the network,
# while the next version is put beside the last one.
#
# TensorFlow Serving is such a server. It knows nothing of Python or Keras: it runs graphs. This tutorial trains a small
# model, looks at what is exported, asks it as the server does, measures what a request costs, and rolls a new version
# forward and back.

# %% tags=["parameters"]
NUM_DATES = 20_000
UNITS = 64
EPOCHS = 2  # of the first version; the second one is trained for as many more
REPEATS = 20  # requests of each size that are timed
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

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reports a missing GPU as an error; none is needed here.

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

import kerasseq
import kerasseq.serving

tf.get_logger().setLevel("WARNING")  # It would say where it writes files.
keras.utils.set_random_seed(SEED)

# %% [markdown]
# ## A model in a minute
#
# People write dates in many forms; programs want `1998-05-03`. `load_dates` makes such pairs, in five languages. The
# vocabularies are little more than characters, so each digit of the answer is a token. After 260 ids for special tokens
# and bytes, 90 and 12 are left for subwords.

# %%
train, validation, test = kerasseq.datasets.load_dates(NUM_DATES)
for text, iso_date in train[:5]:
    print(f"{text:<34} {iso_date}")
texts, iso_dates = zip(*train, strict=True)
preprocessor = kerasseq.preprocessing.TextPreprocessor(
    kerasseq.preprocessing.train_vocabulary(texts, vocabulary_size=350),
    kerasseq.preprocessing.train_vocabulary(iso_dates, vocabulary_size=272),
    max_source_length=64,
    max_target_length=16,
)

# %%
model = kerasseq.models.AttentionSeq2Seq(
    preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size, cell="gru", units=UNITS,
    embedding_dim=48, attention="bahdanau",
)  # fmt: skip
batches = preprocessor.dataset(train, batch_size=64, shuffle=True, seed=SEED)
schedule = keras.optimizers.schedules.CosineDecay(5e-3, 2 * EPOCHS * len(batches), alpha=0.02)  # for both versions
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
# A `TextGenerator` joins the model, its preprocessor and a sampler to one graph from strings to strings. `export`
# writes it as a *SavedModel* into a numbered folder, a **version**. A version appears whole or not at all, and is never
# overwritten: the next one gets the next number.

# %%
temporary = tempfile.TemporaryDirectory()  # Gone in the end. A server needs a folder that stays.
models = pathlib.Path(temporary.name)
generator = kerasseq.TextGenerator(model, preprocessor, sampler=kerasseq.search.BeamSampler(4))
version = pathlib.Path(generator.export(models / "dates"))
print("exported:", version.relative_to(models))

# %% [markdown]
# This is where things will stand. A client names a model, a label and a signature. The server has all versions of the
# folder in memory, and a file says which of them each **label** points to. **Signatures** are the functions of a
# version: what goes in, and what comes out.

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
    title="Who asks whom",
)  # fmt: skip

# %% [markdown]
# ## A look inside

# %%
for path in sorted(path for path in version.rglob("*") if path.is_file()):
    print(f"{path.stat().st_size:>9,} bytes  {path.relative_to(version)}")

# %% [markdown]
# `saved_model.pb` is the graph, `variables/` are the weights. What lies in `assets.extra/` belongs to neither: the
# vocabularies (which are part of the graph as well), the warm-up requests for the server, and `kerasseq.json`, with
# which `TextGenerator.load` makes a Keras model of it again. The graph says by itself what it takes:

# %%
served = {1: tf.saved_model.load(str(version))}
for name, function in served[1].signatures.items():
    print(name)
    for way, tensors in {"in": function.structured_input_signature[1], "out": function.structured_outputs}.items():
        for tensor in tensors.values():
            print(f"    {way:<4} {tensor.name:<15} {tensor.dtype.name:<8} {tensor.shape}")

# %% [markdown]
# `None` is any number. Every signature reads `text (batch,)`. Tokenizing, encoding, the search with its loop, and
# putting the pieces together again are operations of the graph:

# %%
graph = served[1].signatures["serving_default"].graph.as_graph_def()
nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
operations = collections.Counter(node.op for node in nodes)
names = [name for name in operations if re.search("Sentencepiece|While|MatMul|TopK|Softmax|Tanh|Sigmoid|Gather", name)]
print(f"{len(nodes):,} operations of {len(operations)} kinds; among them")
print(", ".join(f"{operations[name]} {name}" for name in sorted(names)))

# %% [markdown]
# No Python is among them, no cuDNN and nothing else that a CPU server lacks: `export` refuses to write such a graph.
#
# ### Warm-up
#
# TensorFlow prepares a function when it first runs. So the first one who asks would wait longest:

# %%
for number in range(1, 4):
    begin = time.perf_counter()
    served[1].signatures["serving_default"](text=tf.constant(["3rd of May, 1998"]))
    print(f"request {number}: {1e3 * (time.perf_counter() - begin):.1f} ms")

# %% [markdown]
# A server replays the requests that lie in the version before it lets anybody in: random texts, short, long, and many
# at a time.

# %%
for record in tf.data.TFRecordDataset(str(version / "assets.extra" / "tf_serving_warmup_requests")).take(5):
    request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
    sources = tf.make_ndarray(request.inputs["text"])
    print(f"{request.model_spec.signature_name}: {len(sources)} texts of up to {max(map(len, sources))} bytes")

# %% [markdown]
# ### Digests
#
# `kerasseq.json` has the SHA-256 of the graph, the weights and the vocabularies, and `TextGenerator.load` refuses what
# was copied badly. The server does not read these digests, so load a copied version once before the server sees it. Let
# one bit of a copy's weights fall over:

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
# ## Ask it as a server does
#
# Nothing of kerasseq is needed for this, and no Keras: a string tensor goes in. (A program of its own also needs
# `import tensorflow_text`, for the operations that tokenize.)

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
# One request may hold many texts, which go through the graph together. Each of the many small operations of a step has
# a fixed price, however few rows it gets; 32 rows share it. So 32 texts at once should cost far less than 32 times one.
# Do they?


# %% tags=["picture"]
def milliseconds(function, size):
    """The median time of a request with so many dates."""
    seconds = []
    for _ in range(REPEATS + 2):
        sources = tf.constant(random.choices([text for text, _ in test], k=size))
        begin = time.perf_counter()
        function(text=sources)
        seconds.append(time.perf_counter() - begin)
    return 1e3 * np.median(seconds[2:])  # The first two warm up.


sizes = (1, 8, 32)
figure, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
for name in ("greedy", "serving_default"):
    costs = [milliseconds(served[1].signatures[name], size) for size in sizes]
    rates = [1e3 * size / cost for size, cost in zip(sizes, costs, strict=True)]
    for axis, values in zip(axes, (costs, rates), strict=True):
        axis.plot(sizes, values, "o-", label=name + " (beam 4)" * (name == "serving_default"))
    print(
        name, *(f"{size}: {cost:.1f} ms, {speed:.0f}/s;" for size, cost, speed in zip(sizes, costs, rates, strict=True))
    )
for axis, label in zip(axes, ("milliseconds per request", "dates per second"), strict=True):
    axis.set(xlabel="dates in a request", ylabel=label, ylim=(0, None), xticks=sizes)
    axis.legend()
plt.show()

# %% [markdown]
# They do: look at the milliseconds. Two ways to be faster, then: `greedy` where its answers are good enough, and more
# texts a request. But callers come one by one. So the server waits for company, two milliseconds long, and runs
# together what has arrived. That is **batching**, and it is written in a file.
#
# ## The files of a deployment
#
# `configure` writes what a server needs for a folder of models. On the command line it is
# `python -m kerasseq.serving configure FOLDER`.

# %%
deployment = kerasseq.serving.configure(models)
print(deployment.files)


def settings(name):
    """Prints a file without its comments."""
    lines = (models / name).read_text().splitlines()
    print("\n".join(line for line in lines if line.strip() and not line.lstrip().startswith("#")))


settings("batching.config")
settings("models.config")

# %% [markdown]
# `max_batch_size` is the most rows of a run and of a request, `num_batch_threads` how many runs go on at a time: as
# many as there are CPUs. When `max_enqueued_batches` runs are waiting, the next caller hears 503, "try again", at once,
# which is better than to hear nothing for a minute.
#
# `docker-compose.yml` starts the server with these files:
#
# ```bash
# docker compose -f FOLDER/docker-compose.yml up -d
# ```
#
# or one model without labels and batching, for a first look:
#
# ```bash
# docker run -p 8501:8501 -v "$PWD/FOLDER/dates:/models/dates" -e MODEL_NAME=dates tensorflow/serving:2.20.0
# curl -d '{"instances": ["3rd of May, 1998"]}' localhost:8501/v1/models/dates:predict
# ```
#
# (These commands are not run in this notebook.)
#
# ## What goes over the wire
#
# A notebook has no docker, so here is a stand-in: a few lines that answer as the server's REST API does. It is there to
# look at requests, and not for use: no batching, no limits, no versions or states.


# %%
class StandIn(http.server.BaseHTTPRequestHandler):
    """Answers POST /v1/models/dates/labels/LABEL:predict."""

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


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), StandIn)  # 0: any port that is free
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"

# %% [markdown]
# `kerasseq.serving.Client` is the other side. It sends at most 32 texts at once, tries again where that helps, and ends
# at its deadline. With a real server, its address is `http://localhost:8501`. (Its file, `kerasseq/serving/client.py`,
# needs only `requests`: copy it to machines without TensorFlow.)

# %%
client = kerasseq.serving.Client(url, "dates", label="stable")
print(client.generate(questions))
print(client.answers("5 mai 2021", signature="greedy"))
for path, body in StandIn.requests:
    print(f"\nPOST {path}\n{body}")

# %% [markdown]
# (The last date is wrong: version 1 has learned for two epochs only, and a server passes on what a model says.) That is
# all of REST: an address that names model and label, and JSON. gRPC sends the same in a binary form, over one
# connection for many calls. The message can be made without a server:

# %%
request = predict_pb2.PredictRequest()
request.model_spec.name, request.model_spec.version_label = "dates", "stable"
request.model_spec.signature_name = "greedy"
request.inputs["text"].CopyFrom(tf.make_tensor_proto(["5 mai 2021"]))
print(f"{len(request.SerializeToString())} bytes:\n{request}")

# %% [markdown]
# and sent to one, here not run:
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
# The model is trained on, and exported again. The server loads version 2 beside version 1, and nothing moves by itself:
# callers ask for `stable`, and `stable` is version 1.

# %%
second = model.fit(
    batches, validation_data=validation_batches, initial_epoch=EPOCHS, epochs=2 * EPOCHS, shuffle=False, verbose=2
)
version = pathlib.Path(generator.export(models / "dates"))
served[2] = tf.saved_model.load(str(version))
print("exported:", version.relative_to(models))

# %%
curves = {name: [*first.history[name], *second.history[name]] for name in first.history}
kerasseq.plotting.plot_history(curves, title=f"Version 1 after {EPOCHS} epochs, version 2 after {2 * EPOCHS}")

# %% [markdown]
# A **canary** was a bird that miners took along: it noticed bad air first. The label `canary` is moved to the new
# version, a few callers ask for it, and their answers are compared.

# %%
deployment = kerasseq.serving.configure(models, canary={"dates": 2})
print(deployment.labels)
clients = {label: kerasseq.serving.Client(url, "dates", label=label) for label in ("stable", "canary")}
dates, expected = zip(*validation[:300], strict=True)
answers = {label: client.generate(dates, signature="greedy") for label, client in clients.items()}
for label, texts in answers.items():
    print(f"{label}: {kerasseq.evaluation.exact_match(texts, expected)['score']:.1f}% right")
different = [row for row in range(len(dates)) if answers["stable"][row] != answers["canary"][row]]
for row in different[:6]:
    print(f"{dates[row]:<34} stable {answers['stable'][row]}  canary {answers['canary'][row]}  is {expected[row]}")

# %% [markdown]
# Is it better? Then `stable` follows. Does something go wrong in the night? Version 1 is still loaded, so the way back
# is a line in `models.config`, which the server of `docker-compose.yml` reads every ten seconds. The client asks as
# before.

# %%
asked = dates[different[0]] if different else dates[0]
for number in (2, 1):
    deployment = kerasseq.serving.configure(models, stable={"dates": number})
    print(f"stable is {deployment.labels['dates']['stable']}: {asked} -> {clients['stable'].generate(asked)}")
server.shutdown()

# %% [markdown]
# ## What it gets wrong
#
# A server answers everything. What is no date mostly gets an answer that looks like one:

# %%
strange = ["3rd of May, 1998", "the day after tomorrow", "31 February 2001", "99/99/99", "Grüße aus Köln", ""]
outputs = served[2].signatures["greedy"](text=tf.constant(strange))
for text, answer, score in zip(strange, outputs["text"].numpy(), outputs["score"].numpy(), strict=True):
    print(f"{text!r:<26} {answer.decode():<12} log-probability {score:7.2f}")

# %% [markdown]
# The score of greedy search is $\log p(y \mid x)$ of the answer $y$ to the text $x$. A low one is a reason to ask back;
# but a model can also be sure of nonsense. So check what comes in before the server, and what comes out behind it:
# `datetime.date.fromisoformat` knows that there is no 31st of February.
#
# ## Serve a released model
#
# The project's released models are versions like those above, and need no training. Get one by its name:
# `python -m kerasseq.zoo fetch translation_en_fr` prints the folder of a version, downloaded if need be; the folder
# above it is what a server is given as the model's. `kerasseq.TextGenerator.from_preset("translation_en_fr")` is the
# same model in Python.
#
# ## Exercises
#
# 1. Which label does a caller get who names none?
# 2. Draw milliseconds against the width of the beam, 1 to 8, with one date a request.
# 3. Someone calls with 1,000 dates. What does `Client` send, and what happens if its `batch_size` is 1,000?
#
# **Solutions**
#
# 1. None: the server then takes the highest version that it has loaded, tried or not. So name one, always.
# 2. `generator.sampler = kerasseq.search.BeamSampler(width)`, `generator.export(models / f"beam_{width}")`,
#    `tf.saved_model.load` of that, and `milliseconds(loaded.signatures["serving_default"], 1)`, for each width.
# 3. 32 requests of up to 32 dates, one after the other, under one deadline. A request of 1,000 is more than
#    `max_batch_size`, so the server refuses it with 400. Larger batches may still do more dates a second, but every
#    caller waits until the whole batch is ready, and all rows of a batch wait for the longest.
