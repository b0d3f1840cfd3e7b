"""Pairs of texts in files that need not fit into memory."""

import glob
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from kerasseq.datasets.pairs import check_pair_options, iterate_pairs

Paths: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


class PairFiles:
    """Source and target texts in files, read as `read_pairs` does, but one after the other in each iteration.

    Any number of iterations may be under way. Errors come when a faulty line is reached. Files in UTF-16 and UTF-32 are
    held in memory one at a time.

    Args:
        files: str or path-like, or a list of them: paths or patterns, such as `"corpus-*.tsv.gz"`; `**` matches any
            folders. Files are read in the order of the list, those of a pattern sorted by name.
        target_files: the same for parallel files, as many as `files`, which then have the sources.
        columns, kind, quotes, encoding, empty: as in `read_pairs`, the same for all files.

    Raises:
        ValueError: if a pattern matches no file, the numbers of parallel files differ, or an argument is none that
            `read_pairs` takes.
        FileNotFoundError: if there is no file at a path.

    Example:

    >>> import gzip, pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "corpus-1.tsv").write_text("one\\teins\\n", encoding="utf-8")
    >>> _ = (folder / "corpus-2.tsv.gz").write_bytes(gzip.compress(b"two\\tzwei\\n"))
    >>> files = PairFiles(folder / "corpus-*.tsv*")
    >>> list(files)
    [('one', 'eins'), ('two', 'zwei')]
    """

    def __init__(
        self,
        files: Paths,
        target_files: Paths | None = None,
        *,
        columns: Sequence[str | int] | None = None,
        kind: str | None = None,
        quotes: bool | None = None,
        encoding: str = "utf-8",
        empty: str = "error",
    ) -> None:
        check_pair_options(columns, kind, encoding, empty)
        self.files = matching_files(files)
        self.target_files = None if target_files is None else matching_files(target_files)
        if self.target_files is not None and len(self.target_files) != len(self.files):
            raise ValueError(
                "files and target_files must be as many: those of the sources and those of the targets. Received: "
                f"{len(self.files)} and {len(self.target_files)}, beginning with {self.files[0]} and "
                f"{self.target_files[0]}."
            )
        self.columns = columns
        self.kind = kind
        self.quotes = quotes
        self.encoding = encoding
        self.empty = empty

    def __iter__(self) -> Iterator[tuple[str, str]]:
        targets: Sequence[pathlib.Path | None] = self.target_files or [None] * len(self.files)
        for path, target_path in zip(self.files, targets, strict=True):
            yield from iterate_pairs(path, target_path, self.columns, self.kind, self.quotes, self.encoding, self.empty)

    def __repr__(self) -> str:
        return f"PairFiles({', '.join(map(str, self.files))})"


def matching_files(files: Paths) -> list[pathlib.Path]:
    """The files of paths and patterns, in their order."""
    names = [files] if isinstance(files, (str, os.PathLike)) else files
    if not isinstance(names, (list, tuple)) or not names:
        raise ValueError(
            f"files must be a path, a pattern such as 'corpus-*.tsv.gz', or a list of them. Received: {files!r}."
        )
    found = []
    for name in names:
        path = pathlib.Path(name).expanduser()
        if path.is_dir():
            raise ValueError(f"files must be files. Received: the folder {path}. Pass '{path}/*', or another pattern.")
        if path.exists():
            matches = [path]
        elif set("*?[") & set(str(path)):
            matches = [pathlib.Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
            matches = [match for match in matches if match.is_file()]
            if not matches:
                raise ValueError(f"files must match at least one file. Received: {str(name)!r}, which matches none.")
        else:
            raise FileNotFoundError(f"Expected a file of pairs, or a pattern such as 'corpus-*.tsv.gz': {path}.")
        found += matches
    return found
