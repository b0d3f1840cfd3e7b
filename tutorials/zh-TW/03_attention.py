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
# # 3. 注意力
#
# 教學 1 的編碼器－解碼器把任意長度的來源都壓縮成一個大小固定的上下文向量，長的來源就裝不下了。注意力（attention）保留編碼器的「所有」隱藏狀態，讓解碼器在輸出每個詞元之前先看看它們。
#
# 在這篇教學中，你會用兩種經典形式（Bahdanau et al. 2015；Luong et al. 2015）親手計算一步注意力，觀察對齊（alignment）如何在訓練中浮現，測量注意力在長的來源上有多少好處，再測量它要付出多少代價。

# %% tags=["parameters"]
NUM_SHORT = 12_800  # 第一階段有幾個訓練資料對
NUM_LONG = 20_000  # 第二階段有幾個訓練資料對
MAX_SHORT = 12  # 字母數，第一階段
MAX_LONG = 60  # 字母數，第二階段
EPOCHS_SHORT = 10
EPOCHS_LONG = 8
UNITS = 96
NUM_TEST = 40  # 每個長度組的序列數
COST_LENGTHS = (20, 40, 80, 160, 320)  # 詞元數，由小到大
COST_ROUNDS = 7  # 每種長度計時的訓練步數
SEED = 1

# %%
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # 不顯示找不到 GPU 的訊息。這裡不需要 GPU。

import string
import subprocess
import sys

import keras
import matplotlib.pyplot as plt
import numpy as np

import kerasseq

keras.utils.set_random_seed(SEED)

# %% [markdown]
# ## 先看看資料
#
# 任務是把一個字母序列反轉。資料要多少就能產生多少，而且我們知道正確的對齊方式：第一個目標字母就是最後一個來源字母，依此類推。如果解碼器看的位置都對，就會畫出一條從右上到左下的對角線。每個字母是一個詞元。

# %%
rng = np.random.default_rng(SEED)
letters = list(string.ascii_lowercase)


def make_pairs(number, shortest, longest):
    """傳回隨機字母序列與其反轉所組成的資料對。"""
    sequences = [rng.choice(letters, length) for length in rng.integers(shortest, longest + 1, number)]
    return [(" ".join(sequence), " ".join(sequence[::-1])) for sequence in sequences]


short, long = make_pairs(NUM_SHORT, 1, MAX_SHORT), make_pairs(NUM_LONG, 1, MAX_LONG)
short_validation, long_validation = make_pairs(256, 1, MAX_SHORT), make_pairs(256, 1, MAX_LONG)
for source, target in short[:4]:
    print(f"{source:25} -> {target}")

preprocessor = kerasseq.preprocessing.TextPreprocessor.from_pairs(long, vocabulary_size=320, joint=True)
encoded = preprocessor.encode_source(["k e r a s s e q"])
ids = encoded["encoder_token_ids"]  # (1, source)：八個字母與 END
print("\ntokens:", *(token.decode() for token in preprocessor.source_tokens(encoded).numpy()[0]), " (▁ starts a word)")
print("ids:   ", *ids.numpy()[0])

