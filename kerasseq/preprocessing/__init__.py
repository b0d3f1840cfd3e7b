"""Raw sources and targets to tensors and back."""

from kerasseq.preprocessing.audio import AudioPreprocessor
from kerasseq.preprocessing.batching import EpochShuffle
from kerasseq.preprocessing.images import ImagePreprocessor
from kerasseq.preprocessing.text import TextPreprocessor
from kerasseq.preprocessing.vocabulary import train_vocabulary
from kerasseq.preprocessing.wav import encode_wav

__all__ = [
    "AudioPreprocessor",
    "EpochShuffle",
    "ImagePreprocessor",
    "TextPreprocessor",
    "encode_wav",
    "train_vocabulary",
]
