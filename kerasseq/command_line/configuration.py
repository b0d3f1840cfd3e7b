"""The configuration of a training: sections whose keys are the arguments of public functions."""

import contextlib
import difflib
import inspect
import json
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, TypeAlias

import keras
import pydantic
import yaml

from kerasseq import losses, models
from kerasseq.callbacks import GenerationScores, GeneratorCheckpoint
from kerasseq.command_line.shell import UsageError
from kerasseq.command_line.yaml_lines import Path, read_value, read_yaml
from kerasseq.datasets import read_pairs
from kerasseq.evaluation.scores import METRICS
from kerasseq.preprocessing import TextPreprocessor

BUILDERS = (
    "AttentionSeq2Seq", "GRUSeq2Seq", "LSTMSeq2Seq", "PointerGeneratorSeq2Seq", "TransformerSeq2Seq", "VanillaSeq2Seq",
)  # fmt: skip
VOCABULARY_SIZES = ("source_vocabulary_size", "target_vocabulary_size", "vocabulary_size")  # known from the data
BATCH_SIZE = 64
PAIRS_SCORED = 500
Search: TypeAlias = typing.Literal["greedy", "beam"]


class Section(pydantic.BaseModel):
    """A part of the configuration. Other keys and other types are errors."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, protected_namespaces=())


def section(name: str, function: Callable[..., Any], leave_out: Sequence[str] = (), **own: Any) -> type[Section]:
    """A section whose keys are the arguments of a function, with their types and defaults.

    Args:
        name: str, of the class.
        function: a function or a class with type hints, or with defaults that tell the types.
        leave_out: names of arguments that are no keys.
        own: further fields, or other types and defaults of arguments: tuples as pydantic takes them.
    """
    hints = typing.get_type_hints(function.__init__ if inspect.isclass(function) else function)
    fields: dict[str, Any] = {}
    for argument, parameter in inspect.signature(function).parameters.items():
        if argument in leave_out or argument in own or parameter.kind is parameter.VAR_KEYWORD:
            continue
        default = parameter.default
        required = default is parameter.empty
        fields[argument] = (hints.get(argument, type_of_default(default)), ... if required else default)
    return pydantic.create_model(name, __base__=Section, **own, **fields)


def type_of_default(default: Any) -> Any:
    """The type of an argument without a hint, of Keras: that of its default."""
    if isinstance(default, bool) or isinstance(default, str):
        return type(default)
    return float if isinstance(default, (int, float)) else Any


def path_alone(value: Any) -> Any:
    """A path in the place of a section that describes a file."""
    return {"path": value} if isinstance(value, str) else value


# === Sections that are always the same ===

File = section("File", read_pairs, path=(str, ...), target_path=(str | None, None))
PathOrFile = Annotated[File, pydantic.BeforeValidator(path_alone)]  # type: ignore[valid-type]


class Data(Section):
    """Where pairs are. Without `validation`, they are split by source."""

    train: PathOrFile
    validation: PathOrFile | None = None
    drop_near_duplicates: bool = True


class EarlyStopping(Section):
    """Ends the training when `checkpoint.monitor` has not improved."""

    patience: Annotated[int, pydantic.Field(ge=1)]
    min_delta: float = 0.0


Preprocessor = section("Preprocessor", TextPreprocessor.from_pairs, leave_out=["pairs"])
Dataset = section("Dataset", TextPreprocessor.dataset, leave_out=["self", "pairs", "shuffle", "seed", "weights"])
Scores = section(
    "Scores",
    GenerationScores,
    leave_out=["preprocessor", "pairs", "frequency"],
    metrics=(str | list[str] | dict[str, dict[str, Any]], ["bleu", "chrf"]),
    sampler=(Search, "greedy"),
    pairs=(Annotated[int, pydantic.Field(ge=1)], PAIRS_SCORED),
)
Checkpoint = section(
    "Checkpoint",
    GeneratorCheckpoint,
    leave_out=["filepath", "preprocessor", "options"],
    sampler=(Search, "beam"),
    beam_width=(Annotated[int, pydantic.Field(ge=1)] | None, None),
    length_penalty=(Annotated[float, pydantic.Field(ge=0)] | None, None),
    monitor=(str, "val_loss"),
    mode=(typing.Literal["min", "max"], "min"),
    last=(Annotated[int, pydantic.Field(ge=0)], 0),
)


# === Sections that choose a function ===


def classes_of(module: types.ModuleType, base: type) -> dict[str, Any]:
    """The classes of a module that derive from another one, by name."""
    return {
        name: value
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, base) and value is not base
    }


schedules = keras.optimizers.schedules
LOSSES = {name: getattr(losses, name) for name in ("MaskedCrossentropy", "RDropCrossentropy")}
OPTIMIZERS = classes_of(keras.optimizers, keras.optimizers.Optimizer)
SCHEDULES = classes_of(schedules, schedules.LearningRateSchedule)
# By section: its key, what it chooses from, the default, and arguments that are no keys.
CHOICES: dict[str, tuple[str, dict[str, Any], str, Sequence[str]]] = {
    "model": ("builder", {name: getattr(models, name) for name in BUILDERS}, "AttentionSeq2Seq", VOCABULARY_SIZES),
    "loss": ("class_name", LOSSES, "MaskedCrossentropy", ()),
    "optimizer": ("class_name", OPTIMIZERS, "Adam", ()),
    "schedule": ("class_name", SCHEDULES, "CosineDecay", ()),
}
# Arguments that follow from the learning rate and the number of steps; `None` here.
DERIVED = ("initial_learning_rate", "decay_steps", "first_decay_steps", "warmup_target")


def choosing_section(name: str, chosen: str) -> type[Section]:
    """The section of a function of `CHOICES`."""
    key, choices, _, leave_out = CHOICES[name]
    own: dict[str, Any] = {key: (str, chosen)}
    function = choices[chosen]
    if name == "schedule":
        known = inspect.signature(function).parameters
        own |= {argument: (float | None, None) for argument in DERIVED if argument in known}
    return section(f"{name.title()}", function, [*leave_out, "name"], **own)


def configuration_class(raw: Mapping[str, Any]) -> type[Section]:
    """The class of a configuration with the functions that it chooses."""
    chosen = {}
    for name, (key, choices, default, _) in CHOICES.items():
        own = raw.get(name)
        value = own.get(key, default) if isinstance(own, Mapping) else default
        if value not in list(choices):
            raise Problem((name, key), f"{key} must be one of {', '.join(choices)}. Received: {value!r}.", choices)
        chosen[name] = choosing_section(name, value)
    has_schedule = raw.get("schedule") is not None
    fields: dict[str, Any] = {
        "folder": (str, ...),
        "seed": (int, 0),
        "epochs": (Annotated[int, pydantic.Field(ge=1)], ...),
        "data": (Data, ...),
        "preprocessor": (Preprocessor, Preprocessor()),
        "model": (chosen["model"], chosen["model"]()),
        "dataset": (Dataset, Dataset()),
        "loss": (chosen["loss"], chosen["loss"]()),
        "optimizer": (chosen["optimizer"], chosen["optimizer"]()),
        "schedule": (chosen["schedule"] if has_schedule else None, None),
        "scores": (Scores | None, None),
        "checkpoint": (Checkpoint, Checkpoint()),
        "early_stopping": (EarlyStopping | None, None),
        "tensorboard": (bool, True),
    }
    return pydantic.create_model("Configuration", __base__=Section, **fields)


# === Reading ===


class Problem(ValueError):
    """What is wrong with the value at a path; `names` are those that it may have meant."""

    def __init__(self, path: Path, message: str, names: Sequence[str] | Mapping[str, Any] = (), written: str = ""):
        super().__init__(message)
        self.path, self.names, self.written = path, list(names), written


class Configuration:
    """A configuration that has been checked, with the lines of its file.

    Args:
        path: path of a YAML file.
        overrides: list of str, `KEY=VALUE`, such as `model.units=64`, that replace what the file has.

    Attributes:
        values: dict of all sections, defaults included.

    Raises:
        UsageError: with all problems, each with its line and the nearest known key.
    """

    def __init__(self, path: str, overrides: Sequence[str] = ()):
        self.path = path
        raw, self.lines = read_yaml(path)
        if not isinstance(raw, dict):
            raise UsageError(f"{path}: expected sections, such as 'data:' and 'model:'. Received: {raw!r}.")
        self.overridden: dict[Path, str] = {}
        for override in overrides:
            self._override(raw, override)
        try:
            kind = configuration_class(raw)
            # As JSON, whose lists are also tuples to pydantic.
            self.values: dict[str, Any] = kind.model_validate_json(json.dumps(raw, default=str)).model_dump()
        except Problem as problem:
            raise UsageError(self._described(problem)) from None
        except pydantic.ValidationError as error:
            problems = problems_of(error, kind)
            raise UsageError("\n".join(map(self._described, problems))) from None
        self._complete()

    def _override(self, raw: dict, override: str) -> None:
        name, separator, value = override.partition("=")
        keys = tuple(name.strip().split("."))
        if not separator or not all(keys):
            raise UsageError(f"--set takes KEY=VALUE, such as model.units=64. Received: {override!r}.")
        parent = raw
        for key in keys[:-1]:
            if not isinstance(parent.get(key), dict):
                parent[key] = {}
            parent = parent[key]
        parent[keys[-1]] = read_value(value)
        self.overridden[keys] = f"--set {override}"

    def _complete(self) -> None:
        """Fills in what follows from other values."""
        dataset = self.values["dataset"]
        if dataset["batch_size"] is None and dataset["batch_tokens"] is None:
            dataset["batch_size"] = BATCH_SIZE

    def _described(self, problem: Problem) -> str:
        """A problem with its place and the nearest known name."""
        message = str(problem)
        nearest = difflib.get_close_matches(problem.written or message.rpartition("'")[0].rpartition("'")[2],
                                            problem.names, n=1, cutoff=0.5)  # fmt: skip
        if nearest:
            message += f" Did you mean {nearest[0]!r}?"
        return f"{self.place(problem.path)}: {message}"

    def place(self, path: Path) -> str:
        """Where a value stands: the file and the line of the nearest key, or an option."""
        for length in range(len(path), 0, -1):
            for keys, option in self.overridden.items():
                if keys == path[:length] or (length == len(path) and keys[: len(path)] == path):
                    return option
            if path[:length] in self.lines:
                return f"{self.path}, line {self.lines[path[:length]]}"
        return self.path

    @contextlib.contextmanager
    def reporting(self, name: str) -> Iterator[None]:
        """Tells where the section stands whose values a function of the library refuses."""
        try:
            yield
        except (ValueError, TypeError) as error:
            if isinstance(error, UsageError):
                raise
            own = self.values.get(name)
            words = str(error).replace("=", " ").replace(",", " ").split()
            keys = [word for word in words if isinstance(own, dict) and word in own]
            raise UsageError(f"{self.place((name, *keys[:1]))}: {error}") from error

    def dump(self) -> str:
        """The configuration as used, YAML."""
        # Through JSON: YAML's safe writer knows no tuples.
        return yaml.safe_dump(json.loads(json.dumps(self.values)), sort_keys=False, allow_unicode=True)


def problems_of(error: pydantic.ValidationError, kind: type[Section]) -> list[Problem]:
    """The problems of a configuration, one for each value."""
    found: dict[Path, Problem] = {}
    alternatives: dict[Path, dict[str, None]] = {}
    for entry in error.errors(include_url=False):
        path, sections = known_path(entry["loc"], kind)
        names = sorted(sections.model_fields) if sections else []
        shown = ".".join(map(str, path))
        if entry["type"] == "extra_forbidden":
            key = str(entry["loc"][-1])
            parent = f"in {'.'.join(map(str, path[:-1]))!r}" if len(path) > 1 else "at the top"
            message = f"unknown key {key!r} {parent}. Known: {', '.join(names)}."
            problem = Problem(path, message, names, key)
        elif entry["type"] == "missing":
            problem = Problem(path[:-1], f"the key {shown!r} is missing.")
        else:
            expected = entry["msg"].replace("Input should be ", "").replace("an object", "a section").strip()
            # Of a union, none of the types fits.
            alternatives[path] = {**alternatives.get(path, {}), expected: None}
            expected = ", or ".join(alternatives[path])
            problem = Problem(path, f"{shown!r}: expected {expected}. Received: {entry['input']!r}.")
        found[path] = problem
    return list(found.values())


def known_path(location: tuple[int | str, ...], kind: type[Section]) -> tuple[Path, type[Section] | None]:
    """The path of an error without the names of types that pydantic adds, and the section that it is in."""
    path: list[int | str] = []
    inside: type[Section] | None = kind
    for step in location:
        if inside is None:
            if isinstance(step, int):
                path.append(step)
            continue
        path.append(step)
        field = inside.model_fields.get(str(step))
        if field is None:
            break
        below = section_in(field.annotation)
        if below is None:
            return (*path,), inside
        inside = below
    return tuple(path), inside


def section_in(annotation: Any) -> type[Section] | None:
    """The section among the types of a field."""
    for part in (annotation, *typing.get_args(annotation)):
        if inspect.isclass(part) and issubclass(part, Section):
            return part
        if typing.get_origin(part) is Annotated:
            return section_in(typing.get_args(part)[0])
    return None


def logged_names(scores: Mapping[str, Any] | None) -> list[str]:
    """The names of the logs of generated texts."""
    if scores is None:
        return []
    metrics = scores["metrics"]
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    return [f"val_{logged}" for name in names if name in METRICS for logged in METRICS[name].logged.values()]
