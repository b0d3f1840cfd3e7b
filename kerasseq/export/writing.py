"""Writes SavedModels for TensorFlow Serving."""

import os

import tensorflow as tf

from kerasseq.arguments import check_positive_integer
from kerasseq.export.checks import check_answers, check_scores
from kerasseq.export.description import EXTRA, digests, write_description
from kerasseq.export.exportable import Exportable
from kerasseq.export.folders import temporary_folder
from kerasseq.export.graphs import without_onednn_batch_products
from kerasseq.export.servable import unservable
from kerasseq.export.signatures import score_signature, signatures
from kerasseq.export.versions import next_version, versions
from kerasseq.export.warm_up import write_warm_up
from kerasseq.seq2seq import weights_by_name

FINGERPRINT = "fingerprint.pb"


def export(
    generator: Exportable,
    model_folder: str | os.PathLike,
    version: int | None = None,
    verify: bool = True,
    score: bool = False,
) -> str:
    """Writes a `TextGenerator` as a SavedModel: raw sources in, texts out.

    Input of every signature: `text` (string `[batch]`), or the name of the preprocessor's `source_signature`. Outputs:

    - `serving_default`, with the generator's own sampler, and `greedy`, under the same constraints: `text` (string
      `[batch]`) and `score` (float32 `[batch]`).
    - `nbest`: the same with `[batch, n]`, all hypotheses of the generator's own sampler, the best first; n is 1 for
      greedy search.
    - `attention`, for models with attention: decodes as `serving_default` does in one pass, and adds the axes and the
      weights of the attention: `source_tokens` (string `[batch, source]`) and `target_tokens` (string `[batch,
      target]`), padded with empty strings, `attention` (float32 `[batch, target, source]`), and where the model has
      them `attention_heads` (float32 `[batch, heads, target, source]`) and `generation_probability` (float32 `[batch,
      target]`).
    - `score`, where asked for: a second input `target` (string `[batch]`); outputs `score` (float32 `[batch]`), the
      log-probability of each target, and `tokens` (int32 `[batch]`), the number of its tokens, END included. Targets
      beyond the model's limit are truncated. See `kerasseq.TextGenerator.score`.

    Texts that are empty or white space have empty texts with score 0, without a search.

    Long sources are treated as the generator's `long_sources` says; where a signature cuts them, as `attention` does,
    the output `ignored_tokens` (int32 `[batch]`) counts the tokens that were not read. For sounds and images, every
    signature has the output `problem` (string `[batch]`), empty if there is none.

    The version also holds warm-up requests for the server, and the configuration for `TextGenerator.load`. It is
    written to a temporary folder, checked, and moved into place in one step: a crash leaves no incomplete version that
    a model server could load.

    Args:
        generator: a `kerasseq.TextGenerator`.
        model_folder: path of the model's folder; created if needed. Its name is the model's name in the warm-up
            requests.
        version: int, number of the version. Default: one more than the highest one there.
        verify: bool, whether to load the SavedModel and to compare its answers with those of the generator.
        score: bool, whether to write the signature `score`.

    Returns:
        str, path of the version's folder, `model_folder/version`.

    Raises:
        FileExistsError: if the version exists.
        ValueError: if the version is not a positive integer, the sampler is random, the graph has operations that a
            CPU server cannot run, or the SavedModel does not answer as the generator.
    """
    if generator.sampler.random_state is not None:
        raise ValueError(
            "A served model gives the same output for the same input. Received: a random sampler. Export "
            "TextGenerator(model, preprocessor, sampler='beam') instead."
        )
    model_folder = os.path.expanduser(os.fspath(model_folder))
    if "://" in model_folder:
        raise ValueError(
            f"A model is exported to a local folder. Received: {model_folder}. Export it there, and copy the version's "
            "folder."
        )
    if os.path.exists(model_folder) and not os.path.isdir(model_folder):
        raise ValueError(
            f"A model is exported to a folder, in which each version has its own. Received: {model_folder}, which is a "
            "file."
        )
    if version is not None:
        check_positive_integer("version", version)
        if version in versions(model_folder):
            raise FileExistsError(
                f"Version {version} exists in {model_folder}. Served versions are never overwritten. Leave out "
                f"`version` to write version {next_version(model_folder)}."
            )
    os.makedirs(model_folder, exist_ok=True)
    with temporary_folder(model_folder) as temporary:
        folder = os.path.join(temporary, "version")
        write(generator, folder, os.path.basename(os.path.abspath(model_folder)), verify, score)
        while True:
            destination = os.path.join(model_folder, str(version or next_version(model_folder)))
            try:
                os.replace(folder, destination)
                return destination
            except OSError:
                # Another export may have taken the number in the meantime.
                if version is not None or not os.path.exists(destination):
                    raise


def write(generator: Exportable, folder: str, model_name: str, verify: bool, score: bool) -> None:
    """Writes a complete version to a new folder; see `export`."""
    module = tf.Module()
    # Raw variables: a tf.Module that tracks a Keras model loads in Python, but not in the C++ server.
    weights = weights_by_name(generator.model)
    module.weights = [weight.value for weight in weights.values()]
    module.tokenizers = list(generator.preprocessor.tokenizers)
    module.functions = signatures(generator)
    module.score = {"score": score_signature(generator)} if score else {}
    tf.saved_model.save(module, folder, signatures={**module.functions, **module.score})
    without_onednn_batch_products(folder)
    os.remove(os.path.join(folder, FINGERPRINT))  # Of the graph before the rewrite; loaders do without it.
    if problems := unservable(folder):
        raise ValueError(
            f"The graph has operations that a stock CPU model server cannot run: {', '.join(problems)}. Nothing was "
            "written. Look for cuDNN layers, jit_compile=True, devices and Python functions in the model and the "
            "preprocessor."
        )
    extra = os.path.join(folder, EXTRA)
    os.makedirs(extra, exist_ok=True)
    generator.preprocessor.save_assets(extra)
    write_warm_up(extra, model_name, list(module.functions), generator.preprocessor)
    configuration = generator.get_config()
    configuration.pop("format")  # The description has a format of its own.
    # Losses and optimizers of the training, which may be the user's own, are not needed to load an export.
    for entry in ("compile_config", "build_config"):
        configuration["model"].pop(entry, None)
    description = {
        "generator": configuration,
        "weights": [{"name": name, "shape": list(weight.shape)} for name, weight in weights.items()],
        "files": digests(folder),
    }
    write_description(folder, description)
    if verify:
        check_answers(module.functions, folder, generator.preprocessor)
        check_scores(module.score, folder, generator.preprocessor)
    for base, _, names in os.walk(folder):  # Flush, so a power failure leaves no empty files.
        for name in names:
            with open(os.path.join(base, name), "rb") as file:
                os.fsync(file.fileno())
