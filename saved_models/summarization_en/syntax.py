"""What a parser says about English sentences, as labels for their subwords.

The encoder learns grammar from it before it learns to compress: what goes with what, and what can be left out. spaCy
parses the sentences once, in an environment of its own (the release: spaCy 3.6.1, en_core_web_sm 3.6.0, whose licence
is MIT):

    pip install "spacy==3.6.*" "numpy<2" && python -m spacy download en_core_web_sm
    python saved_models/summarization_en/syntax.py runs/summarization_en/texts.json runs/summarization_en/parses.json
"""

import json
import os
import sys

import numpy as np

KINDS = ("tag", "dependency", "head")
SPACE = "_SP"  # spaCy's tag of repeated spaces
FARTHEST = 10  # words from a word to its head; farther ones count as that far


def parse(texts, pipeline="en_core_web_sm"):
    """Parses sentences with spaCy.

    Returns:
        dict of `parser`, str, what parsed them, and `parses`, by text a list of words `[start, length, tag, dependency,
        head]`: characters, the fine part of speech (Penn Treebank), the dependency label, and the number of the word
        that is the head.
    """
    import spacy
    import tqdm

    language = spacy.load(pipeline, disable=["ner", "lemmatizer"])
    documents = tqdm.tqdm(language.pipe(texts, batch_size=256), total=len(texts), desc="Parsing")
    parses = [[[word.idx, len(word), word.tag_, word.dep_, word.head.i] for word in document] for document in documents]
    name = f"spaCy {spacy.__version__}, {language.meta['lang']}_{language.meta['name']} {language.meta['version']}"
    return {"parser": name, "parses": dict(zip(texts, parses, strict=True))}


class Syntax:
    """Labels of subwords: part of speech, dependency, and how far to which side the head is.

    Args:
        parses: dict of lists of words by text, see `parse`.
        vocabulary: bytes, the serialized SentencePiece model of the texts.

    Attributes:
        sizes: dict of the number of labels by kind; 0 is for tokens without a label.
    """

    def __init__(self, parses, vocabulary):
        import tensorflow_text  # Deferred: spaCy's environment does not have it.

        self.parses = parses
        self.tokenizer = tensorflow_text.SentencepieceTokenizer(vocabulary, out_type=np.int32)
        words = [word for parsed in parses.values() for word in parsed]
        self.tags, self.dependencies = (
            {label: number for number, label in enumerate(sorted({word[column] for word in words}), start=1)}
            for column in (2, 3)
        )
        self.sizes = {"tag": len(self.tags) + 1, "dependency": len(self.dependencies) + 1, "head": 2 * FARTHEST + 2}

    def encode(self, texts):
        """Token ids of texts, without END, and their labels.

        Returns:
            list of tuples of int32 `(tokens,)` and a dict of the same by kind.
        """
        ragged = self.tokenizer.tokenize_with_offsets(texts)
        rows = zip(texts, *(values.to_list() for values in ragged), strict=True)
        return [(np.array(ids, "int32"), self.labels(text, starts, limits)) for text, ids, starts, limits in rows]

    def labels(self, text, starts, limits):
        """The labels of a text's tokens, which begin and end at these bytes."""
        word_at = {}  # number of the word by byte
        byte_at = np.cumsum([0, *(len(character.encode()) for character in text)])
        for number, (start, length, tag, *_) in enumerate(self.parses[text]):
            if tag != SPACE:
                word_at.update(dict.fromkeys(range(byte_at[start], byte_at[start + length]), number))
        labels = {kind: np.zeros(len(starts), "int32") for kind in KINDS}
        for position, (start, limit) in enumerate(zip(starts, limits, strict=True)):
            # Of several pieces for one character, all but one are empty.
            places = range(start, max(limit, start + 1))
            number = next((word_at[place] for place in places if place in word_at), None)
            if number is None:
                continue
            _, _, tag, dependency, head = self.parses[text][number]
            labels["tag"][position] = self.tags[tag]
            labels["dependency"][position] = self.dependencies[dependency]
            labels["head"][position] = np.clip(head - number, -FARTHEST, FARTHEST) + FARTHEST + 1
        return labels


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        sentences = json.load(file)
    parsed = parse(sentences, *sys.argv[3:])
    with open(f"{sys.argv[2]}.unfinished", "w", encoding="utf-8") as file:
        json.dump(parsed, file)
    os.replace(f"{sys.argv[2]}.unfinished", sys.argv[2])
