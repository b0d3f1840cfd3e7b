"""From a name, a path or an address to files on this machine."""

import hashlib
import os
import pathlib
import re

from kerasseq.downloads import cache_folders, download, is_right, is_writable, sha256_of
from kerasseq.file_writing import write_text
from kerasseq.progress import say
from kerasseq.zoo import presets, released

VARIABLE = "KERASSEQ_MODELS_DIR"
CLONE = pathlib.Path(__file__).resolve().parents[2] / "saved_models"  # Not there in an installed package.
HUGGING_FACE = re.compile(r"hf://(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?", re.ASCII)
WEB = re.compile(r"(?P<url>https?://[^\s#?]+?)/?(#sha256=(?P<sha256>[0-9a-f]{64}))?", re.ASCII)


def fetch(preset: str | os.PathLike) -> pathlib.Path:
    """The files of a model on this machine, downloaded if need be.

    A released name is looked for in the folder that the environment variable `KERASSEQ_MODELS_DIR` names, in
    `saved_models/` of a clone, in the cache (`kerasseq/models` in the Keras folder, by default `~/.keras`), and then
    downloaded from the project's repository. All files are verified by the digests that this release of kerasseq has,
    wherever they are. A model that is found on this machine needs no network.

    Args:
        preset: one of
            - a name of `kerasseq.zoo.list()`, as it is for the newest version that this release of kerasseq knows, or
              with a version, `"translation_en_fr/2"`;
            - the path of a `.keras` file, of a folder that `TextGenerator.save_to_preset` or `export` wrote, or of the
              run folder of `kerasseq train`, for its best model. A path that looks like a name begins with `./`;
            - the address of such a file or folder, `"https://..."`, pinned by `#sha256=` and the digest of the file,
              or of the folder's `preset.json`. An unpinned file is downloaded once, and then kept. An unpinned folder
              is checked for changes each time; without a network, the last copy is used;
            - `"hf://owner/name"`, a repository of Hugging Face, with `@` and a revision to pin it. Needs
              `pip install huggingface_hub`.

    Returns:
        `pathlib.Path` of a `.keras` file or a folder, which `TextGenerator.load` reads. Do not modify it.

    Raises:
        ValueError: if there is no such name, version or file, a file has another digest, or a training has no model
            yet.
        ConnectionError: if a download is needed and fails. What has arrived is kept for the next call.

    Example:

    ```python
    folder = kerasseq.zoo.fetch("translation_en_fr/2")  # a SavedModel, for TensorFlow Serving
    ```
    """
    preset = os.fspath(preset)
    if not preset.strip():
        raise ValueError(
            f"preset must be a name, a path or an address. Received: {preset!r}. The current folder is '.'."
        )
    if "://" in preset:
        return _published(preset)
    if found := released.split(preset):
        name, version = found
        return _released(name, version or released.newest(name))
    path = pathlib.Path(preset).expanduser()
    if not path.exists():
        raise ValueError(
            f"There is no file or folder {path}, and no released model of this name. {released.unknown(preset)} "
            f"Relative paths start at {os.getcwd()}; addresses begin with https:// or hf://."
        )
    return _local(path)


# === Files on this machine ===


def _local(path: pathlib.Path) -> pathlib.Path:
    """A `.keras` file, or what is to be loaded of a folder, verified if that has a description."""
    description, best = path / presets.PRESET, path / presets.BEST
    if description.is_file():
        if best.is_file():
            raise ValueError(
                f"{path} has a model of a training, {best.name}, and one that save_to_preset wrote, {presets.MODEL}. "
                "Pass the path of one of these files, or move one of them to a folder of its own."
            )
        files = presets.read_preset(description, description)
        presets.check_files(path, files, "Copy the folder again, or save it again.")
    elif best.is_file():
        return best
    elif (path / presets.RUN).is_file():
        raise ValueError(
            f"{path} is the folder of a training that has no {best.name} yet. It gets one at the end of an epoch: go "
            "on with `kerasseq train CONFIG --resume`."
        )
    elif path.is_dir() and presets.kind_of(path) is None:
        models = [str(place) for place in sorted(path.iterdir()) if presets.kind_of(place)]
        advice = f" Pass a model in it: {', '.join(models[:5])}{', ...' * (len(models) > 5)}." if models else ""
        raise ValueError(
            "Expected a .keras file, or the folder of a training, of a preset or of an exported model. Received: "
            f"{path}, which is none of these.{advice}"
        )
    return presets.model_in(path)


# === Released models ===


