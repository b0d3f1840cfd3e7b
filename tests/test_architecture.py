"""The layering of the library: who may import whom, and what never appears."""

import ast
import functools
import inspect
import json
import os
import pathlib
import subprocess
import sys

import pytest

import kerasseq

PACKAGE = pathlib.Path(kerasseq.__file__).parent

# From the bottom to the top: each part imports only from parts listed above it here, and from itself.
PARTS = [
    "quiet_start", "types", "arguments", "precision", "replicas", "devices", "changing_sizes", "projection",
    "processes", "file_writing", "progress", "downloads",
    "layers", "projected_crossentropy", "losses", "metrics", "optimizers",
    "preprocessing",
    "datasets", "backbones", "encoders", "decoders", "seq2seq", "models", "pretraining", "search", "compatibility",
    "padding", "evaluation", "export", "zoo", "generation", "blank_sources", "long_sources", "forced_decoding",
    "graphs", "keras_files", "generator",
    "plotting", "callbacks", "serving", "command_line", "__main__",
]  # fmt: skip

# Stricter than the order.
LEAVES = {
    "types", "arguments", "precision", "replicas", "devices", "changing_sizes", "projection", "processes",
    "file_writing",
}  # fmt: skip
ALLOWED = {
    **{part: {*PARTS[:index], part} for index, part in enumerate(PARTS)},
    "layers": {*LEAVES, "layers"},
    "encoders": {*LEAVES, "layers", "encoders"},
    "decoders": {*LEAVES, "layers", "decoders"},
    "seq2seq": {*LEAVES, "layers", "encoders", "decoders"},
    "models": {*LEAVES, "layers", "encoders", "decoders", "seq2seq", "models"},
    "search": {*LEAVES, "seq2seq", "search"},
    "export": {*LEAVES, "progress", "layers", "preprocessing", "seq2seq", "search", "export"},
    "generator": set(PARTS[: PARTS.index("generator") + 1]) - {"models"},
    "zoo": {"file_writing", "progress", "downloads", "zoo"},
    "serving": {"file_writing", "export", "serving"},
    "command_line": {*PARTS[:-1], "__version__", "__all__"},
}

# Parts that run on every backend: of the packages that they could import, Keras alone.
KERAS_ALONE = [
    "types", "precision", "layers", "losses", "metrics", "encoders", "decoders", "seq2seq", "models", "search",
]  # fmt: skip

# Imported where they are used.
DEFERRED = [
    "huggingface_hub", "keras_hub", "matplotlib", "rouge_score", "sacrebleu", "sentencepiece", "tensorflow_text",
]  # fmt: skip

FILES = sorted(PACKAGE.rglob("*.py"))
SOURCES = {str(path.relative_to(PACKAGE)): path.read_text(encoding="utf-8") for path in FILES}
TREES = {name: ast.parse(source) for name, source in SOURCES.items()}


def part_of(name):
    """`models/attention.py` and `losses.py` belong to `models` and `losses`."""
    return pathlib.PurePath(name).parts[0].removesuffix(".py")


