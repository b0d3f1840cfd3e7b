"""Raw sources and targets to tensors and back."""

from kerasseq.preprocessing.batching import EpochShuffle
from kerasseq.preprocessing.text import TextPreprocessor
from kerasseq.preprocessing.vocabulary import train_vocabulary

__all__ = ["EpochShuffle", "TextPreprocessor", "train_vocabulary"]
