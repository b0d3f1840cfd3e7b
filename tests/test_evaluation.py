import importlib.metadata
import math
import re
import sys
import unicodedata

import pytest
import sacrebleu

from kerasseq.datasets import read_pairs
from kerasseq.evaluation import (
    bleu,
    caption_bleu,
    chrf,
    cider,
    compression_rate,
    exact_match,
    new_words,
    rouge,
    score_texts,
    token_f1,
    word_error_rate,
)
from kerasseq.evaluation.scores import METRICS

PREDICTIONS = ["the cat sat on a mat", "there is a dog in the garden", "hello"]
REFERENCES = [
    ["the cat sat on the mat", "a cat was sitting on the mat", "the cat is on a mat"],
    ["a dog is in the garden"],
    ["hello there", "hello"],
]


FIRSTS = [row[0] for row in REFERENCES]


@pytest.mark.parametrize(("score", "corpus_score"), [(bleu, sacrebleu.corpus_bleu), (chrf, sacrebleu.corpus_chrf)])
def test_agrees_with_sacrebleu(score, corpus_score):
    assert score(PREDICTIONS, FIRSTS)["score"] == round(corpus_score(PREDICTIONS, [FIRSTS]).score, 2)
    # Streams of equal length: repeating a reference changes no score.
    most = max(map(len, REFERENCES))
    streams = [list(stream) for stream in zip(*(row + row[:1] * (most - len(row)) for row in REFERENCES), strict=True)]
    several = score(PREDICTIONS, REFERENCES)
    assert several["score"] == round(corpus_score(PREDICTIONS, streams).score, 2)
    assert several["score"] > score(PREDICTIONS, FIRSTS)["score"]
    mixed = [REFERENCES[0], REFERENCES[1][0], tuple(REFERENCES[2])]
    assert score(iter(PREDICTIONS), iter(mixed)) == several


def test_hand_computed_bleu():
    # N-grams of the prediction that occur in the reference: 6 of 7, 4 of 6, 3 of 5, 2 of 4. No brevity penalty.
    expected = 100 * (6 / 7 * 4 / 6 * 3 / 5 * 2 / 4) ** 0.25
    assert bleu(["the small cat sat on the mat"], ["the cat sat on the mat"])["score"] == round(expected, 2)


def test_perfect_and_wrong_predictions():
    for score in (bleu, chrf):
        assert score(["one two three four"], ["one two three four"])["score"] == 100.0
        assert score(["one two three four"], ["zzzz"])["score"] == 0.0


def test_tokenizer_for_chinese():
    predictions, references = ["我们今天去公园玩"], ["我们今天去公园散步"]
    expected = sacrebleu.corpus_bleu(predictions, [references], tokenize="zh")
    assert bleu(predictions, references, tokenize="zh")["score"] == round(expected.score, 2) > 0
    assert bleu(predictions, references, language="zh-TW") == bleu(predictions, references, tokenize="zh")
    with pytest.warns(UserWarning, match="BLEU compares words.*no spaces.*Pass language=, such as 'zh'"):
        assert bleu(predictions, references)["score"] == 0


def test_signatures():
    signature = bleu(PREDICTIONS, REFERENCES)["signature"]
    assert "tok:13a" in signature and "nrefs:var" in signature and f"version:{sacrebleu.__version__}" in signature
    assert "nc:6" in chrf(PREDICTIONS, REFERENCES)["signature"]


def measures(predictions, references):
    """`rouge` without its signature."""
    return {name: value for name, value in rouge(predictions, references).items() if name != "signature"}


def test_hand_computed_rouge():
    # Stems: home the cat were run; the cat was run to it home. Common unigrams: home, the, cat, run, of 5 and 7.
    # Common bigrams: "the cat", of 4 and 6. Longest common subsequence: "the cat run".
    # F1 = 2 * common / (number in the prediction + number in the reference).
    scores = measures(["Home the cats were running!"], ["The cat was running to its home."])
    assert scores == {
        "rouge1": round(100 * 2 * 4 / (5 + 7), 2),
        "rouge2": round(100 * 2 * 1 / (4 + 6), 2),
        "rougeL": round(100 * 2 * 3 / (5 + 7), 2),
    }