def imports(tree):
    """(function, full name, line) of all imports; `from a import b` counts as `a.b`."""
    found = []

    def visit(node, scope):
        for child in ast.iter_child_nodes(node):
            inner = scope
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                inner = [*scope, child.name]
            elif isinstance(child, ast.Import):
                found.extend((".".join(scope), alias.name, child.lineno) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                module = "." * child.level + (child.module or "")
                found.extend((".".join(scope), f"{module}.{alias.name}", child.lineno) for alias in child.names)
            visit(child, inner)

    visit(tree, [])
    return found


def inner_imports(name):
    """(function, part, line) of what a file imports from kerasseq."""
    names = [(function, full.split("."), line) for function, full, line in imports(TREES[name])]
    return [
        (function, parts[1] if len(parts) > 1 else "", line)
        for function, parts, line in names
        if parts[0] == "kerasseq"
    ]


def test_every_file_has_a_part():
    assert len(FILES) > 20
    assert {part_of(name) for name in SOURCES} - {"__init__"} <= set(PARTS)
    assert "utils" not in {path.stem for path in FILES}


def test_every_kind_of_import_is_seen():
    tree = ast.parse("import a.b\nfrom c import d\nclass E:\n  def f(self):\n    if 1:\n      from g.h import i as j\n")
    assert imports(tree) == [("", "a.b", 1), ("", "c.d", 2), ("E.f", "g.h.i", 6)]


@pytest.mark.parametrize("name", [name for name in SOURCES if name != "__init__.py"])
def test_imports_point_only_downwards(name):
    wrong = [
        f"{name}:{line} imports kerasseq.{part}"
        for function, part, line in inner_imports(name)
        if part not in ALLOWED[part_of(name)]
    ]
    assert wrong == []


def test_the_package_itself_only_gathers_names():
    tree = TREES["__init__.py"]
    (gathering,) = [node for node in tree.body if isinstance(node, ast.If)]
    assert ast.unparse(gathering.test) == "quiet_start.COMMAND is None" and not gathering.orelse
    others = [node for node in tree.body if node is not gathering]
    assert all(isinstance(node, (ast.Expr, ast.ImportFrom, ast.Assign)) for node in [*others, *gathering.body])
    assert {full.split(".")[0] for _, full, _ in imports(tree)} == {"kerasseq"}
    assert sorted(kerasseq.__all__) == kerasseq.__all__
    assert all(hasattr(kerasseq, name) for name in [*kerasseq.__all__, "__version__"])


@pytest.mark.parametrize("name", [name for name in SOURCES if part_of(name) in KERAS_ALONE])
def test_model_code_uses_keras_alone(name):
    allowed = {"kerasseq", "keras", *sys.stdlib_module_names}
    assert [full for _, full, _ in imports(TREES[name]) if full.split(".")[0] not in allowed] == []


def test_the_client_can_be_copied():
    """Without TensorFlow and kerasseq it works too."""
    allowed = {"requests", "urllib3", *sys.stdlib_module_names}
    assert {full.split(".")[0] for _, full, _ in imports(TREES["serving/client.py"])} <= allowed


# Methods whose signatures Keras defines.
OF_KERAS = {"build", "call", "get_config", "from_config", "compute_output_spec", "__init__"}


def public_functions():
    """The functions, and the methods of classes, that the packages list in `__all__`, by their full name."""
    modules = [kerasseq, *(value for value in vars(kerasseq).values() if inspect.ismodule(value))]
    for module in modules:
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if inspect.isfunction(value):
                yield f"{module.__name__}.{name}", value
            elif inspect.isclass(value) and value.__module__.startswith("kerasseq"):
                for method, function in vars(value).items():
                    inherits = any(hasattr(base, method) for base in value.__bases__)  # The base class has the hints.
                    public = method == "__init__" or not (method.startswith("_") or inherits)
                    if inspect.isfunction(function) and public:
                        yield f"{module.__name__}.{name}.{method}", function


def test_public_signatures_have_type_hints():
    missing = []
    for name, function in public_functions():
        method = name.rsplit(".", 1)[1]
        if method in OF_KERAS - {"__init__"} or method.startswith("on_"):
            continue
        for parameter in inspect.signature(function).parameters.values():
            variable = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
            if parameter.annotation is parameter.empty and parameter.name not in ("self", "cls") and not variable:
                missing.append(f"{name}: {parameter.name}")
        if method != "__init__" and "return" not in function.__annotations__:
            missing.append(f"{name}: returns")
    assert missing == []


@pytest.mark.parametrize("name", SOURCES)
def test_public_interfaces_alone(name):
    private = ("keras.src", "keras_hub.src", "tensorflow.python", "tensorflow_text.python")
    wrong = [full for _, full, _ in imports(TREES[name]) if f"{full}.".startswith(tuple(f"{p}." for p in private))]
    dotted = [ast.unparse(node) for node in ast.walk(TREES[name]) if isinstance(node, ast.Attribute)]
    private += ("tf.python",)
    assert wrong + [text for text in dotted if text.startswith(private)] == []


@pytest.mark.parametrize("name", SOURCES)
def test_what_never_appears(name):
    """Lambda layers break saving, pickle and eval run what a file says, assert vanishes under `python -O`.

    Relative imports would hide from the tests above.
    """
    relative_or_pickle = ("", "pickle")
    wrong = [
        f"line {line} imports {full}"
        for _, full, line in imports(TREES[name])
        if full.split(".")[0] in relative_or_pickle
    ]
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Assert):
            wrong.append(f"line {node.lineno}: assert")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec"):
            wrong.append(f"line {node.lineno}: {node.func.id}")
        elif (isinstance(node, ast.Attribute) and node.attr == "Lambda") or (
            isinstance(node, ast.Name) and node.id == "Lambda"
        ):
            wrong.append(f"line {node.lineno}: Lambda")
    assert wrong == []


# Between the marks stands what importing kerasseq prints after TensorFlow has had its say.
IMPORTS = f"""
import json, sys, time, tensorflow

def mark():
    for stream in (sys.stdout, sys.stderr):
        print("MARK", file=stream, flush=True)

def heavy():
    return [name for name in {DEFERRED} if name in sys.modules]

mark()
start = time.perf_counter()
import keras
of_keras = heavy()
import kerasseq
seconds = time.perf_counter() - start
mark()
print(json.dumps([seconds, of_keras, heavy()]))
"""


@functools.cache
def imported(attempt):
    """What a fresh process prints, in which a fault of the library would be visible: (standard output, errors)."""
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    run = subprocess.run(
        [sys.executable, "-c", IMPORTS], env=environment, capture_output=True, text=True, check=True, timeout=900
    )
    return run.stdout, run.stderr


def test_import_leaves_heavy_packages_alone():
    """Keras itself may import some of them, such as Matplotlib, for its own plots."""
    _, of_keras, of_both = json.loads(imported(0)[0].splitlines()[-1])
    assert of_both == of_keras
    assert "keras_hub" not in of_keras and "sentencepiece" not in of_keras


def test_import_is_silent():
    for stream in imported(0):
        assert stream.split("MARK\n")[1] == ""


def test_import_is_cheap():
    """Less than one second on top of importing TensorFlow, Keras included: the best of three processes."""
    assert any(json.loads(imported(attempt)[0].splitlines()[-1])[0] < 1 for attempt in range(3))