# %% [markdown]
# ## 同一個想法，兩種形式
#
# 編碼器為每個來源位置 $j$ 產生一個隱藏狀態 $h_j$。這些狀態合起來就是**記憶**（memory），形狀為 `(source, 2 * units)`，因為編碼器是雙向的。對目標位置 $i$，注意力做三件事：
#
# 1. **分數**（score）$e_{ij}$ 衡量位置 $j$ 與解碼器即將輸出的內容有多相配。
# 2. softmax 把分數轉換成**權重**（weight）：$a_{ij} = \exp(e_{ij}) / \sum_k \exp(e_{ik})$。
# 3. **上下文向量**（context vector）$c_i = \sum_j a_{ij} h_j$ 是記憶的加權平均，形狀為 `(2 * units,)`。
#
# 這些運算全都可以微分，所以梯度會告訴模型當初該看哪裡。設 $s_i$ 為解碼器在第 $i$ 步之後的隱藏狀態，$y_{i-1}$ 為前一個詞元的嵌入，$f$ 為單元，這裡是 GRU。$[a; b]$ 表示 $a$ 與 $b$ 的串接。$W$、$U$、$R$、$v$ 與 $b$ 由訓練學得。`"bahdanau"` 的分數是**加法式**（additive），其中的 tanh 讓每個數字都介於 -1 與 1 之間。`"luong"` 的分數是**乘法式**（multiplicative），沒有上下界。
#
# | | `"bahdanau"`（Bahdanau et al. 2015） | `"luong"`（Luong et al. 2015，「general」） |
# |---|---|---|
# | 分數 | $e_{ij} = \tanh(s_{i-1} W + h_j U)\,v$ | $e_{ij} = h_j W s_i^T$ |
# | 查詢（query） | 這一步「之前」的狀態 | 這一步「之後」的狀態 |
# | 隱藏狀態 | $s_i = f(s_{i-1}, [y_{i-1}; c_i])$ | $s_i = f(s_{i-1}, y_{i-1})$ |
# | 注意力狀態 $\tilde s_i$ | $\tanh([s_i; c_i; y_{i-1}]\,R + b)$ | $\tanh([c_i; s_i]\,R + b)$ |
#
# （Bahdanau et al. 用 maxout 層計算 $\tilde s_i$。kerasseq 則兩者都用 tanh 層，這樣不同的就只有注意力。）最後由一個全連接層把 $\tilde s_i$ 轉換成 logits，詞彙表中的每個詞元各有一個。

# %%
kerasseq.plotting.plot_diagram(
    {
        "h": ("memory $h_1 ... h_n$\n(source, 2 units)", 0, 0, "data"),
        "before": ("$s_{i-1}$ (units)", 1.1, 0, "state"),
        "y": ("$y_{i-1}$", 1.9, 0, "data"),
        "attention": ("attention:\nweights, context $c_i$", 0.2, 1),
        "cell": ("GRU", 1.5, 1),
        "after": ("$s_i$ (units)", 1.5, 1.9, "state"),
        "read": ("attentional\nstate $\\tilde s_i$", 0.5, 1.9, "state"),
        "h ": ("memory $h_1 ... h_n$\n(source, 2 units)", 2.9, 0, "data"),
        "before ": ("$s_{i-1}$ (units)", 4, 0, "state"),
        "y ": ("$y_{i-1}$", 4.8, 0, "data"),
        "attention ": ("attention:\nweights, context $c_i$", 3, 1),
        "cell ": ("GRU", 4.4, 0.75),
        "after ": ("$s_i$ (units)", 4.4, 1.4, "state"),
        "read ": ("attentional\nstate $\\tilde s_i$", 3.4, 1.9, "state"),
    },
    [
        ("h", "attention"), ("before", "attention"), ("attention", "cell"), ("before", "cell"), ("y", "cell"),
        ("cell", "after"), ("attention", "read"), ("after", "read"), ("h ", "attention "), ("before ", "cell "),
        ("y ", "cell "), ("cell ", "after "), ("after ", "attention "), ("attention ", "read "), ("after ", "read "),
    ],
    title="Left, bahdanau: attend, then step. Right, luong: step, then attend.",
)  # fmt: skip

# %% [markdown]
# ## 親手計算一步
#
# kerasseq 的模型有兩個部分。編碼器計算記憶（`model.encode`）。解碼器先為每個來源計算一次初始狀態 $s_0$ 與**鍵**（key）$h_j U$ 或 $h_j W$，供所有目標位置使用（`model.start`），然後一步一步執行（`model.step`）。我們建立兩種模型，取出它們的權重，用 NumPy 計算第一步。第三個模型沒有注意力，留待後面比較。

# %%
sizes = {"source_vocabulary_size": preprocessor.source_vocabulary_size, "embedding_dim": 32, "units": UNITS}
sizes["target_vocabulary_size"] = preprocessor.target_vocabulary_size
models = {
    "fixed context": kerasseq.models.GRUSeq2Seq(**sizes, bidirectional=True),
    "bahdanau": kerasseq.models.AttentionSeq2Seq(**sizes, cell="gru", attention="bahdanau"),
    "luong": kerasseq.models.AttentionSeq2Seq(**sizes, cell="gru", attention="luong"),
}
START = kerasseq.preprocessing.vocabulary.START_ID
start = keras.ops.array([START], "int32")  # (1,)：解碼器的第一個輸入