@pytest.mark.parametrize(
    ("prediction", "reference", "expected"),
    [
        ("running", "run", 100.0),
        ("he runs", "he was running", 80.0),  # he, run of 2 and 3
        ("running", "ran", 0.0),  # stems, not lemmas
        ("cats", "cat", 100.0),
        ("his", "hi", 0.0),  # words of 3 characters are not stemmed
        ("the the cat", "the cat cat", 66.67),  # the, cat: clipped counts, of 3 and 3
        ("Don't, she said", "don t SHE SAID", 100.0),
        ("", "cat", 0.0),
        ("cat", "", 0.0),
        ("", "", 0.0),
        ("Bär", "b r", 100.0),
    ],
)
def test_words_of_rouge(prediction, reference, expected):
    assert rouge([prediction], [reference])["rouge1"] == expected


def test_rouge_is_a_mean_over_predictions():
    # 2 of 2 and 2 words; 1 of 1 and 4; 0. Only the first texts have a bigram.
    scores = measures(["a b", "c", "d"], ["a b", "c x y z", "e"])
    assert scores["rouge1"] == scores["rougeL"] == round(100 * (1 + 2 / 5 + 0) / 3, 2)
    assert scores["rouge2"] == 33.33


def test_rouge_uses_the_best_reference_for_each_score():
    # Reversed: all unigrams, no bigram, a subsequence of 1. The other: 2 of 4 unigrams, 1 of 3 bigrams, 2 of 4.
    predictions, references = ["a b c d", "e"], [["d c b a", "a b x y"], ["e"]]
    scores = measures(predictions, references)
    assert scores == {"rouge1": 100.0, "rouge2": round(100 * (1 / 3 + 0) / 2, 2), "rougeL": 100 * (2 / 4 + 1) / 2}
    assert measures(iter(predictions), [tuple(references[0]), "e"]) == scores


def test_signature_of_rouge():
    signature = rouge(["a", "b"], [["a"], ["b", "c"]])["signature"]
    assert f"package:rouge-score|version:{importlib.metadata.version('rouge-score')}" in signature
    assert "nrefs:var" in signature and "stem:porter" in signature
    assert "nrefs:2" in rouge(["a"], [["a", "b"]])["signature"] and "nrefs:1" in rouge(["a"], ["a"])["signature"]


def test_rouge_is_silent(capfd, caplog):
    rouge(["a"], ["a"])
    assert capfd.readouterr() == ("", "") and not caplog.records


def f1(*arguments, **options):
    return token_f1(*arguments, **options)["score"]


@pytest.mark.parametrize(
    ("prediction", "reference", "words", "whitespace"),
    [
        # Words: the, cat and "," are common, of 4 (the cat , the) and 4 (the cat cat ,). White space: "the" and "cat,"
        # are common, of 3 (the cat, The) and 3 (the cat cat,).
        ("the cat, The", "the cat cat,", 2 * 3 / 8, 2 * 2 / 6),
        ("the the the", "the cat", 2 * 1 / 5, 2 * 1 / 5),  # the reference has "the" once
        ("cat the", "the cat", 1, 1),  # order does not matter
        ("The cat", "the cat", 1, 2 * 1 / 4),
        ("go home", "go home.", 2 * 2 / 5, 2 * 1 / 4),
        ("...", ".", 2 * 1 / 4, 0),  # each mark is a token
        ("École à été", "école", 2 * 1 / 4, 0),
        ("мы идём", "мы", 2 * 1 / 3, 2 * 1 / 3),
        ("", "", 1, 1),
        (" \n", "\u3000", 1, 1),
        ("", "cat", 0, 0),
        ("cat", "", 0, 0),
    ],
)
def test_hand_computed_token_f1(prediction, reference, words, whitespace):
    assert f1([prediction], [reference]) == f1([prediction], [reference], "words") == round(words, 4)
    assert f1([prediction], [reference], tokens="whitespace") == round(whitespace, 4)
    assert f1([reference], [prediction]) == round(words, 4)


def test_token_f1_is_a_mean_over_predictions():
    # 1 of 1 and 1; 1 of 1 and 5; both empty. Over all tokens at once, it would be 2 * 2 / 8.
    assert f1(iter(["a", "b", ""]), iter(["a", "b c d e f", ""])) == round((1 + 2 / 6 + 1) / 3, 4)


