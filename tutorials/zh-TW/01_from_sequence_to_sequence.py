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
# # 1. 從序列到序列
#
# 許多任務都是把一個序列轉換成另一個序列：把日期改寫成 ISO 格式（「3rd of May, 1998」變成「1998 05 03」）、把句子翻譯成另一種語言、把錄音轉成逐字稿。來源與目標的長度不同，也沒有規則說明哪個來源元素對應哪個目標元素：「日」可能在最前面，也可能在最後面，而星期幾則完全沒有對應的部分。
#
# 分類器做不到這件事，因為答案沒有固定的清單。兩個互相搭配的神經網路就可以。**編碼器**（encoder）讀取來源，把它濃縮成一個向量；**解碼器**（decoder）再從這個向量生成目標，一次一個詞元（token）（Cho et al. 2014；Sutskever et al. 2014）。在這篇教學中，你會建立最簡單的編碼器－解碼器，親手計算它的每個步驟，訓練它，並找出它的極限。

# %% tags=["parameters"]
NUM_EXAMPLES = 20_000  # 日期的數量
EPOCHS = 16
NUM_SEQUENCES = 20_000  # 字母序列的數量
EPOCHS_SEQUENCES = 12
MAX_LENGTH = 10  # 字母數
UNITS = 128
NORMALIZATION = "nmt_nfkc"  # 文字的正規化：例如把「º」寫成「o」
SEED = 1

# %%
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # 不顯示找不到 GPU 的訊息。這裡不需要 GPU。

import keras
import matplotlib.pyplot as plt
import numpy as np

import kerasseq

keras.utils.set_random_seed(SEED)

# %% [markdown]
# ## 先看看資料
#
# `load_dates` 會產生各種日期，就像一般人會寫的那樣，共有五種語言、55 種格式，每個日期都附上 ISO 8601 的寫法。測試集裡的日期，不論用哪種格式，都沒有在訓練集裡出現過。（所有年份都介於 1950 與 2049 之間，所以 44 指的是 2044 年。）我們把連字號換成空格，讓每個目標都只有幾個子詞（subword）。後面還會把同一批日期拆成字元來訓練。

# %%
sides = kerasseq.datasets.load_dates(NUM_EXAMPLES)
train, validation, test = [[(source, iso.replace("-", " ")) for source, iso in side] for side in sides]
print(f"{len(train):,} training dates, {len(validation):,} validation dates, {len(test):,} test dates")
for source, target in train[:6]:
    print(f"{source:28} -> {target}")

# %% [markdown]
# 神經網路讀的是數字。前處理器把每段文字切成**詞元**，也就是資料中常見的片段，再把每個詞元對應到一個編號（id）。「▁」表示一個單字的開頭。每個序列都以 END 結束，印出來是 `</s>`：解碼器輸出 END，就表示到此為止。

# %%
preprocessor = kerasseq.preprocessing.TextPreprocessor.from_pairs(
    train, vocabulary_size=1_500, max_target_length=16, normalization=NORMALIZATION
)
print(preprocessor.source_vocabulary_size, "source tokens,", preprocessor.target_vocabulary_size, "target tokens")
ids = preprocessor.encode_source(["3rd of May, 1998"])  # {"encoder_token_ids": (1, source)}
print("source ids:   ", ids["encoder_token_ids"].numpy()[0])
source_tokens = [token.decode() for token in preprocessor.source_tokens(ids).numpy()[0]]
_, labels = preprocessor.encode_target(["1998 05 03"])  # (1, target)
target_tokens = [token.decode() for token in preprocessor.target_tokens(labels).numpy()[0]]
print("source tokens:", source_tokens)
print("target tokens:", target_tokens)

