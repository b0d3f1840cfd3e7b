"""Trains, evaluates and exports the English-German model.

    python saved_models/translation_en_de/train.py

Resumes at the last finished epoch when it is called again. Writes `metrics.json` and the next version here.
"""

import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "recipes"))
import tatoeba  # noqa: E402

if __name__ == "__main__":
    tatoeba.main(HERE, "en", "de")