def test_unknown_tokens():
    with pytest.raises(
        ValueError, match="tokens must be one of 'words', 'whitespace', 'characters'. Received: tokens='bytes'"
    ):
        token_f1(["a"], ["a"], tokens="bytes")


def test_hand_computed_compression_rate():
    # 3 of 12 characters, 0 of 2, 4 of 4: the mean of rates, not 7 of 18. Characters, not bytes.
    assert compression_rate(["a b", "", "été "], ["abcdef ghijk", "ab", "à là"]) == round((3 / 12 + 0 + 1) / 3, 4)
    assert compression_rate(["我们"], ["我们去公园"]) == 0.4
    assert compression_rate(["longer"], ["abc"]) == 2.0


def test_empty_source():
    with pytest.raises(ValueError, match="at least one character. Received: none at index 1"):
        compression_rate(["a", ""], ["a", ""])


def test_hand_computed_new_words():
    predictions = ["The CAT, sat.", "a dog a dog slept and", "", "École café", "cat", "don't"]
    sources = ["the cat (sat) down", "cats and cats", "x", "l'école", "", "don t"]
    assert new_words(iter(predictions), iter(sources)) == {
        "outputs": 3,
        "share": 0.5,
        "examples": [(1, ["a", "dog", "slept"]), (3, ["café"]), (4, ["cat"])],
    }
    assert new_words(["a", "b", "."], ["a b", "b", "a"]) == {"outputs": 0, "share": 0.0, "examples": []}
    assert new_words(["a", "b", "c"], ["a", "b", "d"])["share"] == 0.3333


@pytest.fixture(scope="module")
def compressions(require_mirror):
    """The first 1,000 sentences of Google's evaluation set, the test set of papers, with their compressions."""
    name = "sentence_compression/comp-data.eval.tsv"
    header, *pairs = read_pairs(require_mirror(name) / name, columns=(0, 1), quotes=False)
    assert header == ("original", "compressed") and len(pairs) == 10_000
    return [list(side) for side in zip(*pairs[:1_000], strict=True)]


def test_copying_as_a_baseline(compressions):
    sources, targets = compressions
    # White space tokens are case-sensitive. In lower case, they would score 0.52.
    assert f1(sources, targets) == pytest.approx(0.59, abs=0.005)
    assert f1(sources, targets, "whitespace") == pytest.approx(0.51, abs=0.005)
    assert compression_rate(sources, sources) == 1
    # awk: `NR > 1 && NR < 1002 { sum += length($2) / length($1) } END { print sum / 1000 }`.
    assert compression_rate(targets, sources) == 0.4275
    assert new_words(sources, sources)["outputs"] == 0
    # Targets only delete words, except for "can not" where the source has "cannot".
    assert new_words(targets, sources) == {"outputs": 1, "share": 0.001, "examples": [(486, ["can", "not"])]}
    # Nearly all target words occur in the source, in the same order.
    scores = rouge(sources, targets)
    assert scores["rouge1"] - 0.1 < scores["rougeL"] <= scores["rouge1"]


def test_first_twelve_tokens_as_a_baseline(compressions):
    """With and without the full stop that ends every target."""
    sources, targets = compressions
    assert f1(first_words(sources, " .", words_and_marks), targets) == pytest.approx(0.65, abs=0.005)
    assert f1(first_words(sources, " ."), targets, "whitespace") == pytest.approx(0.55, abs=0.005)
    assert f1(first_words(sources), targets) == pytest.approx(0.61, abs=0.005)
    assert f1(first_words(sources), targets, "whitespace") == pytest.approx(0.576, abs=0.005)


def words_and_marks(text):
    """The tokens of `token_f1`, computed without regular expressions."""
    return "".join(c if c.isalnum() or c == "_" else f" {c} " for c in text).split()


def first_words(texts, end="", split=str.split):
    return [" ".join(split(text)[:12]) + end for text in texts]


