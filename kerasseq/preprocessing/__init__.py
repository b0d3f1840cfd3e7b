"""Raw sources and targets to tensors and back."""

from kerasseq.preprocessing.batching import EpochShuffle
from kerasseq.preprocessing.images import ImagePreprocessor
from kerasseq.preprocessing.text import TextPreprocessor
from kerasseq.preprocessing.vocabulary import train_vocabulary

__all__ = ["EpochShuffle", "ImagePreprocessor", "TextPreprocessor", "train_vocabulary"]
