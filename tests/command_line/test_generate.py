"""`kerasseq generate` and `kerasseq score`."""

import contextlib
import json
import os

import pytest

from kerasseq import TextGenerator
from kerasseq.command_line.generate import one_line
from kerasseq.command_line.lines import input_lines
from kerasseq.command_line.zoo import identity

SOURCES = ["6. Juni 2020", "", "May 3, 1998", "12/24/1977"]


@pytest.fixture(scope="module")
def model(trained):
    return TextGenerator.load(trained["folder"] / "best.keras")


@pytest.fixture(scope="module")
def filled():
    return [source for source in SOURCES if source]


def test_lines_in_lines_out(kerasseq_command, trained, model, filled):
    stdout, stderr = kerasseq_command("generate", trained["folder"], "-q", input="\n".join(SOURCES))
    outputs = iter(model.generate(filled))
    assert stdout.split("\n") == [*(next(outputs) if source else "" for source in SOURCES), ""] and stderr == ""


def test_a_device_stays_a_device(kerasseq_command, trained):
    kerasseq_command("generate", trained["folder"], "-o", os.devnull, input="\n".join(SOURCES))
    assert not os.path.isfile(os.devnull)


def test_one_by_one_is_the_same(kerasseq_command, trained):
    text = "\r\n".join(SOURCES)
    together, _ = kerasseq_command("generate", trained["folder"] / "best.keras", input=text)
    one_by_one, _ = kerasseq_command("generate", trained["folder"], "--batch-size", 1, input=text)
    assert together == one_by_one and together.count("\n") == len(SOURCES)


def test_scores_and_alignments(kerasseq_command, trained, model, filled):
    stdout, _ = kerasseq_command("generate", trained["folder"], "--scores", "--alignments", input="\n".join(SOURCES))
    lines = [line.split("\t") for line in stdout.splitlines()]
    assert lines[1] == ["", "0.0000", ""]
    generations = model.generate(filled, details=True)
    for (text, score, alignment), generation in zip((lines[0], *lines[2:]), generations, strict=True):
        assert text == generation.text and float(score) == pytest.approx(generation.score, abs=1e-3)
        assert alignment == " ".join(f"{source}-{target}" for source, target in generation.alignment())


def test_several_sentences(kerasseq_command, tmp_path, model):
    """Scores leave a source in its parts; n-best lists do not, and say so."""
    from kerasseq import TextGenerator

    path = tmp_path / "sentences.keras"
    TextGenerator(model.model, model.preprocessor, model.sampler, long_sources="sentences").save(path)
    source = "May 3, 1998. June 4, 2001."
    plain, stderr = kerasseq_command("generate", path, input=source)
    assert "one pass" not in stderr
    scored, stderr = kerasseq_command("generate", path, "--scores", input=source)
    text, score = scored.rstrip("\n").split("\t")
    assert text + "\n" == plain and float(score) < 0 and "one pass" not in stderr
    _, stderr = kerasseq_command("generate", path, "--nbest", 1, input=source)
    assert "Warning: With --nbest and --alignments each line is read in one pass" in stderr


def test_nbest_and_json(kerasseq_command, trained, model, filled):
    options = ["--nbest", 2, "--scores", "--beam-width", 3, "--max-length", 12]
    stdout, _ = kerasseq_command("generate", trained["folder"], *options, input="\n".join(filled))
    lines = [line.split("\t") for line in stdout.splitlines()]
    from kerasseq.search import BeamSampler

    expected = model.generate(filled, BeamSampler(3), max_length=12, details=True)
    assert [int(number) for number, _, _ in lines] == [1, 1, 2, 2, 3, 3]
    assert [text for _, text, _ in lines] == [text for one in expected for text, _ in one.alternatives[:2]]
    stdout, _ = kerasseq_command("generate", trained["folder"], *options, "--json", input="\n".join(filled))
    records = [json.loads(line) for line in stdout.splitlines()]
    assert [record["text"] for record in records] == [one.text for one in expected]
    assert [len(record["alternatives"]) for record in records] == [2, 2, 2]
    assert records[0]["alternatives"][1]["score"] == pytest.approx(expected[0].alternatives[1][1], abs=1e-3)
    stdout, _ = kerasseq_command("generate", trained["folder"], *options, input="\n \n")
    assert stdout == "1\t\t0.0000\n2\t\t0.0000\n"  # A blank line has one hypothesis.


