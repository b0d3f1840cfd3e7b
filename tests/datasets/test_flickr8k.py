import doctest
import hashlib
import io
import os
import pathlib
import tarfile
import zipfile

import pytest

from kerasseq.datasets import flickr8k, load_flickr8k


@pytest.fixture
def mirror():
    folder = pathlib.Path(os.environ.get("KERASSEQ_DATA_DIR") or "missing").expanduser()
    if not (folder / flickr8k.TEXTS).is_file() or not (folder / flickr8k.SMALL_IMAGES).is_file():
        pytest.skip(f"no {flickr8k.TEXTS} and {flickr8k.SMALL_IMAGES} in a folder that KERASSEQ_DATA_DIR names")


NAMES = [f"{number}_abc.jpg" for number in range(1, 5)]
SIDES = {"train": NAMES[:2], "dev": NAMES[2:3], "test": NAMES[3:]}


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A mirror with four images and their captions, and nothing else within reach."""
    folder = tmp_path / "flickr8k"
    folder.mkdir()
    captions = "".join(f"{name}#{index}\tA  dog ,\t{name} {index} .\n" for name in NAMES for index in range(5))
    captions += "".join(f"9_abc.jpg.1#{index}\tNo image .\n" for index in range(5))
    with zipfile.ZipFile(tmp_path / flickr8k.TEXTS, "w") as archive:
        archive.writestr(flickr8k.CAPTIONS_FILE, captions)
        for side, names in SIDES.items():
            archive.writestr(flickr8k.SPLIT_FILE.format(side), "\n".join(names) + "\n")
    monkeypatch.setenv("KERASSEQ_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(flickr8k, "URL", (tmp_path / "nowhere").as_uri())
    monkeypatch.setattr(flickr8k, "SPLITS", {side: len(names) for side, names in SIDES.items()})
    monkeypatch.setattr(flickr8k, "NUMBER_OF_IMAGES", len(NAMES))
    monkeypatch.setattr(flickr8k, "TEXTS_SHA256", flickr8k._digest_of_texts(tmp_path / flickr8k.TEXTS))
    return tmp_path


def write_published(path):
    with zipfile.ZipFile(path, "w") as archive:
        for name in NAMES:
            archive.writestr(f"Flicker8k_Dataset/{name}", name.encode())


def expected():
    captions = {name: [f"A dog , {name} {index} ." for index in range(5)] for name in NAMES}
    train = [(name.encode(), caption) for name in SIDES["train"] for caption in captions[name]]
    return (train, *([(name.encode(), captions[name]) for name in SIDES[side]] for side in ("dev", "test")))


def test_the_published_archive(small, monkeypatch):
    path = small / flickr8k.IMAGES
    write_published(path)
    monkeypatch.setattr(flickr8k, "NAMES_SHA256", flickr8k._digest_of_images(path).split(" over ")[0])
    assert load_flickr8k() == expected()


def test_the_small_archive(small, monkeypatch):
    path = small / flickr8k.SMALL_IMAGES
    with tarfile.open(path, "w") as archive:
        for name in NAMES:
            member = tarfile.TarInfo(f"Flicker8k_Dataset/{name}")
            member.size = len(name)
            archive.addfile(member, io.BytesIO(name.encode()))

    monkeypatch.setattr(flickr8k, "SMALL_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    assert load_flickr8k() == expected()


@pytest.mark.parametrize("damage", ["a missing image", "half of it", "a byte of an image"])
def test_a_damaged_archive_is_refused(small, monkeypatch, damage):
    path = small / flickr8k.IMAGES
    write_published(path)
    monkeypatch.setattr(flickr8k, "NAMES_SHA256", flickr8k._digest_of_images(path).split(" over ")[0])
    content = path.read_bytes()
    if damage == "half of it":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "a byte of an image":
        path.write_bytes(content.replace(b"1_abc.jpgP", b"1_abd.jpgP", 1))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"Flicker8k_Dataset/{NAMES[0]}", b"alone")
    with pytest.raises(ValueError, match="damaged"):
        load_flickr8k()


def test_real_data(mirror):
    train, validation, test = load_flickr8k()
    assert (len(train), len(validation), len(test)) == (30_000, 1_000, 1_000)
    sides = [{image for image, _ in side} for side in (train, validation, test)]
    assert [len(images) for images in sides] == [5_999, 1_000, 1_000] and len(set.union(*sides)) == 7_999
    assert all(len(captions) == 5 for _, captions in validation + test)
    assert all(image.startswith(b"\xff\xd8\xff") for images in sides for image in images)


def test_examples(mirror):
    result = doctest.testmod(flickr8k)
    assert result.attempted and not result.failed