# %% [markdown]
# ## 模型
#
# 設來源有 $n$ 個詞元。第 $j$ 個詞元會先換成它的**嵌入**（embedding）$x_j$，也就是一張可學習的表格中的一列，共有 `embedding_dim` 個數字。編碼器是一個循環神經網路（recurrent neural network, RNN）。它維持一個**隱藏狀態**（hidden state）$h_j$，由 `units` 個數字組成，起初全為零，每讀一個詞元就更新一次：
#
# $$h_j = \tanh(x_j W + h_{j-1} U + b), \qquad j = 1 \ldots n.$$
#
# 計算一個步驟的函數，稱為這個網路的**單元**（cell）。和程式碼一樣，這裡的向量都是列向量。$W$、$U$ 與 $b$ 由訓練學得，所有步驟共用，所以同一個網路可以讀取任意長度的來源。最後一個隱藏狀態就是**上下文向量**（context vector）$c = h_n$。關於來源，解碼器能知道的就只有它。
#
# 解碼器是另一個循環神經網路，有自己的權重。它的隱藏狀態 $s_i$ 從 $c$ 開始。每一步它讀取 $y_{i-1}$，也就是前一個詞元的嵌入（第一步讀的是 START，印出來是 `<s>`），然後為目標詞彙表中的每個詞元給出一個機率：
#
# $$s_0 = c, \qquad s_i = \tanh(y_{i-1} W' + s_{i-1} U' + b'), \qquad p_i = \mathrm{softmax}(s_i V + a).$$
#
# 下圖用的就是前面印出的詞元，來源的中段與目標的結尾則省略不畫。

# %%
kerasseq.plotting.plot_diagram(
    {
        "x1": (f"$x_1$: {source_tokens[0]}", 0, 0, "data"),
        "x2": (f"$x_2$: {source_tokens[1]}", 0.75, 0, "data"),
        "xn": (f"$x_n$: {source_tokens[-1]}", 2.0, 0, "data"),
        "e1": ("encoder", 0, 1),
        "e2": ("encoder", 0.75, 1),
        "...": ("...", 1.4, 1),
        "en": ("encoder", 2.0, 1),
        "c": ("context vector\n$c = h_n = s_0$\n(units)", 2.8, 1, "state"),
        "y0": ("$y_0$: <s>", 3.6, 0, "data"),
        "y1": (f"$y_1$: {target_tokens[0]}", 4.35, 0, "data"),
        "y2": (f"$y_2$: {target_tokens[1]}", 5.1, 0, "data"),
        "d1": ("decoder", 3.6, 1),
        "d2": ("decoder", 4.35, 1),
        "d3": ("decoder", 5.1, 1),
        "p1": (f"$p_1$: {target_tokens[0]}", 3.6, 2, "data"),
        "p2": (f"$p_2$: {target_tokens[1]}", 4.35, 2, "data"),
        "p3": (f"$p_3$: {target_tokens[2]}", 5.1, 2, "data"),
    },
    [
        ("x1", "e1"), ("x2", "e2"), ("xn", "en"), ("e1", "e2", "$h_1$"), ("e2", "..."), ("...", "en"), ("en", "c"),
        ("c", "d1"), ("y0", "d1"), ("y1", "d2"), ("y2", "d3"), ("d1", "d2", "$s_1$"), ("d2", "d3", "$s_2$"),
        ("d1", "p1"), ("d2", "p2"), ("d3", "p3"),
    ],
    title="An encoder-decoder: one vector connects the two networks",
)  # fmt: skip

# %% [markdown]
# 模型是一個 `keras.Model`，由 `model.encoder` 與 `model.decoder` 兩部分組成。解碼器直接以上下文向量作為初始狀態。

# %%
model = kerasseq.models.VanillaSeq2Seq(
    preprocessor.source_vocabulary_size, preprocessor.target_vocabulary_size, embedding_dim=64, units=UNITS
)
encoder, decoder = model.encoder, model.decoder
embedding, forward = encoder.get_layer("embedding"), encoder.get_layer("forward_0")
recurrent = decoder.cells[0]
layers = {
    "encoder, embedding": embedding,
    "encoder, recurrent": forward,
    "decoder, embedding": decoder.embedding,
    "decoder, recurrent": recurrent,
    "decoder, logits": decoder.logits,
}
for name, layer in layers.items():
    for weight in layer.weights:
        print(f"{name:19} {weight.name:17} {tuple(weight.shape)}")