def test_a_half_written_output_goes_on(kerasseq_command, trained, tmp_path, monkeypatch):
    source, whole, cut = tmp_path / "in.txt", tmp_path / "whole.txt", tmp_path / "cut.txt"
    source.write_text("\n".join(SOURCES) + "\n")
    arguments = ["generate", trained["folder"], "-i", source, "--batch-size", 1, "--nbest", 2]
    kerasseq_command(*arguments, "-o", whole)
    generate, asked = TextGenerator.generate, []

    def failing(self, sources, **options):
        asked.extend(sources)
        if asked.count(SOURCES[2]) == 1 and sources == [SOURCES[2]]:
            raise OSError("The machine goes down.")
        return generate(self, sources, **options)

    monkeypatch.setattr(TextGenerator, "generate", failing)
    _, stderr = kerasseq_command(*arguments, "-o", cut, code=1)
    assert "goes down" in stderr and not cut.exists()
    part = tmp_path / "cut.txt.part"
    assert whole.read_text().startswith(part.read_text()) and part.read_text()
    with open(part, "a") as file:
        file.write("half a li")  # A line that was not finished.
    # Another search, or other sources, do not go on with it.
    _, stderr = kerasseq_command(*arguments, "--beam-width", 3, "-o", cut, code=2)
    assert "cut.txt.part was begun with beam_width None. Received: beam_width 3. Remove" in stderr
    source.write_text("\n".join(["7 May 1999", *SOURCES[1:]]) + "\n")
    _, stderr = kerasseq_command(*arguments, "-o", cut, code=2)
    assert "was begun for other sources" in stderr
    source.write_text("\n".join(SOURCES) + "\n")
    # Nor is a lost part filled with zeros, and a state that is cut off is no state.
    state = tmp_path / "cut.txt.part.json"
    written, noted = part.read_bytes(), state.read_bytes()
    for lost, kept in ((written[:5], noted), (written, noted[:9]), (written, b"{}")):
        part.write_bytes(lost)
        state.write_bytes(kept)
        _, stderr = kerasseq_command(*arguments, "-o", cut, code=2)
        assert "Remove both to begin anew" in stderr
    part.write_bytes(written)
    state.write_bytes(noted)
    asked.clear()
    asked.append(SOURCES[2])  # So the machine stays up.
    kerasseq_command(*arguments, "-o", cut)
    assert cut.read_bytes() == whole.read_bytes() and asked[1:] == SOURCES[2:]
    assert not part.exists() and not (tmp_path / "cut.txt.part.json").exists()


def test_another_model_of_the_same_path(tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(b"one")
    known = identity(str(path))
    assert identity(str(path)) == known
    path.write_bytes(b"another")
    assert identity(str(path)) != known
    assert identity("translation_en_fr") == ["translation_en_fr"]


def test_a_byte_order_mark_is_no_text(tmp_path):
    path = tmp_path / "in.txt"
    path.write_bytes("\ufeffone\r\n\ufefftwo\n".encode())
    with contextlib.ExitStack() as stack:
        assert list(input_lines(stack, str(path))) == ["one", "\ufefftwo"]


def test_mistakes(kerasseq_command, trained, tmp_path):
    for arguments, code, message in (
        ([tmp_path / "none.keras"], 1, "no released model of this name"),
        ([trained["folder"], "--nbest", 9], 2, "Add --sampler beam --beam-width 9"),
        ([trained["folder"], "--nbest", 2, "--alignments"], 2, "best hypothesis"),
        ([trained["folder"], "--sampler", "greedy", "--beam-width", 3], 2, "Add --sampler beam"),
        ([trained["folder"], "--sampler", "bean"], 2, "--sampler must be one of greedy, beam. Received: 'bean'."),
        ([trained["folder"], "--length-penalty", "inf"], 2, "length_penalty must be a number"),
        ([trained["folder"], "-o", tmp_path / "none" / "out.txt"], 2, "there is no folder"),
        ([""], 1, "preset must be a name, a path or an address. Received: ''"),
        ([trained["folder"], "--max-length", 0], 2, "max-length"),
        ([trained["folder"], "-i", tmp_path / "none.txt"], 1, "No such file"),
    ):
        stdout, stderr = kerasseq_command("generate", *arguments, input="May 3, 1998\n", code=code)
        assert message in stderr and "Traceback" not in stderr and stdout == ""
    _, stderr = kerasseq_command("generate", trained["folder"], input=b"ab\ncd\xff\n", code=1)
    assert "standard input, line 2: expected UTF-8 text. Received: byte 0xff" in stderr


def test_a_missing_input_is_found_before_the_model_is_loaded(kerasseq_command, tmp_path):
    arguments = ["generate", tmp_path / "none.keras", "-i", tmp_path / "none.txt", "-o", tmp_path / "out.txt"]
    _, stderr = kerasseq_command(*arguments, code=1)
    assert stderr == f"Error: {tmp_path / 'none.txt'}: No such file or directory.\n"
    assert not list(tmp_path.iterdir())


def test_an_output_is_one_line():
    assert one_line("a b") == "a b" and one_line("a\tb\nc\u2028d\r\ne") == "a b c d e"
    assert one_line("non\u00a0breaking") == "non\u00a0breaking"


def test_score_checks_its_output_at_the_start(kerasseq_command, tmp_path):
    """Before it looks for the model and the pairs, which are not there."""
    _, stderr = kerasseq_command("score", "none", "none.tsv", "-o", tmp_path / "none" / "scores", code=2)
    assert stderr.startswith("Error: --output must be a file that can be written.") and stderr.count("\n") == 1


def test_score(kerasseq_command, trained, model, tmp_path, monkeypatch):
    pairs = [("6. Juni 2020", "2020-06-06"), ("May 3, 1998", "1998-05-03")]
    for number, side in enumerate(("source", "target")):
        (tmp_path / side).write_text("".join(f"{pair[number]}\n" for pair in pairs))
    arguments = ["score", trained["folder"], tmp_path / "source", "--target-path", tmp_path / "target"]
    stdout, _ = kerasseq_command(*arguments)
    assert [float(line) for line in stdout.splitlines()] == pytest.approx(model.score(pairs), abs=1e-3)
    monkeypatch.setenv("HOME", str(tmp_path))
    kerasseq_command(*arguments, "--per-token", "--json", "-o", "~/scores")
    lines = [json.loads(line) for line in (tmp_path / "scores").read_text().splitlines()]
    assert [len(line) for line in lines] == [11, 11]
    assert [sum(line) for line in lines] == pytest.approx(model.score(pairs), abs=1e-3)
