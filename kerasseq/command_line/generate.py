"""`kerasseq generate` and `kerasseq score`."""

import contextlib
import hashlib
import itertools
import json
import logging
import os
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import IO, Annotated, Any

import typer

from kerasseq.command_line import options, shell
from kerasseq.command_line.lines import input_lines
from kerasseq.command_line.shell import UsageError
from kerasseq.file_writing import write_text

logger = logging.getLogger(__name__)

BATCHES = 8  # generated at once, to put sources of like length together


def generate(
    model: options.Model,
    input: Annotated[str | None, typer.Option("--input", "-i", help="A file instead of standard input.")] = None,
    output: options.Output = None,
    sampler: options.Sampler = None,
    beam_width: options.BeamWidth = None,
    length_penalty: options.LengthPenalty = None,
    max_length: options.MaxLength = None,
    batch_size: options.BatchSize = 64,
    nbest: Annotated[
        int | None, typer.Option(min=1, help="Up to so many hypotheses, a line each: number of the source, text.")
    ] = None,
    scores: Annotated[bool, typer.Option("--scores", help="Append the score after a tab.")] = False,
    alignments: Annotated[
        bool,
        typer.Option(
            "--alignments",
            help="Append the word alignment after a tab: source-target pairs counted from 0, such as 0-0 2-1.",
        ),
    ] = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Generate a text for each line of standard input. Blank lines have blank outputs.

    Lines are written as soon as they are done: one by one with --batch-size 1, and what you type. A file of --output
    grows under the name FILE.part; where such a file is found, as after a kill, generation goes on behind its last
    complete line. Long sources are split, but with --nbest and --alignments they are read in one pass, and
    parts may be missing.

    \b
    Examples:
      kerasseq generate runs/pairs < in.txt > out.txt
      kerasseq generate translator.keras -i in.txt -o out.txt --beam-width 10
      kerasseq generate translation_en_fr --nbest 3 --scores --json < in.txt
    """
    interrupted = "Interrupted." if output is None else "Interrupted. The same command goes on where it was."
    with shell.command(quiet, interrupted) as stdout, contextlib.ExitStack() as stack:
        if alignments and nbest is not None:
            raise UsageError("--alignments are those of the best hypothesis. Received: --nbest as well.")
        options.check_search_options(sampler, beam_width, length_penalty)
        path = None if output is None else shell.output_path(output, files_beside=True)
        lines = input_lines(stack, input)
        shell.load_library()
        from kerasseq import search
        from kerasseq.command_line.zoo import identity, load_generator

        generator = load_generator(model)
        if alignments and not generator.model.decoder.has_attention:
            raise UsageError(f"--alignments need a model with attention. Received: {model}, which has none.")
        chosen = options.sampler_of(generator, sampler, beam_width, length_penalty)
        hypotheses = search.get(generator.sampler if chosen is None else chosen).rows_per_sequence
        if nbest is not None and nbest > hypotheses:
            raise UsageError(
                f"--nbest {nbest} needs as many hypotheses. Received: a search for {hypotheses}. Add "
                f"--sampler beam --beam-width {nbest}."
            )
        arguments = {"sampler": chosen, "max_length": max_length, "batch_size": batch_size}
        details = alignments or nbest is not None
        if details and generator.long_sources == "sentences":
            logger.warning(
                "With --nbest and --alignments each line is read in one pass, where this model otherwise reads one "
                "sentence after the other: of lines of several sentences, parts may be missing."
            )

        def lines_of(sources: Sequence[str], first: int) -> str:
            """The lines of sources; `first` is the number of the first one."""
            found = generator.generate(sources, details=details, scores=scores and not details, **arguments)
            return "".join(
                line
                for number, output in enumerate(found, start=first)
                for line in output_lines(output, number, nbest, scores, alignments, as_json)
            )

        settings = {"model": identity(model), "sampler": str(sampler), "beam_width": beam_width,
                    "length_penalty": length_penalty, "max_length": max_length, "nbest": nbest, "scores": scores,
                    "alignments": alignments, "json": as_json}  # fmt: skip
        target: Standard | Resumable
        if path is None:
            target = Standard(stdout)
        elif shell.is_device(path):
            target = Standard(stack.enter_context(open(path, "w", encoding="utf-8")))
        else:
            target = stack.enter_context(Resumable(path, settings))
        number = target.skip(lines)
        one_by_one = batch_size == 1 or (input is None and sys.stdin.isatty())
        while sources := list(itertools.islice(lines, 1 if one_by_one else BATCHES * batch_size)):
            target.write(lines_of(sources, number + 1), sources)
            number += len(sources)
        target.finish()


def output_lines(
    output: Any, number: int, nbest: int | None, scores: bool, alignments: bool, as_json: bool
) -> Iterator[str]:
    """The lines of an output: a text, a text with its score, or a `Generation`."""
    score: Any = None
    if isinstance(output, str):
        text = output
    elif isinstance(output, tuple):
        text, score = output
    else:
        text, score = output.text, output.score
    alternatives = getattr(output, "alternatives", [])[:nbest]
    pairs = output.alignment() if alignments else []
    if as_json:
        record: dict[str, Any] = {"text": text}
        if scores:
            record["score"] = round(score, 4)
        if nbest is not None:
            record["alternatives"] = [{"text": other, "score": round(value, 4)} for other, value in alternatives]
        if alignments:
            record["alignment"] = [list(pair) for pair in pairs]
        yield json.dumps(record, ensure_ascii=False) + "\n"
    elif nbest is not None:
        for other, value in alternatives:
            yield "\t".join([str(number), one_line(other), *([f"{value:.4f}"] if scores else [])]) + "\n"
    else:
        cells = [one_line(text)]
        if scores:
            cells.append(f"{score:.4f}")
        if alignments:
            cells.append(" ".join(f"{source}-{target}" for source, target in pairs))
        yield "\t".join(cells) + "\n"


def one_line(text: str) -> str:
    """A text without line breaks and tabs, which would look like those of the output."""
    return text if text.isprintable() else " ".join(text.replace("\t", " ").splitlines())


class Standard:
    """Standard output, or a device or a pipe in its place."""

    def __init__(self, stream: IO[str]):
        self.stream = stream

    def skip(self, lines: Iterator[str]) -> int:
        return 0

    def write(self, text: str, sources: Sequence[str]) -> None:
        self.stream.write(text)
        self.stream.flush()

    def finish(self) -> None:
        pass


class Resumable:
    """A file that grows as FILE.part, with FILE.part.json beside it, which says what is done and by which settings."""

    def __init__(self, path: pathlib.Path, settings: dict[str, Any]):
        self.path = path
        self.part = self.path.with_name(f"{self.path.name}.part")
        self.state_path = self.path.with_name(f"{self.path.name}.part.json")
        self.settings = settings
        self.digest = hashlib.sha256()
        self.lines = 0

    def __enter__(self) -> "Resumable":
        self.state = self._read_state()
        if self.state is not None and self.state["settings"] != self.settings:
            before = self.state["settings"]
            changed = [name for name in self.settings if before.get(name) != self.settings[name]]
            raise UsageError(
                f"{self.part} was begun with {', '.join(f'{name} {before.get(name)}' for name in changed)}. Received: "
                f"{', '.join(f'{name} {self.settings[name]}' for name in changed)}. Remove {self.part} and "
                f"{self.state_path}, or pass the same model and options."
            )
        self.file = open(self.part, "wb" if self.state is None else "r+b")
        return self

    def __exit__(self, *error: Any) -> None:
        self.file.close()

    def _read_state(self) -> dict[str, Any] | None:
        """What is done, or `None` where nothing is."""
        if not self.state_path.exists():
            return None
        try:
            state = json.loads(self.state_path.read_text(encoding="utf-8"))
            is_whole = self.part.stat().st_size >= state["bytes"] and {"settings", "lines", "digest"} <= state.keys()
        except (ValueError, KeyError, TypeError, FileNotFoundError):
            is_whole = False
        if not is_whole:
            raise UsageError(
                f"{self.part} does not hold what {self.state_path} says is done. Remove both to begin anew."
            )
        return state

    def skip(self, lines: Iterator[str]) -> int:
        """Reads over the sources that are done; returns their number."""
        if self.state is None:
            return 0
        for source in itertools.islice(lines, self.state["lines"]):
            self._count(source)
        if self.lines < self.state["lines"] or self.digest.hexdigest() != self.state["digest"]:
            raise UsageError(
                f"{self.part} was begun for other sources. Remove it and {self.state_path}, or pass the same input."
            )
        self.file.truncate(self.state["bytes"])
        self.file.seek(self.state["bytes"])
        return self.lines

    def write(self, text: str, sources: Sequence[str]) -> None:
        self.file.write(text.encode("utf-8"))
        self.file.flush()
        for source in sources:
            self._count(source)
        state = {"settings": self.settings, "lines": self.lines, "bytes": self.file.tell()}
        write_text(self.state_path, json.dumps({**state, "digest": self.digest.hexdigest()}))

    def finish(self) -> None:
        """Gives the file its name."""
        self.file.close()
        os.replace(self.part, self.path)
        self.state_path.unlink(missing_ok=True)

    def _count(self, source: str) -> None:
        self.digest.update(source.encode("utf-8", "surrogatepass") + b"\n")
        self.lines += 1


def score(
    model: options.Model,
    pairs: options.Pairs,
    target_path: options.TargetPath = None,
    columns: options.Columns = None,
    kind: options.Kind = None,
    quotes: options.Quotes = None,
    encoding: options.Encoding = "utf-8",
    batch_size: options.BatchSize = 64,
    per_token: Annotated[
        bool, typer.Option("--per-token", help="The log-probability of each token, with spaces between.")
    ] = False,
    as_json: options.Json = False,
    output: options.Output = None,
    quiet: options.Quiet = False,
) -> None:
    """Print the log-probability of each target, in nats, a line each.

    \b
    Examples:
      kerasseq score runs/pairs pairs.tsv
      kerasseq score translator.keras test.en --target-path test.de --per-token
    """
    with shell.command(quiet) as stdout:
        options.check_pairs_options(columns, kind, encoding)
        path = None if output is None else shell.output_path(output)
        shell.load_library()
        from kerasseq.command_line.zoo import load_generator

        found = options.pairs_of(pairs, target_path, columns, kind, quotes, encoding)
        values = load_generator(model).score(found, batch_size=batch_size, per_token=per_token)
        rows = [[float(value) for value in row] if per_token else float(row) for row in values]
        with contextlib.ExitStack() as stack:
            stream = stdout if path is None else stack.enter_context(open(path, "w", encoding="utf-8"))
            for row in rows:
                numbers = row if isinstance(row, list) else [row]
                shown = json.dumps(row) if as_json else " ".join(f"{number:.4f}" for number in numbers)
                print(shown, file=stream)