@pytest.mark.parametrize("score", [bleu, chrf, rouge])
@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [
        ([], [], "at least 1. Received: 0 predictions, 0 references"),
        (["a"], [], "Received: 1 predictions, 0 references"),
        (["a", "b"], [["a", "b"]], "Received: 2 predictions, 1 references"),
        (["a", "b"], ["a", []], "Received: none at index 1"),
        ("one", "one", "Received: a single string"),
        (["one"], "o", "Received: a single string"),
        ({"one"}, ["one"], "must be lists. Received: a set"),
        (["one"], {"one": 1}, "must be lists. Received: a dict"),
        (None, ["one"], "must be lists. Received: a NoneType"),
        (["a", None], ["a", "b"], "predictions must be strings. Received: None, of type NoneType"),
        (["a"], [["a", 1]], "references must be strings. Received: 1, of type int"),
    ],
)
def test_errors(score, predictions, references, message):
    with pytest.raises(ValueError, match=message):
        score(predictions, references)


@pytest.mark.parametrize(
    ("score", "name"), [(token_f1, "references"), (compression_rate, "sources"), (new_words, "sources")]
)
@pytest.mark.parametrize(
    ("predictions", "others", "message"),
    [
        ([], [], "predictions and {name} must be .* at least 1. Received: 0 predictions, 0 {name}"),
        (["a", "b"], ["a"], "Received: 2 predictions, 1 {name}"),
        ("one", ["one"], "predictions and {name} must be lists. Received: a single string"),
        (["one"], "o", "Received: a single string"),
        ([b"a"], ["a"], "predictions must be strings. Received: b'a', of type bytes"),
        (["a"], [["a", "b"]], r"{name} must be strings, one each. Received: \['a', 'b'\], of type list"),
    ],
)
def test_errors_with_one_text_per_prediction(score, name, predictions, others, message):
    with pytest.raises(ValueError, match=message.format(name=name)):
        score(predictions, others)


# === Word errors ===


def test_hand_computed_word_errors():
    """One substitution, one deletion and one insertion in seven words. Spaces count as characters."""
    predictions, references = ["one too three", "four", "five six six"], ["one two three", "four five", "five six"]
    assert word_error_rate(predictions, references) == {
        "wer": round(100 * 3 / 7, 2),
        "cer": round(100 * (1 + 5 + 4) / (13 + 9 + 8), 2),
        "substitutions": 1,
        "deletions": 1,
        "insertions": 1,
        "words": 7,
    }


def test_any_white_space_is_one_space():
    predictions, references = ["Où est la gare ?", "a b  c\u2003", "x"], ["Où est la\u00a0gare\u202f?", "a\tb\nc", "x"]
    errors = word_error_rate(predictions, references)
    assert errors["wer"] == errors["cer"] == 0 and errors["words"] == 9
    assert exact_match(predictions, references)["score"] == 100.0


def test_empty_prediction_and_reference():
    assert word_error_rate([""], ["one two"])["wer"] == 100.0
    with pytest.raises(ValueError, match="index 1: ' '. Remove such pairs"):
        word_error_rate(["a", "b"], ["a", " "])


# === Captions ===


def test_words_of_captions():
    """Case and punctuation are ignored, wherever the spaces are."""
    perfect = caption_bleu(["A dog , the boy's ."], [["a dog the boy's"]])
    assert [perfect[f"bleu{order}"] for order in range(1, 5)] == [100.0] * 4
    assert cider(["A dog .", "b"], ["a DOG", "c"])["scores"] == cider(["a dog", "b"], ["a dog", "c"])["scores"]


def test_hand_computed_bleu_of_captions():
    # As above: 6 of 7, 4 of 6, 3 of 5, 2 of 4 n-grams.
    scores = caption_bleu(["The small cat sat on the mat."], [["the cat sat on the mat", "a dog"]])
    shares = [6 / 7, 4 / 6, 3 / 5, 2 / 4]
    for order in range(1, 5):
        assert scores[f"bleu{order}"] == round(100 * math.prod(shares[:order]) ** (1 / order), 2)
    # Brevity penalty: 3 words, 5 in the nearest reference.
    short = caption_bleu(["a cat sat"], [["a cat sat on it", "a cat sat on the mat"]])
    assert short["bleu1"] == short["bleu3"] == round(100 * math.exp(1 - 5 / 3), 2) and short["bleu4"] == 0
    assert "nrefs:2" in short["signature"] and "without punctuation" in short["signature"]


