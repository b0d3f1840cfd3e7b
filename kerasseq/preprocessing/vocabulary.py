"""Special ids, and training of subword vocabularies with SentencePiece."""

import io
import numbers
import re
from collections.abc import Iterable, Sequence
from typing import Any

from kerasseq.preprocessing.normalization import NORMALIZATIONS, choose_normalization, trainer_options, without_path

PADDING_ID, UNKNOWN_ID, START_ID, END_ID = range(4)
NUM_SPECIAL_TOKENS = 4
NUM_BYTE_TOKENS = 256
SPECIAL_TOKENS = ("<pad>", "<unk>", "<s>", "</s>")
BYTE_TOKEN = re.compile("<0x[0-9A-F]{2}>")
WORD_START = "\u2581"  # SentencePiece's mark at the beginning of words
LONE_SURROGATES = re.compile("[\ud800-\udfff]")


def train_vocabulary(
    texts: Iterable[str],
    vocabulary_size: int,
    normalization: str | None = None,
    protected_tokens: Sequence[str] = (),
) -> bytes:
    """Trains a unigram subword vocabulary with byte fallback, so that no text is unknown.

    Ids: 0 padding, 1 unknown, 2 start, 3 end, then the protected tokens, 256 bytes, and subwords.

    Args:
        texts: iterable of str.
        vocabulary_size: int, the maximum number of ids; small data may yield fewer.
        normalization: str. `"nmt_nfkc"` replaces compatibility characters, such as ligatures and wide punctuation, and
            normalizes white space; `"nfc"` composes accents and normalizes white space, but keeps the spelling;
            `"identity"` keeps every character but repeated blanks; `"nfkc"`, and `"nmt_nfkc_cf"` and `"nfkc_cf"`, which
            fold case, are SentencePiece's. Outputs are spelled as the rule leaves the texts. Default: `"nmt_nfkc"`, or
            `"nfc"` if `"nmt_nfkc"` changes the spelling of more than 1 % of the texts, as in Chinese, Persian and Thai;
            a warning says what it changes.
        protected_tokens: list of str, such as `"<2fr>"` or `"<NUM1>"`, which are one token wherever they occur, and are
            not normalized; see also `kerasseq.preprocessing.Placeholders`.

    Returns:
        bytes, a serialized SentencePiece model. Training is deterministic.

    Raises:
        ValueError: if there are no texts, one is not a str, `vocabulary_size` is too small for their characters,
            `normalization` is unknown, or a protected token is empty, has white space or occurs twice.

    Example:

    >>> import kerasseq
    >>> model = kerasseq.preprocessing.train_vocabulary(["one two three", "two three four"] * 20, vocabulary_size=290)
    >>> type(model)
    <class 'bytes'>

    Source: Kudo 2018 (unigram language model); Kudo and Richardson 2018 (SentencePiece).
    """
    import sentencepiece  # Deferred: importing kerasseq stays cheap.

    # As `Tokenizer.tokenize` reads them.
    texts = [LONE_SURROGATES.sub("\ufffd", text) for text in check_texts(texts)]
    least = NUM_SPECIAL_TOKENS + NUM_BYTE_TOKENS + 1
    if not isinstance(vocabulary_size, numbers.Integral) or vocabulary_size < least:
        raise ValueError(
            f"vocabulary_size must be an integer of at least {least}: {NUM_SPECIAL_TOKENS} special tokens, "
            f"{NUM_BYTE_TOKENS} bytes and the subwords. Received: vocabulary_size={vocabulary_size!r}."
        )
    if normalization is not None and normalization not in NORMALIZATIONS:
        raise ValueError(
            f"normalization must be one of {', '.join(map(repr, NORMALIZATIONS))}. "
            f"Received: normalization={normalization!r}."
        )
    check_protected_tokens(protected_tokens)
    model = io.BytesIO()
    normalization = normalization or choose_normalization(texts)
    try:
        with trainer_options(normalization, texts) as options:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(texts),
                model_writer=model,
                model_type="unigram",
                vocab_size=vocabulary_size,
                hard_vocab_limit=False,
                byte_fallback=True,
                # Rare characters are encoded as bytes: ids of their own would hardly be trained.
                character_coverage=0.9999,
                max_sentence_length=1 << 20,
                user_defined_symbols=list(protected_tokens),
                pad_id=PADDING_ID,
                unk_id=UNKNOWN_ID,
                bos_id=START_ID,
                eos_id=END_ID,
                num_threads=1,
                minloglevel=2,
                **options,
            )
    except RuntimeError as error:
        if too_small := re.search(r"smaller than required_chars\. (\d+) vs (\d+)", str(error)):
            raise ValueError(
                f"vocabulary_size must be at least {too_small[2]} for the special tokens, bytes and characters of "
                f"these texts, better several times that. Received: vocabulary_size={vocabulary_size}."
            ) from error
        raise
    return without_path(model.getvalue()) if normalization == "nfc" else model.getvalue()


