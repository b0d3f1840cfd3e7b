"""The configuration of a training: sections whose keys are the arguments of public functions."""

import contextlib
import dataclasses
import difflib
import inspect
import json
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, TypeAlias

import keras
import pydantic

from kerasseq import losses, models, optimizers
from kerasseq.callbacks import GenerationScores, GeneratorCheckpoint
from kerasseq.command_line.shell import UsageError
from kerasseq.command_line.yaml_lines import Path, read_value, read_yaml, write_yaml
from kerasseq.datasets import read_pairs
from kerasseq.evaluation.scores import METRICS, metric_settings
from kerasseq.preprocessing import TextPreprocessor

BUILDERS = (
    "AttentionSeq2Seq", "GRUSeq2Seq", "LSTMSeq2Seq", "PointerGeneratorSeq2Seq", "TransformerSeq2Seq", "VanillaSeq2Seq",
)  # fmt: skip
VOCABULARY_SIZES = ("source_vocabulary_size", "target_vocabulary_size", "vocabulary_size")  # known from the data
BATCH_SIZE = 64
PAIRS_SCORED = 500
Search: TypeAlias = typing.Literal["greedy", "beam"]
Mode: TypeAlias = typing.Literal["min", "max"]
Positive: TypeAlias = Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]
# What every training logs, and which values are better.
LOGGED = {"loss": "min", "token_accuracy": "max", "val_loss": "min", "val_token_accuracy": "max"}


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

FileSection = section("FileSection", read_pairs, path=(str, ...), target_path=(str | None, None))
PathOrFile = Annotated[FileSection, pydantic.BeforeValidator(path_alone)]  # type: ignore[valid-type]


class DataSection(Section):
    """Where pairs are. Without `validation`, they are split by source."""

    train: PathOrFile
    validation: PathOrFile | None = None
    drop_near_duplicates: bool = True


class EarlyStoppingSection(Section):
    """Ends the training when `checkpoint.monitor` has not improved."""

    patience: Annotated[int, pydantic.Field(ge=1)]
    min_delta: float = 0.0


PreprocessorSection = section("PreprocessorSection", TextPreprocessor.from_pairs, leave_out=["pairs"])
DatasetSection = section(
    "DatasetSection",
    TextPreprocessor.dataset,
    leave_out=["self", "pairs", "shuffle", "seed", "weights", "shard", "buffer_size"],
)
ScoresSection = section(
    "ScoresSection",
    GenerationScores,
    leave_out=["preprocessor", "pairs", "frequency"],
    metrics=(str | list[str] | dict[str, dict[str, Any]], ["bleu", "chrf"]),
    sampler=(Search, "greedy"),
    pairs=(Annotated[int, pydantic.Field(ge=1)], PAIRS_SCORED),
)
CheckpointSection = section(
    "CheckpointSection",
    GeneratorCheckpoint,
    leave_out=["filepath", "preprocessor", "options"],
    sampler=(Search, "beam"),
    beam_width=(Annotated[int, pydantic.Field(ge=1)] | None, None),
    length_penalty=(Annotated[float, pydantic.Field(ge=0)] | None, None),
    monitor=(str, "val_loss"),
    mode=(Mode | None, None),
    last=(Annotated[int, pydantic.Field(ge=0)], 0),
)


FILES = (("data", "train"), ("data", "validation"))  # paths of the sections that may be a path alone


# === Sections that choose a function ===


def classes_of(module: types.ModuleType, base: type) -> dict[str, Any]:
    """The classes of a module that derive from another one, by name."""
    return {
        name: value
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, base) and value is not base
    }


@dataclasses.dataclass(frozen=True)
class FunctionChoice:
    """The functions that a section chooses from.

    Attributes:
        key: the key of the section that names the function.
        functions: functions or classes, by name.
        default: the name of the one that is taken without the key.
        leave_out: names of arguments that are no keys.
    """

    key: str
    functions: Mapping[str, Any]
    default: str
    leave_out: Sequence[str] = ()