def test_hand_computed_cider():
    """Two images, one reference each. N-grams in both references weigh log(2 / 2) = 0, others log 2."""
    # "a b": "a" weighs 0; "b" and "a b" log 2. Reference "a b c": "b", "c", "a b", "b c", "a b c" weigh log 2.
    unigrams, bigrams = 1 / math.sqrt(2), 1 / math.sqrt(2)
    penalty = math.exp(-(1**2) / (2 * 6**2))
    expected = 1000 * penalty * (unigrams + bigrams + 0 + 0) / 4
    result = cider(["a b", "a"], ["a b c", "a d"])
    assert result["scores"] == [round(expected, 2), 0.0]
    assert result["score"] == pytest.approx(expected / 2, abs=0.01)
    # Counts are clipped. "b b" against "b": min(2, 1) * 1 / (2 * 1), and no common bigram.
    assert cider(["b b", "x"], ["b", "y"])["scores"][0] == round(1000 * penalty * 0.5 / 4, 2)


def test_cider_is_a_mean_over_references():
    predictions = ["a b c d", "e f"]
    alone = [cider(predictions, [[text], ["e f"]])["scores"][0] for text in ("a b c d", "x y z w")]
    both = cider(predictions, [["a b c d", "x y z w"], ["e f"]])
    assert alone == [1000.0, 0.0] and both["scores"][0] == 500.0
    assert "nrefs:var" in both["signature"]
    assert cider(["a b"], ["a b"])["score"] == 0  # With a single image, all weights are 0.
    assert cider(["", "a"], ["b", "c"])["score"] == 0


def test_cider_agrees_with_the_coco_script():
    """Values of pycocoevalcap 1.2, times 100."""
    predictions = ["a dog runs in the snow", "two men play football", "a girl on a swing swings"]
    references = [
        ["a black dog runs in deep snow", "the dog is running in the snow", "a dog runs"],
        ["two men play a game of football on grass", "men playing football", "two boys play soccer"],
        ["a girl is on a swing", "the girl swings high on a swing", "a child on a swing"],
    ]
    expected = [358.3, 172.98, 352.87]
    assert cider(predictions, references)["scores"] == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("score", [caption_bleu, cider])
def test_captions_that_cannot_be_scored(score):
    with pytest.raises(ValueError, match="lists of the same length"):
        score([], [])
    with pytest.raises(ValueError, match="Every prediction needs at least one reference. Received: none at index 1"):
        score(["a", "b"], [["a"], []])


@pytest.mark.parametrize(("tokenize", "warnings"), [("13a", 1), ("none", 0)])
def test_warning_about_tokenized_texts(tokenize, warnings, caplog):
    sentences = ["it is late ."] * 101
    assert bleu(sentences, sentences, tokenize)["score"] == 100
    assert sum("tokenized period" in record.message for record in caplog.records) == warnings


@pytest.mark.parametrize("tokenize", ["moses", ""])
def test_unknown_tokenizers(tokenize):
    with pytest.raises(ValueError, match=f"tokenize must be one of .*'13a'.* Received: tokenize={tokenize!r}"):
        bleu(["a"], ["a"], tokenize=tokenize)


# === Languages ===


@pytest.mark.parametrize(
    ("language", "text", "same"),
    [
        ("zh", "我们今天去公园", "我们 今天去公园"),
        ("ja", "きょうは学校です", "きょうは 学校です"),
        ("th", "วันนี้ไปสวน", "วันนี้ ไปสวน"),
        ("ru", "Мы идём в парк!", "мы идём в парк"),
    ],
)
def test_rouge_of_other_scripts(language, text, same):
    result = rouge([text], [same], language=language)
    assert result["rouge1"] == result["rougeL"] == 100 and "porter" not in result["signature"]
    with pytest.warns(UserWarning, match="letters a to z.*Pass language="):
        assert rouge([text], [same])["rouge1"] == 0