def first_step(model):
    """傳回來源的記憶、計算鍵的權重矩陣、初始狀態，以及第一步的輸出。"""
    context = model.encode({"encoder_token_ids": ids})
    state, constants = model.start(context)
    outputs = model.step(start, state, constants)
    memory, keys_kernel = context["memory"][0].numpy(), model.decoder.attention.keys.kernel.numpy()
    return memory, keys_kernel, state["layers"][0]["hidden"][0].numpy(), outputs


def softmax(scores):
    exponentials = np.exp(scores - scores.max())  # 減去最大值，避免溢位。
    return exponentials / exponentials.sum()


# %%
memory, U, state, outputs = first_step(models["bahdanau"])  # (source, 2 * units), (2 * units, units), (units,)
decoder = models["bahdanau"].decoder
W, v = decoder.attention.query_kernel.numpy(), decoder.attention.score_vector.numpy()  # (units, units), (units,)

weights = softmax(np.tanh(state @ W + memory @ U) @ v)  # (source,)
context = weights @ memory  # (2 * units,)
print("by hand: ", weights.round(4))
print("kerasseq:", outputs["attention"][0].numpy().round(4))
np.testing.assert_allclose(weights, outputs["attention"][0], atol=1e-5)

y = decoder.embedding(start)[0].numpy()  # (embedding_dim,)
cell = decoder.cells[0]  # GRU，包在 kerasseq.layers.RecurrentAttention 裡
after = cell(np.concatenate([y, context])[None], {"hidden": state[None]})  # {"hidden": (1, units)}
np.testing.assert_allclose(after["hidden"], outputs["state"]["layers"][0]["hidden"], atol=1e-5)

# %% [markdown]
# 權重與下一個隱藏狀態都和模型的相同，否則上面的斷言（assertion）就會失敗。九個詞元（包括 END）有九個權重，總和為 1。訓練之前，這些權重幾乎相等。
#
# 使用 `"luong"` 時，解碼器先走一步，再計算注意力。所以查詢就是這一步之後的狀態，而我們可以一路算到 logits。

# %%
memory, W, _, outputs = first_step(models["luong"])
decoder = models["luong"].decoder
state = outputs["state"]["layers"][0]["hidden"][0].numpy()  # (units,)，這一步之後

weights = softmax(memory @ W @ state)  # (source,)
context = weights @ memory
dense, last = decoder.placement.attentional, decoder.logits
attentional = np.tanh(np.concatenate([context, state]) @ dense.kernel.numpy() + dense.bias.numpy())  # (units,)
logits = attentional @ last.kernel.numpy() + last.bias.numpy()  # (vocabulary,)
np.testing.assert_allclose(weights, outputs["attention"][0], atol=1e-5)
np.testing.assert_allclose(logits, outputs["logits"][0], atol=1e-4)
print(f"{len(weights)} weights and {len(logits)} logits agree")

# %% [markdown]
# ## 對齊自然浮現
#
# 訓練分成兩個階段。第一階段的序列最多有 12 個字母。沒有人告訴模型該看哪裡：損失函數只要求下一個字母。我們拿一個不在訓練資料裡的序列，在訓練之前與每個訓練週期（epoch）之後記錄注意力權重，並以正確的字母作為解碼器的輸入（教師強制）。


# %%
def fit(model, pairs, validation, epochs, learning_rate, callbacks=()):
    batches = preprocessor.dataset(pairs, batch_size=64, shuffle=True, seed=SEED)
    boundaries, values = [epochs * len(batches) * 3 // 4], [learning_rate, learning_rate / 5]
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, values)
    model.compile(keras.optimizers.Adam(schedule, clipnorm=1.0), kerasseq.losses.MaskedCrossentropy())
    validation_batches = preprocessor.dataset(validation, batch_size=64)
    history = model.fit(
        batches, validation_data=validation_batches, epochs=epochs, shuffle=False, verbose=2, callbacks=list(callbacks)
    )
    return history.history["val_loss"]