# %% [markdown]
# ## 親手計算一步
#
# 這些式子很短，用 NumPy 加上模型自己的權重就能計算。先從編碼器開始：一個步驟只要一行程式碼，寫成迴圈就能讀完來源。kerasseq 把所有步驟的隱藏狀態合稱為編碼器的**記憶**（memory）。


# %%
def arrays(layer):
    """以 NumPy 陣列傳回一個層的權重。"""
    return [keras.ops.convert_to_numpy(weight) for weight in layer.weights]


def encoder_step(token_id, h):
    """由詞元編號與目前的隱藏狀態 `(units,)`，傳回下一個隱藏狀態 `(units,)`。"""
    (table,), (W, U, b) = arrays(embedding), arrays(forward)
    return np.tanh(table[token_id] @ W + h @ U + b)


states = keras.ops.convert_to_numpy(encoder(ids)["memory"][0])  # (source, units)：所有步驟的隱藏狀態
h = np.zeros(UNITS)
for j, token_id in enumerate(ids["encoder_token_ids"].numpy()[0]):
    h = encoder_step(token_id, h)
    print(f"h_{j + 1}: largest difference from Keras {np.abs(h - states[j]).max():.1e}")

# %% [markdown]
# 接著是解碼器的一個步驟。它讀取 START（編號為 2）與上下文向量。


# %%
def decoder_step(token_id, s):
    """由詞元編號與目前的狀態，傳回下一個隱藏狀態 `(units,)` 與 logits `(vocabulary,)`。"""
    (table,), (W, U, b), (V, a) = arrays(decoder.embedding), arrays(recurrent), arrays(decoder.logits)
    s = np.tanh(table[token_id] @ W + s @ U + b)
    return s, s @ V + a


START, END = kerasseq.preprocessing.vocabulary.START_ID, kerasseq.preprocessing.vocabulary.END_ID
_, logits = decoder_step(START, h)  # h 是最後一個隱藏狀態，也就是上下文向量。
whole = model({**ids, "decoder_token_ids": keras.ops.array([[START]], "int32")})  # (1, 1, vocabulary)
print(f"logits: largest difference from Keras {np.abs(logits - keras.ops.convert_to_numpy(whole)[0, 0]).max():.1e}")

# %% [markdown]
# logits 是 softmax 的輸入。上面的差異都只是 float32 的捨入誤差：這兩個函式就是整個模型。
#
# ## 訓練：教師強制
#
# 訓練時，正確的目標是已知的，所以解碼器不必讀取自己的輸出。不管它自己預測了什麼，讀到的都是「正確」的前一個詞元：它的輸入就是往右移一格的標籤，最前面補上 START。這種做法稱為**教師強制**（teacher forcing）。如此一來，所有步驟可以同時訓練，前面的錯誤也不會把後面的步驟帶偏。

# %%
inputs, labels = next(iter(preprocessor.dataset(train[:1], batch_size=1)))
for name, row in {"decoder input": inputs["decoder_token_ids"], "label": labels}.items():
    print(f"{name:15}", [token.decode() for token in preprocessor.target_tokens(row).numpy()[0]])

# %% [markdown]
# 損失是 $-\log p_i(\text{正確的詞元})$ 對所有目標詞元的平均。同一批次中較短的序列會用填補詞元（padding，編號 0）補齊，`MaskedCrossentropy` 與 `TokenAccuracy` 都會忽略這些詞元。我們把指標放進 `weighted_metrics`：Keras 會用樣本權重來加權，填補詞元與帶有權重的詞元才會算對。（放在 `metrics` 的指標完全看不到權重。）學習率沿著半個餘弦波下降，最後剩下初始值的 2%。梯度裁剪到範數 1，因為循環神經網路的梯度偶爾會爆炸。


