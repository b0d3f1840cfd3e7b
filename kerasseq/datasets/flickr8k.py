"""Flickr8k: photographs with five captions each (Hodosh, Young and Hockenmaier, 2013)."""

import hashlib
import pathlib
import re
import tarfile
import zipfile
import zlib

from kerasseq.datasets.archives import files_digest, read_archive
from kerasseq.datasets.fetch import fetch, mirrored_path
from kerasseq.datasets.splits import FilePairs

URL = "https://github.com/jbrownlee/Datasets/releases/download/Flickr8k"
IMAGES = "flickr8k/Flickr8k_Dataset.zip"
TEXTS = "flickr8k/Flickr8k_text.zip"

# A mirror may have a tar archive of the same images, resized to 160 x 160 pixels, a sixteenth of the size.
SMALL_IMAGES = "flickr8k/Flickr8k_Dataset_160px.tar"
SMALL_SHA256 = "1d9bd592cab1fd034b5a44a4e80af6519725a3f6c68cf43d58524aa78f326bcf"

# Digest of the sorted image names, because no digest of the published archive is available: (unzip -Z1
# Flickr8k_Dataset.zip 'Flicker8k_Dataset/*.jpg' | cut -d/ -f2 | LC_ALL=C sort | sha256sum). The CRC checksums of the
# archive verify the content.
NUMBER_OF_IMAGES = 8_091
NAMES_SHA256 = "b8809812431e6184a9a6373b15073a9f8f574c9b01fe9437ab055815211b4cde"

# Official names of the splits, with 6,000, 1,000 and 1,000 images, in the order in which they are returned.
SPLITS = ("train", "dev", "test")
CAPTIONS_FILE, SPLIT_FILE = "Flickr8k.token.txt", "Flickr_8k.{}Images.txt"

# Digest of the files used. In the extracted archive: (export LC_ALL=C; sha256sum Flickr8k.token.txt
# Flickr_8k.*Images.txt | sha256sum)
TEXTS_SHA256 = "b9fa2cd53e0f13127770daf7a6b3d7557bf68f46901ef8401448d0f1594b6a1c over 4 files"

IMAGE = re.compile(r"Flicker8k_Dataset/(\d+_[0-9a-f]+\.jpg)", re.ASCII)
CAPTION = re.compile(r"(\S+)#[0-4]\t(.+)")
DAMAGES = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, KeyError)


def load_flickr8k() -> tuple[FilePairs, list[tuple[bytes, list[str]]], list[tuple[bytes, list[str]]]]:
    """Loads Flickr8k: photographs of people and animals in action, each with five English captions.

    The official splits: 6,000 images for training, 1,000 for validation and 1,000 for testing. 91 images are in no
    split, and the captions of `2258277193_586949ec62.jpg.1`, whose image is missing, are dropped. No image is in two
    splits. One photograph occurs twice in training, under two names.

    Captions are returned as published, tokenized with spaces: 86% start with a capital letter and end in `" ."`, the
    others are in lower case or have no full stop. Commas, apostrophes and quotation marks are tokens too, as in
    `'a sign that says " active . "'`. All captions are ASCII. The median caption has 11 tokens, the longest 38, and 53
    captions have three or fewer. Of the 40,000 captions 39,748 are distinct.

    Source: M. Hodosh, P. Young, J. Hockenmaier, "Framing Image Description as a Ranking Task", 2013; the archives at
    https://github.com/jbrownlee/Datasets. Licence: for research only; the photographs belong to the photographers. Use
    it for benchmarks and tutorials, and do not redistribute the images.

    The published archive contains photographs of up to 500 x 500 pixels, 1 GB in total. It is verified by the names and
    the number of its images, and by its checksum of each image. A mirror may instead have an archive of the same images
    resized to 160 x 160 pixels, under a different name.

    Returns:
        tuple `(train, validation, test)` of lists in the official order. `train` has 30,000 `(image, caption)` tuples:
        the bytes of a JPEG file, and str. Captions of the same image are adjacent and share its bytes. `validation` and
        `test` have 1,000 `(image, captions)` tuples of bytes and a list of five str, as `kerasseq.evaluation.cider`
        takes them. For a validation loss, convert them to pairs: `[(image, caption) for image, captions in validation
        for caption in captions]`.

    Raises:
        ValueError: if an archive is damaged.
        ConnectionError: if an archive is neither in the mirror nor in the cache, and cannot be downloaded.

    Example:

    >>> train, validation, test = load_flickr8k()
    >>> len(train), len(validation), len(test)
    (30000, 1000, 1000)
    >>> image, caption = train[0]
    >>> caption
    'A black dog is running after a white dog in the snow .'
    >>> test[0][1][0]
    'The dogs are in the snow in front of a fence .'
    """
    files = _read_texts(fetch(TEXTS, f"{URL}/Flickr8k_text.zip", TEXTS_SHA256, digest=_digest_of_texts))
    captions = _captions(files[CAPTIONS_FILE].decode("utf-8"))
    images = _read_images(_path_of_images())
    train, validation, test = (
        [(images[name], captions[name]) for name in files[SPLIT_FILE.format(split)].decode("utf-8").split()]
        for split in SPLITS
    )
    return [(image, caption) for image, captions in train for caption in captions], validation, test


def _captions(text: str) -> dict[str, list[str]]:
    """The five captions of each image, by image name."""
    captions: dict[str, list[str]] = {}
    for line in text.removesuffix("\n").split("\n"):
        name, caption = CAPTION.fullmatch(line).groups()  # type: ignore[union-attr]  # The digest matches.
        captions.setdefault(name, []).append(" ".join(caption.split()))
    return captions


def _path_of_images() -> pathlib.Path:
    small = mirrored_path(SMALL_IMAGES)
    if small is not None and small.is_file():
        return fetch(SMALL_IMAGES, f"{URL}/Flickr8k_Dataset.zip", SMALL_SHA256)
    expected = _described(NAMES_SHA256, NUMBER_OF_IMAGES)
    return fetch(IMAGES, f"{URL}/Flickr8k_Dataset.zip", expected, digest=_digest_of_images)


def _read_images(path: pathlib.Path) -> dict[str, bytes]:
    """The images of either archive, by names such as `"1000268201_693b08cb0e.jpg"`."""
    if tarfile.is_tarfile(path):
        return read_archive(path, IMAGE, "r:")
    with zipfile.ZipFile(path) as archive:
        # `read` raises an error if the checksum does not match.
        return {name[1]: archive.read(name[0]) for name in map(IMAGE.fullmatch, archive.namelist()) if name}


def _digest_of_images(path: pathlib.Path) -> str:
    try:
        names = sorted(_read_images(path))
    except DAMAGES as error:
        return f"none, because the file is not a complete archive ({error})"
    listing = "".join(f"{name}\n" for name in names)
    return _described(hashlib.sha256(listing.encode("utf-8")).hexdigest(), len(names))


def _described(sha256: str, count: int) -> str:
    return f"{sha256} over the names of {count:,} images"


def _read_texts(path: pathlib.Path) -> dict[str, bytes]:
    """The files of captions and splits, by name."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in (CAPTIONS_FILE, *map(SPLIT_FILE.format, SPLITS))}


def _digest_of_texts(path: pathlib.Path) -> str:
    try:
        return files_digest(_read_texts(path))
    except DAMAGES as error:
        return f"none, because the file is not a complete archive of texts ({error})"
