"""Writes Multi30k English-German, in the authors' tokens, as the subwords that all systems read.

One vocabulary of byte-pair encoding is trained with SentencePiece on both sides of the training pairs. Every system
gets the same subwords, so speeds in tokens a second can be compared.

    python benchmarks/peers/prepare_data.py
"""

import argparse
import io

import comparison


def prepare(quick):
    """Writes texts, subwords and the vocabulary to the folder of data, unless they are there."""
    settings = comparison.QUICK if quick else comparison.FULL
    folder = comparison.work_folder(quick) / "data"
    finished = folder / "vocabulary.txt"
    if finished.exists():
        return
    import sentencepiece  # Deferred, as kerasseq: where all is there, this takes no time.

    import kerasseq

    folder.mkdir(parents=True, exist_ok=True)
    splits = kerasseq.datasets.load_multi30k(*comparison.LANGUAGES, tokenized=True)
    splits = dict(zip(("train", "validation", "test"), splits, strict=True))
    splits["train"] = splits["train"][: settings.train_pairs]
    splits["validation"] = splits["validation"][: settings.validation_pairs]
    model = train_subwords(splits["train"], settings.vocabulary_size)
    (folder / "subwords.model").write_bytes(model)
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    vocabulary = [processor.id_to_piece(index) for index in range(processor.get_piece_size())]
    for split, pairs in splits.items():
        for language, texts in zip(comparison.LANGUAGES, zip(*pairs, strict=True), strict=True):
            # By ids: characters that are in no subword are <unk>, as in every system's vocabulary.
            pieces = [" ".join(vocabulary[index] for index in ids) for ids in processor.encode(list(texts))]
            write_lines(folder / f"{split}.{language}", texts)
            write_lines(folder / f"{split}.{language}.pieces", pieces)
    # For toolkits that add special tokens of their own.
    write_lines(folder / "subwords.txt", vocabulary[comparison.NUM_SPECIAL_TOKENS :])
    write_lines(finished, vocabulary)


def train_subwords(pairs, vocabulary_size):
    """A serialized SentencePiece model of both sides of pairs, with the special ids of kerasseq."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([text for pair in pairs for text in pair]),
        model_writer=model,
        model_type="bpe",
        vocab_size=vocabulary_size,
        character_coverage=1.0,
        normalization_rule_name="identity",
        pad_id=comparison.PADDING_ID,
        unk_id=comparison.UNKNOWN_ID,
        bos_id=comparison.START_ID,
        eos_id=comparison.END_ID,
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def write_lines(path, lines):
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny data")
    prepare(parser.parse_args().quick)
