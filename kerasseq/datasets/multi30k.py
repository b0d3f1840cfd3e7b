"""Multi30k: image captions in English, German, French and Czech (Elliott et al., 2016)."""

import gzip

from kerasseq.arguments import check_choice
from kerasseq.datasets.fetch import fetch
from kerasseq.datasets.splits import TextPairs, TextSplits

LANGUAGES = ("en", "de", "fr", "cs")

# Official names and sizes of the splits, in the order in which they are returned.
SPLITS = {"train": 29_000, "val": 1_014, "test_2016_flickr": 1_000}

URL = "https://raw.githubusercontent.com/multi30k/dataset/a3d2e0d26b56f3846f66a952536ffed4e401d05a/data/task1"

SHA256 = {
    "train.en.gz": "d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f",
    "train.de.gz": "726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6",
    "train.fr.gz": "622e75069e9f4c577425c4f277116ce66e63a2401c0a2312d90073cb12379a3c",
    "train.cs.gz": "a65adb8b32e3bc664f21ecba7a6e7f6950fd1f405e135f7c312faabdb6255077",
    "val.en.gz": "14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28",
    "val.de.gz": "f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a",
    "val.fr.gz": "ca3106f1a72390591d25f6c45cb4cd39dec4cd3f123e099748a3ce5256c160e9",
    "val.cs.gz": "b63226e05c4bd5dd6a42897d74b86a1b9d2c31498252c572b1ea7f7996927fcc",
    "test_2016_flickr.en.gz": "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9",
    "test_2016_flickr.de.gz": "9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8",
    "test_2016_flickr.fr.gz": "6d326e188d259fb1d04ac19eae3af956559b3a0b93d7635e56c90987c40c8b90",
    "test_2016_flickr.cs.gz": "200a4a74cc9560f051924abb9803be008d1908d77f747e9141aeb86dfd2797f1",
    "train.lc.norm.tok.en": "08925f8e0572bcd5a006702fc5fe20e2d77c6917d4eebd576fc20de6693c2119",
    "train.lc.norm.tok.de": "cb5a23529b65ec2061f1dc446192a9c37382b63cc75f81a0be59d34894b3a505",
    "train.lc.norm.tok.fr": "8fa41bb718412bcb7c5dfa58603842810a01543eae86a51279f9886b901266e1",
    "train.lc.norm.tok.cs": "7645fb91efa18f94c83d493f740a5d5a941e4b01efa6a124bf2d4af040e133e0",
    "val.lc.norm.tok.en": "46573ce391ae227f1c72f873392436a20ef18e0a6d518098cfbd70b77c8572ec",
    "val.lc.norm.tok.de": "97232bd273eceb7207f689527386a97e4be2616b18ada47576bdaf96c8ae1f00",
    "val.lc.norm.tok.fr": "b303e301aa21fe7822a846b2b3fb2d5a1121ec807cd5b1d006fb7b2b5507168a",
    "val.lc.norm.tok.cs": "b87ee4917f4a0f9ca6cca03e402026c9f4437dc1bd6a7dadfd2544ecfb6c5501",
    "test_2016_flickr.lc.norm.tok.en": "5b7f32627cf99eced828311b955dae9800bb52bc8b91cf8b6526829e605b29d2",
    "test_2016_flickr.lc.norm.tok.de": "c6a33d39d48f9f510de147651316cd9d918e09ad0219df734a2f16b6baccacc4",
    "test_2016_flickr.lc.norm.tok.fr": "1463bd5960f9bfe098ec3cd752d3df0c49c84dc646fb518964a29232658cd836",
    "test_2016_flickr.lc.norm.tok.cs": "748c8816de928732365176e5c5d2f9bbabcec9b8d4448fba2d230feb057898a7",
}


def load_multi30k(source: str = "en", target: str = "de", tokenized: bool = False) -> TextSplits:
    """Loads Multi30k: captions of Flickr photographs with professional translations.

    The official splits, on which papers report BLEU: 29,000 training, 1,014 validation and 1,000 test pairs
    (`test_2016_flickr`). Every caption exists in all four languages, so any pair of languages can be loaded.

    Source: https://github.com/multi30k/dataset; D. Elliott, S. Frank, K. Sima'an, L. Specia, "Multi30K: Multilingual
    English-German Image Descriptions", 2016. Licence of the captions: CC BY-NC-SA 4.0
    (https://creativecommons.org/licenses/by-nc-sa/4.0/): non-commercial. Use it for benchmarks and tutorials.

    Args:
        source: str, language of the sources: `"en"`, `"de"`, `"fr"` or `"cs"`. Defaults to `"en"`.
        target: str, language of the targets, different from `source`. Defaults to `"de"`.
        tokenized: bool, whether to load the authors' lowercased, normalised and Moses-tokenized version, with spaces
            between tokens, instead of the raw captions. Defaults to `False`.

    Returns:
        tuple `(train, validation, test)` of lists of `(source, target)` string tuples in the official order, stripped
        of surrounding white space.

    Raises:
        ValueError: if a language is unknown, both are the same, or a file is damaged.
        ConnectionError: if a file is neither in the mirror nor in the cache, and cannot be downloaded.

    Example:

    >>> train, validation, test = load_multi30k("en", "de")
    >>> test[0]
    ('A man in an orange hat starring at something.', 'Ein Mann mit einem orangefarbenen Hut, der etwas anstarrt.')
    >>> len(train), len(validation), len(test)
    (29000, 1014, 1000)
    """
    check_choice("source", source, LANGUAGES)
    check_choice("target", target, LANGUAGES)
    if source == target:
        raise ValueError(f"source and target must be two different languages. Received: {source!r} for both.")

    def pairs(split: str) -> TextPairs:
        return list(zip(_read(split, source, tokenized), _read(split, target, tokenized), strict=True))

    train, validation, test = map(pairs, SPLITS)
    return train, validation, test


def _read(split: str, language: str, tokenized: bool) -> list[str]:
    folder, name = ("tok", f"{split}.lc.norm.tok.{language}") if tokenized else ("raw", f"{split}.{language}.gz")
    path = fetch(f"multi30k/{name}", f"{URL}/{folder}/{name}", SHA256[name])
    content = path.read_bytes()
    text = (content if tokenized else gzip.decompress(content)).decode("utf-8")
    # Languages are aligned by line number. Unlike `splitlines`, this keeps Unicode line separators inside a caption.
    captions = [line.strip() for line in text.removesuffix("\n").split("\n")]
    if len(captions) != SPLITS[split]:
        raise ValueError(
            f"{path}: expected {SPLITS[split]:,} captions, the official number for {split!r}. Received: "
            f"{len(captions):,}. The file has the expected sha256, so correct SHA256 or SPLITS in this module."
        )
    return captions