# %%
def train_model(model, preprocessor, train, validation, epochs, learning_rate):
    """以教師強制訓練模型，並傳回 Keras 的訓練歷程。"""
    batches = preprocessor.dataset(train, batch_size=64, shuffle=True, seed=SEED)
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, epochs * len(batches), alpha=0.02)
    model.compile(
        keras.optimizers.Adam(schedule, clipnorm=1.0),
        kerasseq.losses.MaskedCrossentropy(),
        weighted_metrics=[kerasseq.metrics.TokenAccuracy()],
    )
    validation_batches = preprocessor.dataset(validation, batch_size=64)
    # 資料集會自行打亂順序，所以 Keras 不可以再打亂（`shuffle=False`）。
    return model.fit(batches, validation_data=validation_batches, epochs=epochs, shuffle=False, verbose=2)


history = train_model(model, preprocessor, train, validation, EPOCHS, learning_rate=2e-3)

# %%
kerasseq.plotting.plot_history(history, title="Training on dates (subwords)")

# %% [markdown]
# ## 生成
#
# 沒有老師帶領時，解碼器就讀取自己產生的前一個詞元，直到輸出 END 為止。有了上面兩個計算單一步驟的函式，寫成一個短短的迴圈就行了。每一步都選機率最高的詞元，這稱為**貪婪搜尋**（greedy search）。


# %%
def generate_by_hand(text, max_length=16):
    state = np.zeros(UNITS)
    for token_id in preprocessor.encode_source([text])["encoder_token_ids"].numpy()[0]:
        state = encoder_step(token_id, state)
    written = [START]
    while written[-1] != END and len(written) <= max_length:
        state, logits = decoder_step(written[-1], state)
        written.append(int(logits.argmax()))
    return preprocessor.decode([written[1:]]).numpy()[0].decode()


generator = kerasseq.TextGenerator(model, preprocessor, sampler="greedy")
for text in ("3rd of May, 1998", "Sonntag, 23. März 2033", "5 mai 2021"):
    print(f"{text:24} by hand: {generate_by_hand(text):14} TextGenerator: {generator.generate(text)}")

# %% [markdown]
# 教師強制與生成是兩種不同的任務。生成時，解碼器讀取的是自己的輸出，而輸出可能是錯的。這種情況在訓練時從未出現，所以一個錯誤可能引來更多錯誤。這個落差稱為**曝露偏差**（exposure bias）。因此，要評斷一個模型，就看它生成了什麼。**完全相符率**（exact match）是測試日期中完全正確的百分比。

# %%
sources, targets = zip(*test, strict=True)
written = generator.generate(sources)
print(kerasseq.evaluation.exact_match(written, targets))
print("token accuracy under teacher forcing, on validation dates:", f"{history.history['val_token_accuracy'][-1]:.1%}")
for source, text in zip(sources[:4], written, strict=False):
    print(f"{source:28} -> {text}")

# %% [markdown]
# ## 它學到了什麼
#
# 沒有人告訴模型「juin」和「June」是同一個月份。它們的上下文向量一致嗎？對每個月份，我們取十二個日期的上下文向量來平均，英文一次，法文一次。接著減去各語言的平均值，再畫出所有組合的餘弦相似度，1 表示方向相同。如果編碼器認得月份，對角線就會是深紅色。

# %%
months = {
    "English": "January February March April May June July August September October November December".split(),
    "French": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre".split(),
}
directions = []
for names in months.values():
    dates = [f"{day} {month} {year}" for month in names for day in (4, 13, 22) for year in (1957, 1986, 2013, 2038)]
    (state,) = encoder(preprocessor.encode_source(dates))["states"]  # 每層一個
    contexts = keras.ops.convert_to_numpy(state["hidden"])  # (144, units)
    means = contexts.reshape(12, -1, UNITS).mean(axis=1)  # (months, units)：日與年的影響在平均後抵消
    means -= means.mean(axis=0)
    directions.append(means / np.linalg.norm(means, axis=1, keepdims=True))

figure, axis = plt.subplots(figsize=(6, 5), layout="constrained")
image = axis.imshow(directions[0] @ directions[1].T, cmap="RdBu_r", vmin=-1, vmax=1)
axis.set_xticks(range(12), months["French"], rotation=90)
axis.set_yticks(range(12), months["English"])
axis.set(xlabel="French month", ylabel="English month", title="Context vectors of months: similarity across languages")
figure.colorbar(image, label="cosine similarity")
plt.show()