schedules = keras.optimizers.schedules
LOSSES = {name: getattr(losses, name) for name in ("MaskedCrossentropy", "RDropCrossentropy")}
WRAPPERS = ("LossScaleOptimizer", "MultiOptimizer")  # They take other optimizers.
OPTIMIZERS = {
    name: optimizer
    for name, optimizer in classes_of(keras.optimizers, keras.optimizers.Optimizer).items()
    if name not in WRAPPERS
} | {"Adam": optimizers.Adam}
SCHEDULES = classes_of(schedules, schedules.LearningRateSchedule)
CHOICES = {  # By section.
    "model": FunctionChoice(
        "builder", {name: getattr(models, name) for name in BUILDERS}, "AttentionSeq2Seq", VOCABULARY_SIZES
    ),
    "loss": FunctionChoice("class_name", LOSSES, "MaskedCrossentropy"),
    "optimizer": FunctionChoice("class_name", OPTIMIZERS, "Adam"),
    "schedule": FunctionChoice("class_name", SCHEDULES, "CosineDecay"),
}
CLIPPING = ("clipnorm", "clipvalue", "global_clipnorm")  # Arguments of all optimizers.
# Arguments that follow from the learning rate and the number of steps; `None` here.
DERIVED = ("initial_learning_rate", "decay_steps", "first_decay_steps", "warmup_target")


def choosing_section(name: str, chosen: str) -> type[Section]:
    """The section of a function of `CHOICES`."""
    choice = CHOICES[name]
    own: dict[str, Any] = {choice.key: (str, chosen)}
    function = choice.functions[chosen]
    known = inspect.signature(function).parameters
    if name == "optimizer":
        own["learning_rate"] = (Positive, known["learning_rate"].default)
        own |= {argument: (Positive | None, None) for argument in CLIPPING}
    if name == "schedule":
        own |= {argument: (float | None, None) for argument in DERIVED if argument in known}
        if "warmup_steps" in known:
            own["warmup_steps"] = (Annotated[float, pydantic.Field(ge=0)], 0)
    return section(f"{name.title()}Section", function, [*choice.leave_out, "name"], **own)


def configuration_class(raw: Mapping[str, Any]) -> type[Section]:
    """The class of a configuration with the functions that it chooses."""
    chosen = {}
    for name, choice in CHOICES.items():
        own = raw.get(name)
        value = own.get(choice.key, choice.default) if isinstance(own, Mapping) else choice.default
        if value not in list(choice.functions):
            message = f"{choice.key} must be one of {', '.join(choice.functions)}. Received: {value!r}."
            raise Problem((name, choice.key), message, str(value), choice.functions)
        chosen[name] = choosing_section(name, value)
    has_schedule = raw.get("schedule") is not None
    fields: dict[str, Any] = {
        "folder": (Annotated[str, pydantic.Field(min_length=1)], ...),
        "seed": (Annotated[int, pydantic.Field(ge=0, lt=2**32)], 0),
        "epochs": (Annotated[int, pydantic.Field(ge=1)], ...),
        "data": (DataSection, ...),
        "preprocessor": (PreprocessorSection, PreprocessorSection()),
        "model": (chosen["model"], chosen["model"]()),
        "dataset": (DatasetSection, DatasetSection()),
        "loss": (chosen["loss"], chosen["loss"]()),
        "optimizer": (chosen["optimizer"], chosen["optimizer"]()),
        "schedule": (chosen["schedule"] if has_schedule else None, None),
        "scores": (ScoresSection | None, None),
        "checkpoint": (CheckpointSection, CheckpointSection()),
        "early_stopping": (EarlyStoppingSection | None, None),
        "tensorboard": (bool, True),
    }
    return pydantic.create_model("Configuration", __base__=Section, **fields)


# === Reading ===


