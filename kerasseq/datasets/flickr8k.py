"""Flickr8k: photographs with five captions each (Hodosh, Young and Hockenmaier, 2013)."""

import hashlib
import os
import pathlib
import re
import tarfile
import zipfile
import zlib

from kerasseq.datasets.fetch import MIRROR_VARIABLE, fetch

URL = "https://github.com/jbrownlee/Datasets/releases/download/Flickr8k"
IMAGES = "flickr8k/Flickr8k_Dataset.zip"
TEXTS = "flickr8k/Flickr8k_text.zip"

# A tar archive of the same images, squashed to 160 x 160 pixels, which a mirror may have instead: a sixteenth in size.
SMALL_IMAGES = "flickr8k/Flickr8k_Dataset_160px.tar"
SMALL_SHA256 = "1d9bd592cab1fd034b5a44a4e80af6519725a3f6c68cf43d58524aa78f326bcf"

# Of the names of all images, for no digest of the published archive is at hand: (unzip -Z1 Flickr8k_Dataset.zip
# 'Flicker8k_Dataset/*.jpg' | cut -d/ -f2 | LC_ALL=C sort | sha256sum). Damage shows by the archive's own checksums.
NUMBER_OF_IMAGES = 8_091
NAMES_SHA256 = "b8809812431e6184a9a6373b15073a9f8f574c9b01fe9437ab055815211b4cde"

# Official name of each split, of 6,000, 1,000 and 1,000 images, in the order in which they are returned.
SPLITS = ("train", "dev", "test")
CAPTIONS_FILE, SPLIT_FILE = "Flickr8k.token.txt", "Flickr_8k.{}Images.txt"

# Of what is used of the archive of texts: (sha256sum Flickr8k.token.txt Flickr_8k.*Images.txt | sha256sum), unpacked,
# with LC_ALL=C.
TEXTS_SHA256 = "b9fa2cd53e0f13127770daf7a6b3d7557bf68f46901ef8401448d0f1594b6a1c"

IMAGE = re.compile(r"Flicker8k_Dataset/(\d+_[0-9a-f]+\.jpg)", re.ASCII)
CAPTION = re.compile(r"(\S+)#[0-4]\t(.+)")
DAMAGES = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, KeyError)


def load_flickr8k():
    """Load Flickr8k: photographs of people and animals doing something, each with five English captions.

    The official splits: 6,000 images for training, 1,000 for validation and 1,000 for the test. (91 more images are in
    no split, and the captions of `2258277193_586949ec62.jpg.1`, whose image is missing, are left out.) No image is in
    two splits; one photograph is in training twice, under two names.

    Captions are returned as written, in tokens with a space between them: 86 % begin with a capital letter and end
    in `" ."`, the others in lower case or without a full stop; commas, apostrophes and quotation marks too stand by
    themselves, as in `'a sign that says " active . "'`. All are ASCII. The median caption has 11 tokens, the longest
    38, and 53 have three or less. Of the 40,000 captions 39,748 are distinct.

    Source: M. Hodosh, P. Young, J. Hockenmaier, "Framing Image Description as a Ranking Task", 2013; the archives at
    https://github.com/jbrownlee/Datasets. Licence: for research only, and the photographs belong to those who took
    them. Use it for benchmarks and tutorials, and never pass the images on.

    The published archive holds the photographs in their sizes, up to 500 x 500 pixels, 1 GB altogether; what verifies
    it are the names and the number of the images, and the checksum that the archive has of each. A mirror may instead
    have the archive of the same images squashed to 160 x 160 pixels, under a name of its own.

    Returns:
        A tuple `(train, validation, test)` of lists in the official order. `train` holds 30,000 `(image, caption)`
        tuples of bytes, the content of a JPEG file, and str; those of one image follow each other and share the bytes.
        `validation` and `test` hold 1,000 `(image, captions)` tuples of bytes and a list of five str, as
        `kerasseq.evaluation.cider` takes them. For a validation loss, make pairs of them: `[(image, caption) for image,
        captions in validation for caption in captions]`.

    Raises:
        ValueError: if an archive is damaged.
        ConnectionError: if an archive is neither in the mirror, nor in the cache, nor within reach.

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
    splits = []
    for split in SPLITS:
        names = files[SPLIT_FILE.format(split)].decode("utf-8").split()
        splits.append([(images[name], captions[name]) for name in names])
    train, validation, test = splits
    return [(image, caption) for image, captions in train for caption in captions], validation, test


def _captions(text):
    """The five captions of each image, by its name."""
    captions = {}
    lines = text.removesuffix("\n").split("\n")
    for line in lines:
        name, caption = CAPTION.fullmatch(line).groups()
        captions.setdefault(name, []).append(" ".join(caption.split()))
    return captions


def _path_of_images():
    mirror = os.environ.get(MIRROR_VARIABLE)
    if mirror and (pathlib.Path(mirror).expanduser() / SMALL_IMAGES).is_file():
        return fetch(SMALL_IMAGES, f"{URL}/Flickr8k_Dataset.zip", SMALL_SHA256)
    expected = _described(NAMES_SHA256, NUMBER_OF_IMAGES)
    return fetch(IMAGES, f"{URL}/Flickr8k_Dataset.zip", expected, digest=_digest_of_images)


def _read_images(path):
    """The images in an archive: names such as `"1000268201_693b08cb0e.jpg"` to bytes. Nothing is unpacked."""
    images = {}
    if tarfile.is_tarfile(path):
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                name = IMAGE.fullmatch(member.name)
                if name and member.isreg():  # Not a link, which `extractfile` would follow.
                    images[name[1]] = archive.extractfile(member).read()
        return images
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            if name := IMAGE.fullmatch(member):
                images[name[1]] = archive.read(member)  # Raises an error if its checksum is another.
    return images


def _digest_of_images(path):
    try:
        names = sorted(_read_images(path))
    except DAMAGES as error:
        return f"none, for it is no complete archive ({error})"
    listing = "".join(f"{name}\n" for name in names)
    return _described(hashlib.sha256(listing.encode("utf-8")).hexdigest(), len(names))


def _described(sha256, count):
    return f"{sha256} over the names of {count:,} images"


def _read_texts(path):
    """The files of texts that are used, by name."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in (CAPTIONS_FILE, *map(SPLIT_FILE.format, SPLITS))}


def _digest_of_texts(path):
    try:
        files = _read_texts(path)
    except DAMAGES as error:
        return f"none, for it is no complete archive of texts ({error})"
    lines = (f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    return hashlib.sha256("".join(lines).encode("utf-8")).hexdigest()
