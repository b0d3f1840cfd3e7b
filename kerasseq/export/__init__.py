"""SavedModels for TensorFlow Serving: everything about a version's folder."""

from kerasseq.export.description import read_description
from kerasseq.export.loading import load_parts
from kerasseq.export.versions import next_version, versions
from kerasseq.export.writing import export

__all__ = ["export", "load_parts", "next_version", "read_description", "versions"]