class Problem(ValueError):
    """What is wrong with the value at a path; `written` is a name there, `names` are those that it may have meant."""

    def __init__(self, path: Path, message: str, written: str = "", names: Iterable[str] = ()):
        super().__init__(message)
        self.path, self.written, self.names = path, written, list(names)


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
        except Problem as problem:
            raise UsageError(self._described(problem)) from None
        try:
            # As JSON, whose lists are also tuples to pydantic.
            self.values: dict[str, Any] = kind.model_validate_json(json.dumps(raw, default=str)).model_dump()
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
        for depth, key in enumerate(keys[:-1], start=1):
            below = parent.get(key)
            if below is None:
                below = {}
            elif keys[:depth] in FILES:
                below = path_alone(below)
            if not isinstance(below, dict):
                raise UsageError(
                    f"--set {override}: {'.'.join(keys[:depth])!r} must be a section, to have the key {keys[depth]!r}. "
                    f"Received: {below!r}."
                )
            parent[key] = below
            parent = below
        parent[keys[-1]] = read_value(value)
        self.overridden[keys] = f"--set {override}"

    def _complete(self) -> None:
        """Fills in what follows from other values."""
        dataset = self.values["dataset"]
        if dataset["batch_size"] is None and dataset["batch_tokens"] is None:
            dataset["batch_size"] = BATCH_SIZE
        checkpoint, scores = self.values["checkpoint"], self.values["scores"]
        if scores is not None:
            with self.reporting("scores"):
                metric_settings(scores["metrics"], scores["language"])
        monitor, modes = checkpoint["monitor"], LOGGED | logged_modes(scores)
        if monitor not in modes:
            raise UsageError(
                f"{self.place(('checkpoint', 'monitor'))}: monitor must be one of {', '.join(modes)}. Received: "
                f"{monitor!r}. Scores of generated texts need the section `scores` with their metric."
            )
        if checkpoint["mode"] not in (None, modes[monitor]):
            raise UsageError(
                f"{self.place(('checkpoint', 'mode'))}: mode must be {modes[monitor]!r} for {monitor!r}, as it is "
                f"without this key. Received: {checkpoint['mode']!r}."
            )
        checkpoint["mode"] = modes[monitor]

    def _described(self, problem: Problem) -> str:
        """A problem with its place and the nearest known name."""
        message = str(problem)
        if nearest := difflib.get_close_matches(problem.written, problem.names, n=1, cutoff=0.5):
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
            keys = [word for word in re.findall(r"\w+", str(error)) if isinstance(own, dict) and word in own]
            raise UsageError(f"{self.place((name, *keys[:1]))}: {error}") from error

    def dump(self) -> str:
        """The configuration as used, YAML."""
        # Through JSON: YAML's safe writer knows no tuples.
        return write_yaml(json.loads(json.dumps(self.values)))


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
            if below := [f"{name}.{key}" for name, other in sections_of(kind).items() if key in other.model_fields]:
                message += f" Did you mean {' or '.join(map(repr, below))}?"
            problem = Problem(path, message, key, () if below else names)
        elif entry["type"] == "missing":
            problem = Problem(path[:-1], f"the key {shown!r} is missing.")
        else:
            expected = (
                entry["msg"]
                .replace("Input should be ", "")
                .replace("an object", "a section")
                .replace("String should have", "a text of")
                .strip()
            )
            # Of a union, none of the types fits.
            alternatives[path] = {**alternatives.get(path, {}), expected: None}
            expected = ", or ".join(alternatives[path])
            message = f"{shown!r}: expected {expected}. Received: {entry['input']!r}."
            # Not for an item of a list, whose location ends in its number.
            if entry["type"] == "string_type" and isinstance(entry["loc"][-1], str) and is_number(entry["input"]):
                quoted = f"'{json.dumps(entry['input'])}'"
                message += f' Quote it: {quoted}; with --set: "{shown}={quoted}".'
            problem = Problem(path, message)
        found[path] = problem
    return list(found.values())


def is_number(value: Any) -> bool:
    return isinstance(value, (bool, int, float))


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


def sections_of(kind: type[Section]) -> dict[str, type[Section]]:
    """The sections that a configuration has, by name."""
    found = {name: section_in(field.annotation) for name, field in kind.model_fields.items()}
    return {name: section for name, section in found.items() if section is not None}


def section_in(annotation: Any) -> type[Section] | None:
    """The section among the types of a field."""
    for part in (annotation, *typing.get_args(annotation)):
        if inspect.isclass(part) and issubclass(part, Section):
            return part
        if typing.get_origin(part) is Annotated:
            return section_in(typing.get_args(part)[0])
    return None


def logged_modes(scores: Mapping[str, Any] | None) -> dict[str, str]:
    """The names of the logs of generated texts, and which values are better: `"min"` or `"max"`."""
    if scores is None:
        return {}
    chosen = {name: METRICS[name] for name in metric_settings(scores["metrics"])}
    return {f"val_{logged}": metric.mode for metric in chosen.values() for logged in metric.logged.values()}
