"""Data sets: verified and split lists of `(source, target)` tuples.

Sources are strings, or the bytes of audio or image files. Targets are strings, or lists of strings where there are
several references per source.
"""

from kerasseq.datasets.aeslc import load_aeslc
from kerasseq.datasets.an4 import load_an4
from kerasseq.datasets.anki import load_anki
from kerasseq.datasets.dates import load_dates
from kerasseq.datasets.drawn_scenes import load_drawn_scenes
from kerasseq.datasets.flickr8k import load_flickr8k
from kerasseq.datasets.multi30k import load_multi30k
from kerasseq.datasets.pair_files import PairFiles
from kerasseq.datasets.pairs import read_pairs
from kerasseq.datasets.sentence_compression import load_sentence_compression
from kerasseq.datasets.splits import drop_near_duplicates, split_by_source
from kerasseq.datasets.spoken_digits import load_spoken_digits

__all__ = [
    "PairFiles",
    "drop_near_duplicates",
    "load_aeslc",
    "load_an4",
    "load_anki",
    "load_dates",
    "load_drawn_scenes",
    "load_flickr8k",
    "load_multi30k",
    "load_sentence_compression",
    "load_spoken_digits",
    "read_pairs",
    "split_by_source",
]