# %% [markdown]
# ## 哪裡會出錯

# %%
wrong = [row for row, text in enumerate(written) if text != targets[row]]
for row in wrong[:6]:
    print(f"{sources[row]:28} -> {written[row]:12} expected {targets[row]}")

# %% [markdown]
# 看看錯的是哪個部分：很少是年份。再看看格式：以年份開頭的純數字日期在訓練集裡很少見，而每種格式都需要練習。
#
# ### 同樣的日期，改用字元
#
# 現在把同一批日期拆成單一字元（少數例外），並保留連字號。（詞彙表的開頭是 260 個特殊詞元與單一位元組，所以大小設為 272，還放得下十個數字、連字號與「▁」。）單元與 `units` 都不變，學習率減半，但是序列變長了：半數日期有 11 到 19 個來源詞元，而每個目標都有 12 個詞元：「▁」、十個字元與 END。

# %%
characters = kerasseq.preprocessing.TextPreprocessor(
    kerasseq.preprocessing.train_vocabulary([source for source, _ in sides[0]], 350, NORMALIZATION),
    kerasseq.preprocessing.train_vocabulary([target for _, target in sides[0]], 272, NORMALIZATION),
    max_target_length=16,
)
speller = kerasseq.models.VanillaSeq2Seq(
    characters.source_vocabulary_size, characters.target_vocabulary_size, embedding_dim=64, units=UNITS
)
history = train_model(speller, characters, sides[0], sides[1], EPOCHS, learning_rate=1e-3)
spelled = kerasseq.TextGenerator(speller, characters, sampler="greedy").generate(sources)
for source, text in zip(sources[:4], spelled, strict=False):
    print(f"{source:28} -> {text}")

# %%
right = {
    name: [
        100 * np.mean([text[part] == target[part] for text, target in zip(texts, targets, strict=True)])
        for part in (slice(0, 4), slice(5, 7), slice(8, 10))
    ]
    for name, texts in {"subwords": written, "characters": spelled}.items()
}
figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
for offset, (name, values) in zip((-0.2, 0.2), right.items(), strict=True):
    bars = axis.bar(np.arange(3) + offset, values, 0.38, label=name)
    axis.bar_label(bars, fmt="%.0f")
axis.set_xticks(range(3), ["year", "month", "day"])
axis.set(xlabel="part of the date", ylabel="correct test dates (%)", ylim=(0, 135))
axis.set_title("Accuracy by part of the date: subwords and characters")
axis.legend(loc="upper center", ncols=2)
plt.show()

# %% [markdown]
# 純粹用猜的，月份平均每十二次猜對一次，日則是每三十次猜對一次。改用字元之後，正確率由左到右下降。年份最先寫出，通常才剛讀過不久，也最先學會。月份比較晚寫，五個裡還會錯一個。日最後才寫，還是只能用猜的。
#
# ### 字母序列
#
# 日期之間的差異有很多種。為了單獨觀察序列長度的影響，我們改用隨機的字母序列，並設計兩個任務：**複製任務**（copy task）是按原來的順序寫出字母，**反轉任務**（reverse task）是反過來寫。兩者都需要把每個字母存進上下文向量。我們為每個任務訓練一個模型，兩個模型只有目標不同。

# %%
rng = np.random.default_rng(SEED)


def random_sequences(number, lengths):
    """傳回由字母 a 到 j 組成的隨機序列，以空格分隔，讓每個字母成為一個詞元。"""
    return [" ".join(rng.choice(list("abcdefghij"), length)) for length in rng.choice(lengths, number)]


