"""Converts raw sources and targets to tensors and back."""

from kerasseq.preprocessing.audio import AudioPreprocessor
from kerasseq.preprocessing.base import Preprocessor
from kerasseq.preprocessing.batching import EpochShuffle
from kerasseq.preprocessing.images import ImagePreprocessor
from kerasseq.preprocessing.placeholders import Placeholders
from kerasseq.preprocessing.prepared import PreparedPairs
from kerasseq.preprocessing.text import TextPreprocessor
from kerasseq.preprocessing.tokenizers import CharacterTokenizer, SubwordTokenizer, Tokenizer, WordTokenizer
from kerasseq.preprocessing.vocabulary import train_vocabulary
from kerasseq.preprocessing.wav import encode_wav

__all__ = [
    "AudioPreprocessor",
    "CharacterTokenizer",
    "EpochShuffle",
    "ImagePreprocessor",
    "Placeholders",
    "PreparedPairs",
    "Preprocessor",
    "SubwordTokenizer",
    "TextPreprocessor",
    "Tokenizer",
    "WordTokenizer",
    "encode_wav",
    "train_vocabulary",
]