def test_hand_computed_scores_by_characters():
    """Of 我们去公园 and 我去公园 four characters are common, of 5 and 4; bigrams 去公 and 公园, of 4 and 3."""
    prediction, reference = ["我们去公园"], ["我去公园"]
    scores = rouge(prediction, reference, language="zh")
    assert (scores["rouge1"], scores["rouge2"]) == (round(100 * 2 * 4 / 9, 2), round(100 * 2 * 2 / 7, 2))
    assert f1(prediction, reference, language="zho") == round(2 * 4 / 9, 4) == f1(prediction, reference, "characters")
    assert caption_bleu(prediction, reference, language="zh")["bleu1"] == 80
    spaced = [[" ".join(text) for text in texts] for texts in (prediction, reference)]
    assert bleu(prediction, reference, language="th")["score"] == bleu(*spaced, tokenize="none")["score"] > 0
    for score in (token_f1, caption_bleu, cider):
        with pytest.warns(UserWarning, match=f"{score.__name__} compares words.*Pass language="):
            score(prediction, reference)


@pytest.mark.parametrize(
    ("language", "prediction", "reference"), [("hi", "की", "का"), ("th", "ดี", "ดู"), ("bn", "কি", "কা"), ("my", "မိ", "မု")]
)
def test_vowel_signs_are_part_of_words(language, prediction, reference):
    for score, name in ((rouge, "rouge1"), (caption_bleu, "bleu1")):
        assert score([prediction], [reference], language=language)[name] == 0
        assert score([prediction], [prediction], language=language)[name] == 100
    composed, decomposed = (unicodedata.normalize(form, "l'été à Paris") for form in ("NFC", "NFD"))
    assert rouge([composed], [decomposed], language="fr")["rougeL"] == 100
    assert rouge(["किताब पढ़ो"], ["किताब लो"], language="hi")["rouge1"] == 50


def test_words_of_rouge_in_a_language_with_accents():
    """é is a letter of French, not the end of a word."""
    assert rouge(["été"], ["t"], language="fr")["rouge1"] == 0 != rouge(["été"], ["t"])["rouge1"]
    assert (
        rouge(["cats"], ["cat"], language="en") == rouge(["cats"], ["cat"], language="eng") == rouge(["cats"], ["cat"])
    )


@pytest.mark.parametrize("language", ["Chinese", "z", "", 5, "zh2"])
def test_unknown_languages(language):
    for score in (bleu, rouge, cider, caption_bleu, token_f1):
        with pytest.raises(ValueError, match="language must be a code such as 'en', 'zh' or 'ja'. Received: language="):
            score(["a"], ["a"], language=language)


def test_a_tokenizer_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "MeCab", None)
    sys.modules.pop("sacrebleu.tokenizers.tokenizer_ja_mecab", None)
    with pytest.raises(ImportError, match=r'pip install "sacrebleu\[ja\]", or pass tokenize="char"'):
        bleu(["学校"], ["学校"], language="ja")


def test_settings_of_metrics():
    texts = ["我们今天去公园"], ["我们明天去公园"]
    scores = score_texts(*texts, {"bleu": {"tokenize": "char"}, "token_f1": {"tokens": "characters"}, "chrf": {}})
    assert scores["bleu"] == bleu(*texts, tokenize="char") and scores["chrf"] == chrf(*texts)
    assert scores["token_f1"] == token_f1(*texts, tokens="characters")
    # The language is that of all metrics that split texts; a setting of a metric goes before it.
    of_language = score_texts(*texts, {"bleu": {"tokenize": "char"}, "rouge": {}, "chrf": {}}, language="zh")
    assert of_language["bleu"] == scores["bleu"] and of_language["rouge"] == rouge(*texts, language="zh")
    assert score_texts(*texts, "bleu", language="zh")["bleu"] == bleu(*texts, tokenize="zh")


@pytest.mark.parametrize("name", METRICS)
def test_which_values_of_a_metric_are_better(name):
    """The references themselves are better than other texts."""
    references = ["the cat sat on the mat", "a dog ran over the road"]
    best = {"max": max, "min": min}[METRICS[name].mode]
    perfect, wrong = (score_texts(texts, references, name)[name] for texts in (references, ["birds", "sing"]))
    for key in METRICS[name].logged:
        assert perfect[key] != wrong[key] and best(perfect[key], wrong[key]) == perfect[key]