pair = make_pairs(1, MAX_SHORT, MAX_SHORT)[0]
inputs, _ = next(iter(preprocessor.dataset([pair], batch_size=1)))
recorded = {"bahdanau": [], "luong": []}  # 權重 (target, source)，訓練之前與每個訓練週期之後
curves = {}
for name, model in models.items():
    print(name)
    callbacks = []
    if name in recorded:

        def record(epoch=None, logs=None, model=model, kept=recorded[name]):
            kept.append(model.decoder_outputs(inputs)["attention"][0].numpy())

        record()
        callbacks.append(keras.callbacks.LambdaCallback(on_epoch_end=record))
    curves[name] = fit(model, short, short_validation, EPOCHS_SHORT, 5e-4, callbacks)


# %%
def draw(axis, x, curves, **labels):
    for (name, values), style in zip(curves.items(), ("^:", "o-", "s--"), strict=True):
        axis.plot(x, values, style, label=name, markersize=4)
    axis.set(**labels)
    axis.grid(alpha=0.3)
    axis.legend()


figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
draw(axis, range(1, EPOCHS_SHORT + 1), curves, xlabel="epoch", ylabel="validation loss (nats per token)")
axis.set_title(f"Reverse task, up to {MAX_SHORT} letters: validation loss")
plt.show()

# %%
shown = sorted({round(epoch) for epoch in np.linspace(0, EPOCHS_SHORT, 5)})
figure, axes = plt.subplots(
    2, len(shown), figsize=(2 * len(shown) + 1, 5.2), sharex=True, sharey=True, squeeze=False, layout="constrained"
)
for row, (name, kept) in zip(axes, recorded.items(), strict=True):
    for axis, epoch in zip(row, shown, strict=True):
        image = axis.imshow(kept[epoch], vmin=0, vmax=1, cmap="Blues")
        axis.set_xticks(range(MAX_SHORT + 1), [*pair[0].split(), "END"], rotation=90, fontsize=10)
        axis.set_yticks(range(MAX_SHORT + 1), [*pair[1].split(), "END"], fontsize=10)
        axis.set_title(f"{name}, epoch {epoch}" if epoch else f"{name}, untrained", fontsize=11)
figure.supxlabel("source token")
figure.supylabel("target token")
figure.colorbar(image, ax=axes, label="attention weight", shrink=0.8)
figure.suptitle("Attention weights for one sequence during training")
plt.show()

# %% [markdown]
# 一開始，所有位置的權重都相同。這時上下文向量就是記憶的平均：它說得出有哪些字母，卻說不出下一個是哪一個。`"luong"` 的分數沒有上下界，所以權重很快就變得集中。它們可能先全部擠到同一個位置，例如 END，因為 END 的狀態讀過整個序列：這又成了固定的上下文。接著對角線出現，損失也跟著下降（請比較兩張圖中的訓練週期）。梯度會讓已經有幫助的權重更加集中，所以對齊起步很慢，然後愈來愈快。
#
# ## 品質與長度
#
# 第二階段，三個模型都繼續在最多 60 個字母的序列上訓練。從第一個訓練週期的損失可以看出，先前學到的東西沒辦法馬上套用。但是接下來，有注意力的模型損失會降到接近零，長度幾乎不再有影響。先從短的例子開始訓練，這種做法稱為**課程學習**（curriculum learning）；練習 2 會省略這個階段。

# %%
for name, model in models.items():
    print(name)
    fit(model, long, long_validation, EPOCHS_LONG, 2e-3)

# %% [markdown]
# 現在來重做 Bahdanau et al. 2015 的實驗（論文的圖 2）：品質與來源長度的關係。每個模型都要反轉一批測試序列，這些序列按長度分組，最長的比訓練時還多出三分之一。詞錯誤率（word error rate）在這裡把字母當成詞，計算錯誤、遺漏與多餘的字母。**詞正確率**（word accuracy）是 100 減去詞錯誤率；由於多餘的字母可能使詞錯誤率超過 100，低於 0 的部分就以 0 計。

