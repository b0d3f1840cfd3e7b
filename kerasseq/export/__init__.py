"""Models for other programs: SavedModels for TensorFlow Serving, and everything about a version's folder; LiteRT."""

from kerasseq.export.description import read_description
from kerasseq.export.litert import export_litert
from kerasseq.export.loading import load_parts
from kerasseq.export.versions import next_version, versions
from kerasseq.export.writing import export

__all__ = ["export", "export_litert", "load_parts", "next_version", "read_description", "versions"]