def check_protected_tokens(tokens: Any) -> None:
    """Raises a `ValueError` unless tokens are a list of distinct str without white space, and not special."""
    if not isinstance(tokens, (list, tuple)) or not all(
        isinstance(token, str) and token.split() == [token] and token.isprintable() for token in tokens
    ):
        raise ValueError(
            "protected_tokens must be a list of strings without white space, such as ['<2fr>', '<NUM1>']. Received: "
            f"{tokens!r}."
        )
    if len(set(tokens)) < len(tokens):
        raise ValueError(f"protected_tokens must be distinct. Received: {tokens!r}.")
    for token in tokens:
        if token in SPECIAL_TOKENS or BYTE_TOKEN.fullmatch(token) or WORD_START in token:
            raise ValueError(
                f"protected_tokens must not be tokens that SentencePiece uses itself: {', '.join(SPECIAL_TOKENS)}, "
                f"bytes such as <0x41>, and the mark {WORD_START!r}. Received: {token!r}."
            )


def protected_tokens_of(vocabulary: bytes) -> list[str]:
    """The protected tokens of a SentencePiece model."""
    from sentencepiece import sentencepiece_model_pb2  # Deferred: importing kerasseq stays cheap.

    pieces = sentencepiece_model_pb2.ModelProto.FromString(vocabulary).pieces  # type: ignore[attr-defined]
    return [piece.piece for piece in pieces if piece.type == piece.USER_DEFINED]


def check_texts(texts: Iterable[str]) -> list[str]:
    """Returns the texts that are not blank, or raises a `ValueError` if there are none, or one is not a str."""
    if isinstance(texts, (str, bytes)):
        raise ValueError(f"texts must be an iterable of strings. Received: a single {type(texts).__name__}.")
    texts = list(texts)
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"texts must be strings. Received at index {index}: {text!r} ({type(text).__name__}).")
    texts = [text for text in texts if text.strip()]
    if not texts:
        raise ValueError("texts must hold at least one text. Received: none, or only empty ones. Check the data set.")
    return texts


def check_vocabulary(vocabulary: bytes) -> None:
    """Raises a `ValueError` unless bytes are a SentencePiece model with the special ids of kerasseq.

    Models with and without byte fallback are accepted: without, characters that are in no piece have id 1.
    """
    import sentencepiece  # Deferred: importing kerasseq stays cheap.

    if not isinstance(vocabulary, bytes):
        raise ValueError(
            f"A vocabulary must be bytes, the content of a SentencePiece model. Received: {vocabulary!r} "
            f"({type(vocabulary).__name__}). The bytes of a file are pathlib.Path(path).read_bytes()."
        )
    try:
        processor = sentencepiece.SentencePieceProcessor()
        processor.LoadFromSerializedProto(vocabulary)
    except RuntimeError as error:
        raise ValueError(
            "A vocabulary must be the content of a SentencePiece model, such as pathlib.Path('my.model').read_bytes(). "
            f"Received: {len(vocabulary):,} bytes that are none, {vocabulary[:20]!r}."
        ) from error
    expected = {"padding": PADDING_ID, "unknown": UNKNOWN_ID, "start": START_ID, "end": END_ID}
    ids = (processor.pad_id(), processor.unk_id(), processor.bos_id(), processor.eos_id())
    received = dict(zip(expected, ids, strict=True))
    if received != expected:

        def listed(ids):
            return ", ".join(f"{name} {'absent' if index < 0 else index}" for name, index in ids.items())

        raise ValueError(
            f"A SentencePiece model must have the ids {listed(expected)}. Received: {listed(received)}. Train it with "
            f"SentencePieceTrainer.train(..., pad_id={PADDING_ID}, unk_id={UNKNOWN_ID}, bos_id={START_ID}, "
            f"eos_id={END_ID}, byte_fallback=True), or use kerasseq.preprocessing.train_vocabulary."
        )
