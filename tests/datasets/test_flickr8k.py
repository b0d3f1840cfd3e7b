import hashlib
import io
import re
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


def paths(pictures):
    return {f"Flicker8k_Dataset/{name}": content for name, content in pictures.items()}


@pytest.fixture(scope="module")
def small(tar):
    """A function from pictures to the archive of small images."""
    return lambda pictures: tar(paths(pictures), mode="w")


def originals(pictures):
    """The published archive, with entries that are not images."""
    return zipped({"Flicker8k_Dataset/": b"", "__MACOSX/Flicker8k_Dataset/._1_aa.jpg": b"metadata", **paths(pictures)})


def sha256(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def mirror(publish, small, tmp_path, monkeypatch):
    """The folder of a mirror that has the texts. The four pictures are the whole data set."""
    monkeypatch.setattr(flickr8k, "URL", (tmp_path / "published").as_uri())
    monkeypatch.setattr(flickr8k, "NUMBER_OF_IMAGES", 4)
    monkeypatch.setattr(flickr8k, "NAMES_SHA256", sha256("".join(f"{name}\n" for name in NAMES).encode()))
    monkeypatch.setattr(flickr8k, "SMALL_SHA256", sha256(small(PICTURES)))
    listing = "".join(f"{sha256(FILES[name].encode())}  {name}\n" for name in sorted(FILES))
    monkeypatch.setattr(flickr8k, "TEXTS_SHA256", f"{sha256(listing.encode())} over 4 files")
    publish(TEXTS, zipped({**FILES, "readme.txt": "of the authors"}))
    return tmp_path / "mirror"


def captions(number):
    return [f"{index} of {number} ." for index in range(5)]


EXPECTED = (
    [(PICTURES[name], caption) for name in ("3_cc.jpg", "1_aa.jpg") for caption in captions(name[0])],
    [(PICTURES["2_bb.jpg"], captions(2))],
    [(PICTURES["4_dd.jpg"], captions(4))],
)


def test_pairs_of_the_published_archive(mirror):
    (mirror / IMAGES).write_bytes(originals(PICTURES))
    train, validation, test = load_flickr8k()
    assert (train, validation, test) == EXPECTED
    assert train[0][0] is train[4][0]


def test_the_small_archive_comes_first(mirror, small):
    (mirror / SMALL_IMAGES).write_bytes(small(PICTURES))
    (mirror / IMAGES).write_bytes(b"never read")
    assert load_flickr8k() == EXPECTED


def test_downloaded(mirror, tmp_path):
    published = tmp_path / "published"
    published.mkdir()
    (published / "Flickr8k_Dataset.zip").write_bytes(originals(PICTURES))
    (published / "Flickr8k_text.zip").write_bytes((mirror / TEXTS).read_bytes())
    (mirror / TEXTS).unlink()
    assert load_flickr8k() == EXPECTED
    (published / "Flickr8k_Dataset.zip").unlink()
    assert load_flickr8k() == EXPECTED  # Read from the cache.


@pytest.mark.parametrize("damage", ["changed byte", "truncated", "extra image", "missing image"])
def test_damaged_originals(mirror, damage):
    content = originals(PICTURES)
    start = content.index(b"Flicker8k_Dataset/1_aa.jpg") + 27
    damaged = {
        "changed byte": content[:start] + bytes([content[start] ^ 255]) + content[start + 1 :],
        "truncated": content[: len(content) // 2],
        "extra image": originals({**PICTURES, "6_ff.jpg": b""}),
        "missing image": originals({name: PICTURES[name] for name in NAMES[1:]}),
    }
    (mirror / IMAGES).write_bytes(damaged[damage])
    with pytest.raises(ValueError, match="from another release. Expected sha256 .* over the names of 4 images"):
        load_flickr8k()


@pytest.mark.parametrize("pictures", [{**PICTURES, "1_aa.jpg": b""}, None])
def test_damaged_small_archive(mirror, small, pictures):
    (mirror / SMALL_IMAGES).write_bytes(small(pictures) if pictures else b"")
    with pytest.raises(ValueError, match="damaged or from another release"):
        load_flickr8k()


@pytest.mark.parametrize(
    "texts", [{**FILES, "Flickr8k.token.txt": TOKENS + "6_ff.jpg#0\ta"}, {}], ids=["extra caption", "no files"]
)
def test_damaged_texts(mirror, texts):
    (mirror / TEXTS).write_bytes(zipped(texts))
    with pytest.raises(ValueError, match="Flickr8k_text.zip in the offline mirror is damaged"):
        load_flickr8k()


# === Real data ===


def test_documented_facts(require_mirror, run_examples):
    require_mirror(SMALL_IMAGES, TEXTS)
    splits = load_flickr8k()
    run_examples(flickr8k, load_flickr8k=lambda: splits)
    train, validation, test = splits
    assert (len(train), len(validation), len(test)) == (30_000, 1_000, 1_000)
    assert {len(captions) for split in (validation, test) for _, captions in split} == {5}
    images = [{image for image, _ in split} for split in (train, validation, test)]
    # Two of the training images are identical.
    assert [len(split) for split in images] == [5_999, 1_000, 1_000]
    assert not (images[0] & images[1] | images[0] & images[2] | images[1] & images[2])
    assert all(image.startswith(b"\xff\xd8\xff") for split in images for image in split)
    texts = [caption for _, caption in train]
    texts += [caption for split in (validation, test) for _, captions in split for caption in captions]
    assert all(text.isascii() and text == " ".join(text.split()) for text in texts)
    assert 0.89 < sum(text.endswith(" .") for text in texts) / len(texts) < 0.92
    assert 0.9 < sum(text[0].isupper() for text in texts) / len(texts) < 0.95
    assert max(len(text.split()) for text in texts) == 38
    assert sum(bool(re.search(r"\w[,.\"]|[,\"]\w", text)) for text in texts) < 0.01 * len(texts)