lengths = np.arange(1, MAX_LENGTH + 1)
sequences, validation_sequences = random_sequences(NUM_SEQUENCES, lengths), random_sequences(300, lengths)
test_sequences = {length: random_sequences(200, [length]) for length in lengths}
letters = kerasseq.preprocessing.TextPreprocessor.from_pairs(
    [(sequence, sequence) for sequence in sequences], vocabulary_size=281
)
exact = {}
for task, step in {"copy": 1, "reverse": -1}.items():
    print(f"\n{task}: {sequences[0]} -> {sequences[0][::step]}")
    letter_model = kerasseq.models.VanillaSeq2Seq(
        letters.source_vocabulary_size, letters.target_vocabulary_size, embedding_dim=32, units=UNITS
    )
    pairs, validation_pairs = (
        [(sequence, sequence[::step]) for sequence in some] for some in (sequences, validation_sequences)
    )
    train_model(letter_model, letters, pairs, validation_pairs, EPOCHS_SEQUENCES, learning_rate=1e-3)
    writer = kerasseq.TextGenerator(letter_model, letters, sampler="greedy")
    exact[task] = [
        kerasseq.evaluation.exact_match(writer.generate(some), [sequence[::step] for sequence in some])["score"]
        for some in test_sequences.values()
    ]

# %% tags=["picture"]
figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
for (task, values), style in zip(exact.items(), ("o-", "s--"), strict=True):
    axis.plot(lengths, values, style, label=f"{task} task")
axis.set(xlabel="sequence length (letters)", ylabel="exact match (% of 200 sequences)")
axis.set_title("Simple RNN: accuracy against sequence length")
axis.set_ylim(-3, 105)
axis.grid(alpha=0.3)
axis.legend()
plt.show()

# %% [markdown]
# 反轉任務的正確率一直很高，可見上下文向量夠大，裝得下整個序列。真正不同的，是讀到一個字母與寫出它之間的距離。在複製任務中，長度為 $n$ 的序列裡，每個字母總是在讀到之後第 $n + 1$ 步寫出（中間還要讀 END）。在反轉任務中，最後一個字母在 2 步之後就寫出，倒數第二個在 4 步之後，第一個則在 $2n$ 步之後。平均距離同樣是 $n + 1$，但是訓練可以從短距離開始，每多一個字母只增加兩步。Sutskever et al. 2014 把來源句子反轉，就是這個緣故。
#
# 序列更長時，還有兩個障礙，接下來的兩篇教學會把它們排除：
#
# - **隱藏狀態會遺忘。** 每一步都要讓整個狀態通過 $U$ 與 $\tanh$。訓練時，梯度沿著同一條路往回走，距離愈遠就愈小（Bengio et al. 1994）。教學 2 加入閘（gate），讓單元能留住需要的內容。
# - **上下文向量的大小固定。** 不論是 10 個字母還是 1,000 個，它都只有 `units` 個數字。超過某個長度，任何單元都不夠用。教學 3 讓解碼器回頭看編碼器的所有狀態。
#
# ## 練習
#
# 1. 由十種字母組成、長度為 $n$ 的序列，帶有多少位元的資訊？由 128 個浮點數組成的上下文向量又有多少位元？模型無法複製更長的序列，是因為向量太小嗎？
# 2. 讓反轉模型處理比訓練資料中任何序列都多一個、兩個、三個字母的序列。
# 3. `generator.generate("3rd of May, 1998", prefixes="2001")` 強制輸出以 2001 開頭。模型接下來會寫什麼？為什麼？
#
# **解答**
#
# 1. $n \log_2 10$ 位元，十個字母就是 33 位元，而向量有 128 乘以 32 位元。就算每個浮點數只有幾個位元派得上用場，向量的大小在這裡也不是限制，反轉任務就是證明。
# 2. 先執行 `longer = random_sequences(200, [MAX_LENGTH + 1])`，再執行 `writer.generate(longer)`：`writer` 裡是最後訓練的反轉模型。幾乎沒有一個序列是對的，大多數輸出停在模型熟悉的長度。它學到的是輸出至多 `MAX_LENGTH` 個字母，而不是反轉。
# 3. 月份通常還是來源的月份，日卻常常不同。只有隱藏狀態知道來源是什麼，解碼器就從這個狀態與讀到的詞元繼續往下寫。這裡它讀到的年份與自己的狀態互相矛盾。教師強制從未讓它遇過這種情況，所以它沒有學過該怎麼辦。