def test_every_metric_by_name():
    """One form: a dict of numbers, with intervals on request."""
    for name, metric in METRICS.items():
        result = score_texts(PREDICTIONS, FIRSTS, name, resamples=40)[name]
        assert set(metric.logged) == set(result["intervals"])
        for entry, (lower, upper) in result["intervals"].items():
            assert lower <= result[entry] <= upper


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({"bleu": {"tokenizer": "zh"}}, r"settings of 'bleu' must be a dict of 'language', 'tokenize'. .*'tokenizer'"),
        ({"exact_match": {"language": "zh"}}, "settings of 'exact_match' must be a dict of nothing"),
        ({"bleu": "zh"}, "settings of 'bleu' must be a dict of .* Received: 'zh'"),
        ({"meteor": {}}, "metrics must be a list of names, or a dict from names to settings, among 'bleu'"),
        ([("bleu", "zh")], r"metrics must be .* Received: \[\('bleu', 'zh'\)\]"),
    ],
)
def test_unknown_settings(metrics, message):
    with pytest.raises(ValueError, match=message):
        score_texts(["a"], ["a"], metrics)


# === Confidence intervals ===


@pytest.mark.parametrize(("score", "name"), [(bleu, "BLEU"), (chrf, "CHRF")])
@pytest.mark.parametrize("failing", [False, True])
def test_intervals_agree_with_sacrebleu(score, name, failing, monkeypatch):
    """Half the width around the mean of the resamples, also if sacreBLEU itself cannot resample."""
    predictions, references = PREDICTIONS * 5, FIRSTS * 5
    metric = getattr(sacrebleu.metrics, name)
    corpus_score = metric.corpus_score
    report = str(metric().corpus_score(predictions, [references], n_bootstrap=200))
    mean, half = map(float, re.search(r"μ = ([\d.]+) ± ([\d.]+)", report).groups())

    def failing_corpus_score(self, hypotheses, references, n_bootstrap=1):
        if n_bootstrap > 1:
            raise TypeError
        return corpus_score(self, hypotheses, references)

    if failing:
        monkeypatch.setattr(metric, "corpus_score", failing_corpus_score)
    found = score(predictions, references, resamples=200)
    assert found["intervals"]["score"] == pytest.approx([mean - half, mean + half], abs=0.011)
    assert failing or "bs:200|seed:12345" in found["signature"]
    assert score(["a"], ["b"], resamples=40)["intervals"] == {"score": [0.0, 0.0]}


def test_intervals_if_some_resamples_score_0():
    """One of two texts is right: a quarter of the resamples have none, a quarter both, and half one of each."""
    found = chrf(["abcdefgh", "xyz"], ["abcdefgh", "uvw"], resamples=2_000)
    # The interval has a width of 100, around the mean of the resamples, and is cut at 100.
    mean = 25 + found["score"] / 2
    assert found["intervals"]["score"] == pytest.approx([mean - 50, 100], abs=1)
    assert "bs:2000" in found["signature"]


def test_intervals_of_exact_matches_are_binomial():
    predictions = ["yes", "no"] * 200
    low, high = exact_match(predictions, ["yes"] * 400, resamples=2_000)["intervals"]["score"]
    deviation = 100 * math.sqrt(0.5 * 0.5 / 400)
    assert (low, high) == pytest.approx((50 - 1.96 * deviation, 50 + 1.96 * deviation), abs=0.6)


def test_intervals_of_error_rates():
    """If all texts have the same rate, so have all resamples. Longer texts weigh more."""
    same = word_error_rate(["one x", "a b x x"], ["one two", "a b c d"], resamples=50)
    assert same["intervals"]["wer"] == [50.0, 50.0]
    # A correct text of one word, and a text of three words with three substitutions, deletions or insertions.
    for wrong, share in (("x y z", 75.0), ("", 75.0), ("a b c x y z", 75.0)):
        found = word_error_rate(["one", wrong], ["one", "a b c"], resamples=400)
        assert found["wer"] == share and found["intervals"]["wer"] == [0.0, 100.0]
    assert exact_match(["a", "b"], [["a", "c"], ["d"]])["score"] == 50.0


@pytest.mark.parametrize("resamples", [-1, 1, 39, 50.0, True, None])
@pytest.mark.parametrize("score", [bleu, chrf, rouge, word_error_rate, exact_match])
def test_bad_numbers_of_resamples(score, resamples):
    with pytest.raises(ValueError, match="resamples must be 0 or an integer of at least 40. Received: resamples="):
        score(["a"], ["a"], resamples=resamples)