# %% tags=["picture"]
width = max(MAX_LONG // 12, 1)
groups = [(first, first + width - 1) for first in range(1, MAX_LONG * 4 // 3, width)]
tests = [make_pairs(NUM_TEST, *group) for group in groups]
generators = {name: kerasseq.TextGenerator(model, preprocessor, sampler="greedy") for name, model in models.items()}
right = {}
for name, writer in generators.items():
    texts = iter(writer.generate([source for pairs in tests for source, _ in pairs]))
    rates = [
        kerasseq.evaluation.word_error_rate([next(texts) for _ in pairs], [target for _, target in pairs])["wer"]
        for pairs in tests
    ]
    right[name] = [max(100 - rate, 0) for rate in rates]  # 太長的輸出，錯誤會比字母還多。

figure, axis = plt.subplots(figsize=(7, 3.4), layout="constrained")
axis.axvline(MAX_LONG + 0.5, color="0.4", linewidth=1)
axis.text(MAX_LONG + 1, 50, "longer than\nin training", fontsize=9, color="0.3")
draw(axis, np.mean(groups, axis=1), right, xlabel="source length (letters)", ylabel="word accuracy (%)", ylim=(-3, 103))
axis.set_title("Reverse task: quality against length")
plt.show()

# %% [markdown]
# 固定的上下文裝得下幾個字母，之後曲線就往下掉：同樣的幾個數字，要裝進愈來愈多的字母。請注意，計算錯誤率時會以最好的方式對齊兩段文字，所以就算是隨機的字母，也能得到 3% 到 9%。在 20% 附近持平的曲線，比這個程度好不了多少，只是多記住了幾個字母。有了注意力，曲線就一直維持在高處，因為解碼器不必存下整個序列，只要記得自己走到哪裡。
#
# ## 哪裡會出錯
#
# 線的右邊是所有模型都沒看過的長度。兩個注意力模型在那裡都變差了，至於哪一個差得比較多，每次執行都不一樣：它們學到的東西有一部分和訓練時的長度綁在一起。還有另一個弱點。注意力靠內容與相鄰的字母來找位置。如果整個序列都是同一個字母，所有位置看起來都一樣，就只能靠數的。下面就是這樣的序列，旁邊是一般的序列。

# %%
length = MAX_LONG // 2
sequences = {"ordinary": make_pairs(1, length, length)[0][0], "one repeated letter": " ".join("a" * length)}
generations = generators["luong"].generate(list(sequences.values()), details=True)
for (name, sequence), generation in zip(sequences.items(), generations, strict=True):
    correct = generation.text == sequence[::-1]
    print(f"{name}: expected {length} letters, received {len(generation.text.split())}; correct: {correct}")
kerasseq.plotting.plot_attention(generations, title="luong: an ordinary sequence (left), one repeated letter (right)")

# %% [markdown]
# ## 代價有多大
#
# 沒有注意力時，不管來源是什麼，一個解碼步驟的成本都一樣。有了注意力，走 $m$ 步、看 $n$ 個位置，就需要 $m n$ 個分數。在加法式中，每個分數一開始都是由 `units` 個數字組成的向量，之後才由 $v$ 化為一個數字；訓練時還要留著這些向量做反向傳播，共有 `batch * m * n * units` 個數字。在乘法式中，一個分數就是一個數字，所有分數合起來是一次矩陣乘法。
#
# 我們測量一個訓練步驟，來源與目標的長度相同。一個行程（process）用過的記憶體大多不會歸還，所以每個模型都以自己的行程在 CPU 上執行。各個模型輪流執行，圖上畫的是各輪的中位數，這樣機器上的其他程式對所有模型的干擾就會一樣。每個行程從 `/proc`（Linux）讀取自己的記憶體用量峰值。

# %%
PROGRAM = """
import re, sys, time
import keras, numpy as np, kerasseq

attention = sys.argv[1]
sizes = {"source_vocabulary_size": 100, "target_vocabulary_size": 100, "units": 64, "embedding_dim": 64}
if attention == "none":
    model = kerasseq.models.GRUSeq2Seq(**sizes, bidirectional=True)
else:
    model = kerasseq.models.AttentionSeq2Seq(**sizes, cell="gru", attention=attention)
model.compile("adam", kerasseq.losses.MaskedCrossentropy())

def step(length):
    ids = np.random.default_rng(1).integers(4, 100, (8, length), dtype="int32")
    begin = time.perf_counter()
    model.train_on_batch({"encoder_token_ids": ids, "decoder_token_ids": ids}, ids)
    return time.perf_counter() - begin

def peak():  # the peak memory of this process in MB (Linux)
    return int(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1]) / 1024

step(3), step(5)  # The first steps compile the graph and create the optimizer's variables.
before = peak()
for line in sys.stdin:  # Each line asks for one training step.
    print(step(int(line)), peak() - before, flush=True)
"""
NAMES = {"none": "fixed context", "bahdanau": "bahdanau", "luong": "luong"}
environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}  # 在 CPU 上執行，因為測量的是它的記憶體。
pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
processes = [
    subprocess.Popen([sys.executable, "-c", PROGRAM, kind], env=environment, text=True, **pipes) for kind in NAMES
]


def measure(process, length):
    """在一個行程中執行一個訓練步驟，傳回所花的秒數與到目前為止的記憶體用量峰值（MB）。"""
    print(length, file=process.stdin, flush=True)
    return [float(number) for number in process.stdout.readline().split()]


seconds, megabytes = [], []  # 每種長度：每個模型一個值
for length in COST_LENGTHS:  # 從最短的開始，因為峰值只增不減
    rounds = np.array([[measure(process, length) for process in processes] for _ in range(COST_ROUNDS)])
    seconds.append(np.median(rounds[:, :, 0], axis=0))  # rounds：(rounds, models, 2)
    megabytes.append(rounds[-1, :, 1])
for process in processes:
    process.communicate()  # 輸入結束，行程就跟著結束。

figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
for axis, costs, label in zip(axes, (seconds, megabytes), ("time (s)", "additional peak memory (MB)"), strict=True):
    curves = dict(zip(NAMES.values(), np.transpose(costs), strict=True))
    draw(axis, COST_LENGTHS, curves, xlabel="length of source and target (tokens)", ylabel=label)
figure.suptitle("Cost of one training step, batch size 8")
plt.show()

# %% [markdown]
# 長度加倍時，逐一處理詞元的迴圈要花兩倍的時間，而三個模型的循環網路都是這種迴圈。分數的個數則變成四倍。從 160 到 320 個詞元，`"bahdanau"` 需要大約三倍的時間與記憶體，`"luong"` 大約兩倍：在這樣的長度下，它的迴圈仍然比分數更花時間。`"bahdanau"` 在迴圈裡計算注意力，一個目標位置接著一個，並為每個分數存下一個向量。
#
# ## 練習
#
# 1. 把反轉任務換成複製任務來訓練。對齊會是什麼樣子？沒有注意力的模型會比較輕鬆嗎？
# 2. 第一階段的學習率加倍，或是跳過第一階段。`"luong"` 會看哪裡？
# 3. `attention="location"` 還知道上一步看了哪裡（教學 7 用它來辨識語音）。遇到同一個字母不斷重複的序列，它會怎麼做？
#
# **解答**
#
# 1. 在 `make_pairs` 裡兩處都使用 `" ".join(sequence)`。對角線會從左上走到右下。固定的上下文會比較吃力：在反轉任務中，最後讀到的字母最先寫出，這時記憶猶新。Sutskever et al. 2014 把來源反轉，就是這個緣故。
# 2. 建立一個新模型，用 `fit` 訓練，再畫出它對 `inputs` 的權重。它可能一直停在 END：其他權重都是 0 的地方，能指向別處的梯度也是 0。
# 3. 建立 `AttentionSeq2Seq(**sizes, cell="gru", attention="location")`，用 `fit` 訓練兩個階段，再從 `sequences` 生成。它不必認出位置：只要從上一個位置往左移一步就行了。