def _released(name: str, version: int) -> pathlib.Path:
    relative = pathlib.PurePosixPath(name, str(version))
    own = os.environ.get(VARIABLE)
    places = [pathlib.Path(own).expanduser()] if own else []
    local = next((place / relative for place in (*places, CLONE) if (place / relative).is_dir()), None)
    if local is not None and str(version) not in released.models()[name]:
        return local  # The next version, exported here and not released.
    files = released.release(name, version)["files"]
    if local is not None:
        presets.check_files(local, files, "Copy the folder again, or load what is there by its path.")
        return local
    caches = [folder / "models" / relative for folder in cache_folders()]
    for cached in caches:
        if presets.is_complete(cached, files):
            return cached
    destination = next(filter(is_writable, caches), caches[-1])
    revision = released.release(name, version)["revision"]
    address = released.page(revision, f"saved_models/{relative}", "raw")
    try:
        presets.fetch_files(address, files, destination)
    except ConnectionError as error:
        looked = f"{places[0] / relative} ({VARIABLE}): no such folder" if places else f"{VARIABLE} is not set"
        raise ConnectionError(
            f"Could not get {relative}. Looked in:\n"
            f"  {looked}\n"
            f"  {destination} (cache): not complete\n"
            f"  {error}\n"
            "What has arrived is kept: try again. Without a network, run `python -m kerasseq.zoo fetch "
            f"{relative}` on another machine, store the folder that it names as {relative} in any folder, and set "
            f"{VARIABLE} to that, for example: export {VARIABLE}=/data/models"
        ) from error
    return destination


# === Models that others publish ===


def _published(address: str) -> pathlib.Path:
    if match := HUGGING_FACE.fullmatch(address):
        return _local(_snapshot(match["repository"], match["revision"]))
    if match := WEB.fullmatch(address):
        fetch_from = _fetch_file if match["url"].endswith(".keras") else _fetch_folder
        return fetch_from(match["url"], match["sha256"])
    raise ValueError(
        "An address must be https://... of a .keras file or of a folder, with #sha256= and 64 digits to pin it, or "
        f"hf://owner/name, with @revision to pin it. Received: {address!r}."
    )


def _snapshot(repository: str, revision: str | None) -> pathlib.Path:
    """A repository of Hugging Face, in the cache of its own library."""
    try:
        import huggingface_hub  # An extra.
    except ImportError as error:
        raise ImportError(
            f"hf://{repository} needs the package huggingface_hub. Run: pip install huggingface_hub"
        ) from error
    try:
        return pathlib.Path(huggingface_hub.snapshot_download(repository, revision=revision))
    except OSError as error:  # The base of the library's own errors: no such repository, no network, a full disk.
        raise ConnectionError(f"Could not get hf://{repository}. {error}") from error


def _stores(url: str) -> list[pathlib.Path]:
    """The folders in the caches for an address."""
    readable = re.sub(r"[^\w.-]+", "_", url.partition("://")[2])[-80:]
    name = f"{readable}-{hashlib.sha256(url.encode()).hexdigest()[:16]}"
    return [folder / "models" / "addresses" / name for folder in cache_folders()]


def _store(url: str) -> pathlib.Path:
    """The folder for an address in the first cache that can be written to."""
    stores = _stores(url)
    return next(filter(is_writable, stores), stores[-1])


def _fetch_file(url: str, sha256: str | None) -> pathlib.Path:
    name = url.rpartition("/")[2]
    for store in _stores(url):
        if (store / name).is_file() if sha256 is None else is_right(store / name, sha256):
            return store / name
    path = _store(url) / name
    download(url, path, sha256)
    return path


def _fetch_folder(url: str, sha256: str | None) -> pathlib.Path:
    """The newest state of a folder, or the last complete one where there is no network.

    Each state has a folder of its own, so files of two never mix, and `preset.json` in the store is that of the last
    complete one.
    """
    store = _store(url)
    complete, received = store / presets.PRESET, store / f"received-{sha256 or 'newest'}.json"
    try:
        if sha256 is None or not is_right(received, sha256):
            download(f"{url}/{presets.PRESET}", received, sha256)
        folder = _fetch_state(url, store, received)
    except ConnectionError as error:
        if sha256 is not None or not complete.is_file():
            raise
        say(f"{error}. The copy from an earlier download is used.")
        return _fetch_state(url, store, complete)
    if sha256 is None:
        write_text(complete, received.read_text(encoding="utf-8"))
    return folder


def _fetch_state(url: str, store: pathlib.Path, description: pathlib.Path) -> pathlib.Path:
    """The files that a description lists."""
    folder = store / sha256_of(description)[:16]
    presets.fetch_files(url, presets.read_preset(description, f"{url}/{presets.PRESET}"), folder)
    return presets.model_in(folder)
