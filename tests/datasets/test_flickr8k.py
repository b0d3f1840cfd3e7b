import doctest
import hashlib
import io
import os
import pathlib
import re
import tarfile
import zipfile

import pytest

from kerasseq.datasets import flickr8k, load_flickr8k
from kerasseq.datasets.flickr8k import IMAGES, SMALL_IMAGES, TEXTS

NAMES = ["1_aa.jpg", "2_bb.jpg", "3_cc.jpg", "4_dd.jpg"]
PICTURES = {name: b"content of " + name.encode() for name in NAMES}
TOKENS = "".join(
    f"{name}#{number}\t{number} of  {name[0]} .\n" for name in [*NAMES, "5_ee.jpg.1"] for number in range(5)
)
FILES = {
    "Flickr8k.token.txt": TOKENS,
    "Flickr_8k.trainImages.txt": "3_cc.jpg\n1_aa.jpg\n",
    "Flickr_8k.devImages.txt": "2_bb.jpg\n",
    "Flickr_8k.testImages.txt": "4_dd.jpg\n",
}


def zipped(files):
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return written.getvalue()


def tarred(pictures):
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for name, content in pictures.items():
            member = tarfile.TarInfo(f"Flicker8k_Dataset/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return written.getvalue()


def originals(pictures):
    others = {"Flicker8k_Dataset/": b"", "__MACOSX/Flicker8k_Dataset/._1_aa.jpg": b"of another system"}
    return zipped({**others, **{f"Flicker8k_Dataset/{name}": content for name, content in pictures.items()}})


def sha256(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """The mirror's folder, with the texts. The four pictures above are the whole data set; nothing is downloaded."""
    monkeypatch.setenv("KERASSEQ_DATA_DIR", str(tmp_path / "mirror"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(flickr8k, "URL", (tmp_path / "published").as_uri())
    monkeypatch.setattr(flickr8k, "NUMBER_OF_IMAGES", 4)
    monkeypatch.setattr(flickr8k, "NAMES_SHA256", sha256("".join(f"{name}\n" for name in NAMES).encode()))
    monkeypatch.setattr(flickr8k, "SMALL_SHA256", sha256(tarred(PICTURES)))
    listing = "".join(f"{sha256(FILES[name].encode())}  {name}\n" for name in sorted(FILES))
    monkeypatch.setattr(flickr8k, "TEXTS_SHA256", sha256(listing.encode()))
    (tmp_path / "mirror" / "flickr8k").mkdir(parents=True)
    (tmp_path / "mirror" / TEXTS).write_bytes(zipped({**FILES, "readme.txt": "of the authors"}))
    return tmp_path / "mirror"


def captions(number):
    return [f"{index} of {number} ." for index in range(5)]


EXPECTED = (
    [(PICTURES[name], caption) for name in ("3_cc.jpg", "1_aa.jpg") for caption in captions(name[0])],
    [(PICTURES["2_bb.jpg"], captions(2))],
    [(PICTURES["4_dd.jpg"], captions(4))],
)


@pytest.mark.parametrize(("path", "archive"), [(SMALL_IMAGES, tarred), (IMAGES, originals)], ids=["small", "originals"])
def test_pairs_of_either_archive(mirror, path, archive):
    (mirror / path).write_bytes(archive(PICTURES))
    train, validation, test = load_flickr8k()
    assert (train, validation, test) == EXPECTED
    assert train[0][0] is train[4][0]


def test_the_small_archive_comes_first(mirror):
    (mirror / SMALL_IMAGES).write_bytes(tarred(PICTURES))
    (mirror / IMAGES).write_bytes(b"never looked at")
    assert load_flickr8k() == EXPECTED


def test_downloaded(mirror, tmp_path, capsys):
    published = tmp_path / "published"
    published.mkdir()
    (published / "Flickr8k_Dataset.zip").write_bytes(originals(PICTURES))
    (published / "Flickr8k_text.zip").write_bytes((mirror / TEXTS).read_bytes())
    (mirror / TEXTS).unlink()
    assert load_flickr8k() == EXPECTED
    (published / "Flickr8k_Dataset.zip").unlink()
    assert load_flickr8k() == EXPECTED  # From the cache.


@pytest.mark.parametrize("damage", ["a byte", "half", "a name", "no image"])
def test_damaged_originals(mirror, damage):
    content = originals(PICTURES)
    start = content.index(b"Flicker8k_Dataset/1_aa.jpg") + 27
    damaged = {
        "a byte": content[:start] + bytes([content[start] ^ 255]) + content[start + 1 :],
        "half": content[: len(content) // 2],
        "a name": originals({**PICTURES, "6_ff.jpg": b""}),
        "no image": originals({name: PICTURES[name] for name in NAMES[1:]}),
    }
    (mirror / IMAGES).write_bytes(damaged[damage])
    with pytest.raises(ValueError, match="of another release. Expected sha256 .* over the names of 4 images"):
        load_flickr8k()


@pytest.mark.parametrize("damage", [tarred({**PICTURES, "1_aa.jpg": b""}), b""])
def test_damaged_small_archive(mirror, damage):
    (mirror / SMALL_IMAGES).write_bytes(damage)
    with pytest.raises(ValueError, match="damaged or of another release"):
        load_flickr8k()


@pytest.mark.parametrize("texts", [{**FILES, "Flickr8k.token.txt": TOKENS + "6_ff.jpg#0\ta"}, {}], ids=["more", "none"])
def test_damaged_texts(mirror, texts):
    (mirror / SMALL_IMAGES).write_bytes(tarred(PICTURES))
    (mirror / TEXTS).write_bytes(zipped(texts))
    with pytest.raises(ValueError, match="Flickr8k_text.zip in the offline mirror is damaged"):
        load_flickr8k()


# === The data themselves ===


def needs_mirror():
    folder = os.environ.get("KERASSEQ_DATA_DIR")
    if not folder:
        pytest.skip("KERASSEQ_DATA_DIR is not set")
    for file in (SMALL_IMAGES, TEXTS):
        if not (pathlib.Path(folder).expanduser() / file).is_file():
            pytest.skip(f"the folder in KERASSEQ_DATA_DIR has no {file}")


def test_what_the_documentation_says():
    needs_mirror()
    train, validation, test = load_flickr8k()
    assert (len(train), len(validation), len(test)) == (30_000, 1_000, 1_000)
    assert {len(captions) for side in (validation, test) for _, captions in side} == {5}
    images = [{image for image, _ in side} for side in (train, validation, test)]
    # Two of the training images are the same picture.
    assert [len(side) for side in images] == [5_999, 1_000, 1_000]
    assert not (images[0] & images[1] | images[0] & images[2] | images[1] & images[2])
    assert all(image.startswith(b"\xff\xd8\xff") for side in images for image in side)
    texts = [caption for _, caption in train]
    texts += [caption for side in (validation, test) for _, captions in side for caption in captions]
    assert all(text.isascii() and text == " ".join(text.split()) for text in texts)
    assert 0.89 < sum(text.endswith(" .") for text in texts) / len(texts) < 0.92
    assert 0.9 < sum(text[0].isupper() for text in texts) / len(texts) < 0.95
    assert max(len(text.split()) for text in texts) == 38
    assert sum(bool(re.search(r"\w[,.\"]|[,\"]\w", text)) for text in texts) < 0.01 * len(texts)


def test_examples_of_the_documentation():
    needs_mirror()
    assert doctest.testmod(flickr8k).failed == 0
