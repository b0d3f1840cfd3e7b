"""`kerasseq generate` and `kerasseq score`."""

import contextlib
import hashlib
import io
import itertools
import json
import os
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import IO, Annotated, Any

import typer

from kerasseq.command_line import options, shell
from kerasseq.command_line.shell import UsageError

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
        int | None, typer.Option(min=1, help="So many hypotheses, a line each: number of the source, text.")
    ] = None,
    scores: Annotated[bool, typer.Option("--scores", help="Add the score, behind a tab.")] = False,
    alignments: Annotated[
        bool, typer.Option("--alignments", help="Add the words that were looked at, behind a tab: 0-0 2-1, from 0.")
    ] = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Generate a text for each line of standard input. Empty lines stay empty.

    Lines are written as soon as they are done: one by one with --batch-size 1, and what you type. A file of --output
    grows under the name FILE.part; where such a file is found, as after a kill, generation goes on behind its last
    complete line. With --nbest, --scores and --alignments long sources are cut, where they are split without.

    \b
    Examples:
      kerasseq generate runs/pairs < in.txt > out.txt
      kerasseq generate translator.keras -i in.txt -o out.txt --beam-width 10
      kerasseq generate translation_en_fr --nbest 3 --scores --json < in.txt
    """
    with shell.command(quiet) as stdout:
        if alignments and nbest is not None:
            raise UsageError("--alignments are those of the best hypothesis. Received: --nbest as well.")
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
        details = scores or alignments or nbest is not None

        def lines_of(sources: Sequence[str], first: int) -> str:
            """The lines of sources; `first` is the number of the first one."""
            filled = [source for source in sources if source.strip()]
            outputs = iter(generator.generate(filled, details=details, **arguments) if filled else [])
            found = [next(outputs) if source.strip() else None for source in sources]
            return "".join(
                line
                for number, output in enumerate(found, start=first)
                for line in output_lines(output, number, nbest, scores, alignments, as_json)
            )

        settings = {"model": identity(model), "sampler": str(sampler), "beam_width": beam_width,
                    "length_penalty": length_penalty, "max_length": max_length, "nbest": nbest, "scores": scores,
                    "alignments": alignments, "json": as_json}  # fmt: skip
        with contextlib.ExitStack() as stack:
            lines = input_lines(stack, input)
            target = Standard(stdout) if output is None else stack.enter_context(Resumable(output, settings))
            number = target.skip(lines)
            one_by_one = batch_size == 1 or (input is None and sys.stdin.isatty())
            while sources := list(itertools.islice(lines, 1 if one_by_one else BATCHES * batch_size)):
                target.write(lines_of(sources, number + 1), sources)
                number += len(sources)
            target.finish()


def output_lines(
    output: Any, number: int, nbest: int | None, scores: bool, alignments: bool, as_json: bool
) -> Iterator[str]:
    """The lines of an output: a text, a `Generation`, or `None` for an empty source."""
    text = "" if output is None else output if isinstance(output, str) else output.text
    score = 0.0 if output is None or isinstance(output, str) else output.score
    alternatives = [("", 0.0)] if output is None else getattr(output, "alternatives", [])[:nbest]
    pairs = output.alignment() if alignments and output is not None else []
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


def input_lines(stack: contextlib.ExitStack, path: str | None) -> Iterator[str]:
    r"""The lines of a file or of standard input, UTF-8, without their ends `\n` or `\r\n`."""
    if path is None:
        raw: IO[bytes] = getattr(sys.stdin, "buffer", None) or io.BytesIO(sys.stdin.read().encode("utf-8"))
    else:
        raw = stack.enter_context(open(pathlib.Path(path).expanduser(), "rb"))
    for number, line in enumerate(raw, start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            yield text.removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path or 'standard input'}, line {number}: expected UTF-8 text. Received: byte "
                f"0x{line[error.start]:02x}. Convert it, for example with iconv."
            ) from None


class Standard:
    """Standard output."""

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

    def __init__(self, path: str, settings: dict[str, Any]):
        self.path = pathlib.Path(path).expanduser()
        self.part = self.path.with_name(f"{self.path.name}.part")
        self.state_path = self.path.with_name(f"{self.path.name}.part.json")
        self.settings = settings
        self.digest = hashlib.sha256()
        self.lines = 0

    def __enter__(self) -> "Resumable":
        self.state = self._read_state()
        if self.state is not None and self.state["settings"] != self.settings:
            raise UsageError(
                f"{self.part} was begun with other settings: {self.state['settings']}. Received: {self.settings}. "
                f"Remove {self.part} and {self.state_path}, or pass the same model and options."
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
        unfinished = self.state_path.with_name(f"{self.state_path.name}.new")
        unfinished.write_text(json.dumps({**state, "digest": self.digest.hexdigest()}), encoding="utf-8")
        os.replace(unfinished, self.state_path)

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
        from kerasseq.command_line.zoo import load_generator

        found = options.pairs_of(pairs, target_path, columns, kind, quotes, encoding)
        values = load_generator(model).score(found, batch_size=batch_size, per_token=per_token)
        rows = [[float(value) for value in row] if per_token else float(row) for row in values]
        with contextlib.ExitStack() as stack:
            stream = stdout if output is None else stack.enter_context(open(output, "w", encoding="utf-8"))
            for row in rows:
                numbers = row if isinstance(row, list) else [row]
                shown = json.dumps(row) if as_json else " ".join(f"{number:.4f}" for number in numbers)
                print(shown, file=stream)
