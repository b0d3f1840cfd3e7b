"""Labels and deployment files: what `configure` writes, and whether the released files are valid and consistent."""

import contextlib
import http.server
import json
import pathlib
import re
import runpy
import shutil
import subprocess
import sys
import threading

import pytest
import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

import kerasseq
from kerasseq.serving import deployment
from kerasseq.serving.__main__ import main
from kerasseq.serving.deployment import MODELS_CONFIG, configure
from kerasseq.serving.deployment_files import deployment_files

ROOT = pathlib.Path(__file__).resolve().parents[2]
RELEASED = ROOT / "saved_models"
FILES = sorted([MODELS_CONFIG, *deployment_files()])

# The flags that model_servers/main.cc of TensorFlow Serving 2.20.0 defines.
SERVER_FLAGS = """
    port grpc_socket_path rest_api_port rest_api_num_threads rest_api_timeout_in_ms rest_api_enable_cors_support
    enable_batching allow_version_labels_for_unavailable_models batching_parameters_file
    enable_per_model_batching_parameters model_config_file model_config_file_poll_wait_seconds model_name
    model_base_path num_load_threads num_unload_threads max_num_load_retries load_retry_interval_micros
    file_system_poll_wait_seconds flush_filesystem_caches tensorflow_session_parallelism
    tensorflow_session_config_file tensorflow_intra_op_parallelism tensorflow_inter_op_parallelism
    use_alts_credentials ssl_config_file platform_config_file per_process_gpu_memory_fraction saved_model_tags
    grpc_channel_arguments grpc_max_threads enable_model_warmup num_request_iterations_for_warmup version
    monitoring_config_file remove_unused_fields_from_bundle_metagraph prefer_tflite_model num_tflite_pools
    num_tflite_interpreters_per_pool enable_signature_method_name_check xla_cpu_compilation_enabled
    xla_gpu_compilation_enabled enable_profiler thread_pool_factory_config_file mixed_precision skip_initialize_tpu
    enable_grpc_healthcheck_service enable_serialization_as_tensor_content
""".split()

# The fields of type Int64Value of BatchingParameters in session_bundle_config.proto.
BATCHING_FIELDS = {
    "max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads", "max_execution_batch_size",
}  # fmt: skip


def add_version(folder, path):
    (folder / path).mkdir(parents=True)
    (folder / path / "saved_model.pb").touch()


@pytest.fixture
def folder(tmp_path):
    """Two models: `a` with versions 1 and 2, `b` with 10 and 9; and folders that are not models or versions."""
    for path in ("a/1", "a/2", "b/10", "b/9"):
        add_version(tmp_path, path)
    for path in ("a/notes", "a/3", "plots"):  # a/3: a copy in progress
        (tmp_path / path).mkdir()
    (tmp_path / "README.md").touch()
    return tmp_path


def read_config(folder):
    return text_format.Parse((folder / MODELS_CONFIG).read_text(), model_server_config_pb2.ModelServerConfig())


def labels_in(folder):
    return {entry.name: dict(entry.version_labels) for entry in read_config(folder).model_config_list.config}


def contents(folder):
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir() if path.is_file()}


# === Labels ===


def test_new_models_have_both_labels_at_their_highest_version(folder):
    deployment = configure(folder)
    assert deployment.labels == {"a": {"stable": 2, "canary": 2}, "b": {"stable": 10, "canary": 10}}
    assert deployment.versions == {"a": [1, 2], "b": [9, 10]}
    assert deployment.files == dict.fromkeys(FILES, "written")
    assert labels_in(folder) == deployment.labels
    for entry in read_config(folder).model_config_list.config:
        assert entry.base_path == f"/models/{entry.name}"
        assert entry.model_platform == "tensorflow"
        assert entry.model_version_policy.WhichOneof("policy_choice") == "all"


def test_labels_need_complete_exports(folder):
    """Versions of other origin are accepted; files of kerasseq's versions must be undamaged."""
    extra = folder / "a/2/assets.extra"
    extra.mkdir()
    (extra / "kerasseq.json").write_text("{")
    before = contents(folder)
    with pytest.raises(ValueError, match=r"a/2/.*kerasseq.json is damaged"):
        configure(folder)
    assert contents(folder) == before
    assert configure(folder, stable={"a": 1}, canary={"a": 1}).labels["a"] == {"stable": 1, "canary": 1}


def test_labels_move_only_on_request(folder):
    labels = configure(folder, stable={"a": 1}).labels
    assert labels["a"] == {"stable": 1, "canary": 2}
    (folder / "a/3/saved_model.pb").touch()
    add_version(folder, "c/1")
    deployment = configure(folder)
    assert deployment.labels == labels_in(folder) == {**labels, "c": {"stable": 1, "canary": 1}}
    assert deployment.files == {**dict.fromkeys(FILES, "up to date"), MODELS_CONFIG: "written"}
    for moves, label_a, label_b in [
        ({"canary": {"a": 3, "b": 9}}, (1, 3), (10, 9)),
        ({"stable": {"a": 3}}, (3, 3), (10, 9)),
        ({"stable": {"a": 1}}, (1, 3), (10, 9)),
    ]:
        labels = configure(folder, **moves).labels
        assert labels == labels_in(folder)
        assert [(labels[name]["stable"], labels[name]["canary"]) for name in "ab"] == [label_a, label_b]


def test_other_settings_are_kept(folder):
    configure(folder)
    config = read_config(folder)
    config.model_config_list.config[0].version_labels["beta"] = 1
    config.model_config_list.config[0].logging_config.sampling_config.sampling_rate = 0.5
    config.model_config_list.config[1].model_version_policy.latest.num_versions = 2
    (folder / MODELS_CONFIG).write_text("# mine\n" + text_format.MessageToString(config))
    assert configure(folder).files[MODELS_CONFIG] == "up to date"
    assert (folder / MODELS_CONFIG).read_text().startswith("# mine\n")
    configure(folder, stable={"a": 1})
    config.model_config_list.config[0].version_labels["stable"] = 1
    assert read_config(folder) == config


# === Errors ===


@pytest.mark.parametrize(
    ("moves", "message"),
    [
        ({"stable": {"a": 3}}, "stable must be an existing version of a: 1, 2. Received: 3. Export it first"),
        ({"canary": {"d": 1}}, "canary must name models in the folder: a, b. Received: 'd'"),
        ({"canary": {"a": "2"}}, "Received: '2'"),
        ({"stable": {"a": True}}, "Received: True"),
        ({"stable": ["a"]}, "stable must be a dict"),
        ({"stable": {"a": 1}, "canary": {"a": 99}}, "Received: 99"),
    ],
)
def test_impossible_moves_change_nothing(folder, moves, message):
    for _ in range(2):  # first without, then with the files
        before = contents(folder)
        with pytest.raises(ValueError, match=message):
            configure(folder, **moves, overwrite=True)
        assert contents(folder) == before
        configure(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: shutil.rmtree(folder / "b"), "not in the folder: b"),
        (
            lambda folder: shutil.rmtree(folder / "a/2"),
            r"labels of a must point to existing versions: 1\. Received: canary \(2\)",
        ),
        (lambda folder: edit(folder, "model_config_list", "model_config"), "must be a ModelServerConfig"),
        (lambda folder: edit(folder, "/models/a", "/elsewhere/a"), 'must have base_path: "/models/a"'),
        (lambda folder: edit(folder, 'name: "b"', 'name: "a"'), "must list each model once"),
        (
            lambda folder: edit(folder, "all {", "latest {"),
            "a must load version 1, which has the label stable.*loads 2",
        ),
        (lambda folder: edit(folder, "all {", "specific { versions: 2"), "a must load version 1"),
        (lambda folder: (folder / MODELS_CONFIG).write_text("custom_model_config { }"), "a custom_model_config"),
        (lambda folder: (folder / MODELS_CONFIG).write_bytes(b"\xff"), "must be a ModelServerConfig"),
        (lambda folder: (folder / "a").rename(folder / "a b"), "must start with an ASCII letter"),
    ],
)
def test_a_config_that_does_not_fit_changes_nothing(folder, change, message):
    configure(folder, stable={"a": 1})
    change(folder)
    before = contents(folder)
    with pytest.raises(ValueError, match=message):
        configure(folder, overwrite=True)
    assert contents(folder) == before


def edit(folder, old, new):
    path = folder / MODELS_CONFIG
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_labels_can_leave_a_deleted_version(folder):
    configure(folder)
    shutil.rmtree(folder / "a/2")
    configure(folder, stable={"a": 1}, canary={"a": 1})
    assert labels_in(folder)["a"] == {"stable": 1, "canary": 1}


def test_policies(folder):
    """A label is accepted if the policy loads its version."""
    configure(folder, stable={"a": 1})
    edit(folder, "all {", "latest { num_versions: 2")
    assert labels_in(folder) == configure(folder).labels
    edit(folder, "latest { num_versions: 2", "specific { versions: [2, 1, 7, 10]")
    assert labels_in(folder) == configure(folder).labels


def test_no_models(folder):
    with pytest.raises(ValueError, match="which does not exist"):
        configure(folder / "missing")
    with pytest.raises(ValueError, match="Pass the folder above the models"):
        configure(folder / "a")
    assert not (folder / "a" / MODELS_CONFIG).exists()


# === Writing ===


def test_a_second_run_touches_nothing(folder):
    configure(folder)
    before = contents(folder)
    assert configure(folder, stable={"a": 2}).files == dict.fromkeys(FILES, "up to date")
    assert contents(folder) == before


@pytest.mark.parametrize("name", sorted(deployment_files()))
def test_edited_files_are_kept_unless_overwritten(folder, name):
    configure(folder)
    original = (folder / name).read_text()
    (folder / name).write_text(f"{original}# mine\n")
    states = configure(folder, stable={"a": 1}).files
    assert states == {**dict.fromkeys(FILES, "up to date"), name: "edited", MODELS_CONFIG: "written"}
    assert (folder / name).read_text() == f"{original}# mine\n"
    assert configure(folder, overwrite=True).files == {**dict.fromkeys(FILES, "up to date"), name: "written"}
    assert (folder / name).read_text() == original
    assert labels_in(folder)["a"]["stable"] == 1


def test_files_are_replaced_atomically(folder, monkeypatch):
    configure(folder)
    old = (folder / MODELS_CONFIG).read_text()
    replaced = []

    def replace(source, destination):
        assert (folder / MODELS_CONFIG).read_text() == old  # until the new one is complete
        assert text_format.Parse(pathlib.Path(source).read_text(), model_server_config_pb2.ModelServerConfig())
        replaced.append(pathlib.Path(destination))
        raise OSError("the machine stops here")

    monkeypatch.setattr(deployment.os, "replace", replace)
    with pytest.raises(OSError, match="stops here"):
        configure(folder, stable={"a": 1})
    assert replaced == [folder / MODELS_CONFIG]
    assert (folder / MODELS_CONFIG).read_text() == old
    monkeypatch.undo()
    configure(folder, stable={"a": 1})
    assert labels_in(folder)["a"] == {"stable": 1, "canary": 2}
    assert sorted(path.name for path in folder.iterdir() if path.is_file()) == sorted([*FILES, "README.md"])


# === Command ===


def test_the_command_reports_labels_and_files(folder, capsys):
    assert main(["configure", str(folder), "--stable", "a=1", "--canary", "b=9", "--stable", "b=9"]) == 0
    (folder / "Dockerfile").write_text("FROM mine\n")
    capsys.readouterr()
    assert main(["configure", str(folder), "--canary", "b=10"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "a: stable = 1, canary = 2",
        "b: stable = 9, canary = 10",
        "Dockerfile: edited, kept (replace it with --overwrite)",
        "batching.config: up to date",
        "docker-compose.yml: up to date",
        "kubernetes.yaml: up to date",
        "models.config: written",
        "monitoring.config: up to date",
        "ready.sh: up to date",
    ]
    assert main(["configure", str(folder), "--canary", "a=1"]) == 0
    assert "a: stable = 1, canary = 1; without a label: 2\n" in capsys.readouterr().out
    assert main(["configure", str(folder), "--stable", "a=7"]) == 1
    assert "version of a: 1, 2. Received: 7. Export it first.\nNothing was written.\n" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--stable", "a"], ["--stable", "a=-1"], ["--canary", "a=1", "--canary", "a=2"]])
def test_the_command_rejects_bad_arguments(folder, arguments, capsys):
    before = contents(folder)
    with pytest.raises(SystemExit):
        main(["configure", str(folder), *arguments])
    assert arguments[0] in capsys.readouterr().err.split("error:")[1]
    assert contents(folder) == before


# === The released files ===


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((RELEASED / "docker-compose.yml").read_text())["services"]["serving"]


@pytest.fixture(scope="module")
def kubernetes():
    resources = list(yaml.safe_load_all((RELEASED / "kubernetes.yaml").read_text()))
    assert [resource["kind"] for resource in resources] == ["Deployment", "Service", "HorizontalPodAutoscaler"]
    return {resource["kind"]: resource for resource in resources}


@pytest.fixture(scope="module")
def dockerfile():
    """(instruction, rest) of each instruction."""
    lines = [line for line in (RELEASED / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    instructions = "\n".join(lines).replace("\\\n", " ").split("\n")
    return [tuple(line.split(maxsplit=1)) for line in instructions if line]


def flags_of(command):
    flags = dict(flag.removeprefix("--").split("=", 1) for flag in command)
    assert len(flags) == len(command) and all(flag.startswith("--") for flag in command)
    return flags


def test_the_released_files_are_what_the_command_writes(tmp_path):
    for path in RELEASED.glob("*/*/saved_model.pb"):
        copy = tmp_path / path.relative_to(RELEASED)
        copy.parent.mkdir(parents=True)
        copy.touch()
    shutil.copy(RELEASED / MODELS_CONFIG, tmp_path)
    configure(tmp_path)
    (tmp_path / MODELS_CONFIG).rename(tmp_path / "kept.config")
    configure(tmp_path)
    assert (tmp_path / "kept.config").read_bytes() == (tmp_path / MODELS_CONFIG).read_bytes()
    for name in FILES:
        assert (RELEASED / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_every_released_model_is_served():
    newest = {name: kerasseq.zoo.card(name).version for name in kerasseq.zoo.list()}
    assert labels_in(RELEASED) == {name: {"stable": version, "canary": version} for name, version in newest.items()}


def test_flags_exist(compose, dockerfile):
    flags = flags_of(compose["command"])
    assert set(flags) <= set(SERVER_FLAGS)
    assert flags.pop("model_config_file_poll_wait_seconds") == "10"
    assert flags_of(json.loads(dict(dockerfile)["CMD"])) == flags
    for name in ("model_config_file", "batching_parameters_file", "monitoring_config_file"):
        assert (RELEASED / pathlib.PurePosixPath(flags[name]).relative_to("/models")).is_file()
    # The server does not start with batching parameters but no batching, or with both kinds of thread counts.
    assert flags["enable_batching"] == "true" and "tensorflow_session_parallelism" not in flags


def test_fields_for_batching():
    text = re.sub("#.*", "", (RELEASED / "batching.config").read_text())
    fields = re.findall(r"(\w+) \{ value: (\d+) \}\n", text)
    assert re.sub(r"\w+ \{ value: \d+ \}", "", text).strip() == ""
    assert dict(fields).keys() <= BATCHING_FIELDS and len(dict(fields)) == len(fields) == 4
    # The server accepts the client's default batches.
    assert int(dict(fields)["max_batch_size"]) >= 32


def test_fields_for_monitoring(kubernetes):
    text = re.sub("#.*", "", (RELEASED / "monitoring.config").read_text())
    # PrometheusConfig in monitoring_config.proto has these two fields.
    match = re.fullmatch(r'\s*prometheus_config \{ enable: true path: "(/[a-z/]+)" \}\s*', text)
    annotations = kubernetes["Deployment"]["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] == match[1]
    assert annotations["prometheus.io/port"] == "8501"


def test_ports_images_and_cpus_agree(compose, dockerfile, kubernetes):
    container = kubernetes["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"grpc": 8500, "rest": 8501}
    assert dict(dockerfile)["EXPOSE"].split() == ["8500", "8501"]
    assert compose["ports"] == ["8500:8500", "8501:8501"]
    service = kubernetes["Service"]["spec"]["ports"]
    assert {port["name"]: port["port"] for port in service} == ports
    assert all(port["targetPort"] == port["name"] for port in service)
    assert dict(dockerfile)["FROM"] == compose["image"] == "tensorflow/serving:2.20.0"
    flags = flags_of(compose["command"])
    assert compose["volumes"] == [".:/models:ro"]
    assert compose["healthcheck"]["test"] == ["CMD", "bash", "/models/ready.sh"]
    threads = re.search(r"num_batch_threads \{ value: (\d+)", (RELEASED / "batching.config").read_text())[1]
    assert {
        flags["tensorflow_intra_op_parallelism"], flags["tensorflow_inter_op_parallelism"], threads,
        str(compose["cpus"]), container["resources"]["limits"]["cpu"],
    } == {"2"}  # fmt: skip


def test_docker_accepts_the_compose_file():
    command = [shutil.which("docker") or "docker", "compose"]
    if not shutil.which("docker") or subprocess.run([*command, "version"], capture_output=True).returncode:
        pytest.skip("Docker Compose is not installed")
    result = subprocess.run(
        [*command, "-f", RELEASED / "docker-compose.yml", "config", "--quiet"], capture_output=True, text=True
    )
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("version", ["1.29", "1.33"])
def test_kubernetes_accepts_its_file(kubernetes, version):
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    for resource in kubernetes.values():
        kubernetes_validate.validate(resource, version, strict=True)
    broken = json.loads(json.dumps(kubernetes["Deployment"]))
    broken["spec"]["template"]["spec"]["containers"][0]["startupprobe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, version, strict=True)


def test_kubernetes_resources_belong_together(kubernetes):
    deployed = kubernetes["Deployment"]
    pod = deployed["spec"]["template"]
    labels = pod["metadata"]["labels"]
    assert deployed["spec"]["selector"]["matchLabels"] == labels == kubernetes["Service"]["spec"]["selector"]
    assert kubernetes["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"] == {
        "apiVersion": deployed["apiVersion"], "kind": "Deployment", "name": deployed["metadata"]["name"],
    }  # fmt: skip
    # The autoscaler reads the requested CPU and sets the number of replicas.
    (container,) = pod["spec"]["containers"]
    assert container["resources"]["requests"]["cpu"] == "1" and "replicas" not in deployed["spec"]
    assert deployed["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    wait = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert 30 < wait < pod["spec"]["terminationGracePeriodSeconds"]
    assert {volume["name"] for volume in pod["spec"]["volumes"]} == {
        mount["name"] for mount in container["volumeMounts"]
    }
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["exec"]["command"] == ["bash", "/models/ready.sh"]
    assert container["livenessProbe"]["tcpSocket"]["port"] == "rest"


# === Readiness ===


@contextlib.contextmanager
def server(answers):
    """A stand-in for a model server, with status codes by path; 404 for other paths."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(answers.get(self.path, 404))
            self.end_headers()
            self.wfile.write(b"{}\n" * 1000)

        def log_message(self, *arguments):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as http_server:
        thread = threading.Thread(target=http_server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield str(http_server.server_port), asked
        finally:
            http_server.shutdown()
            thread.join()


def ready(config, port):
    return subprocess.run(["bash", RELEASED / "ready.sh", config, port], capture_output=True, text=True, timeout=10)


def test_ready_asks_for_every_label_of_every_model():
    paths = {
        f"/v1/models/{model}/labels/{label}/metadata" for model in kerasseq.zoo.list() for label in ("stable", "canary")
    }
    with server(dict.fromkeys(paths, 200)) as (port, asked):
        assert ready(RELEASED / MODELS_CONFIG, port).returncode == 0
        assert sorted(asked) == sorted(paths)
    for missing in paths:
        with server(dict.fromkeys(paths - {missing}, 200)) as (port, _):
            result = ready(RELEASED / MODELS_CONFIG, port)
            assert result.returncode == 1
            assert result.stdout == "{}: no version for label {} yet\n".format(*missing.split("/")[3:6:2])
    result = ready(RELEASED / MODELS_CONFIG, port)  # The server has stopped.
    assert result.returncode == 1 and result.stdout == f"no server on port {port}\n"


def test_ready_reads_configs_written_by_hand(tmp_path):
    path = tmp_path / MODELS_CONFIG
    path.write_text("""
        # name: "old"
        model_config_list { config { name: 'a' base_path: '/models/a' model_platform: 'tensorflow'
            version_labels { key: 'live' value: 1 } } }
    """)
    text_format.Parse(path.read_text(), model_server_config_pb2.ModelServerConfig())
    with server({"/v1/models/a/labels/live/metadata": 200}) as (port, asked):
        assert ready(path, port).returncode == 0
        assert asked == ["/v1/models/a/labels/live/metadata"]
        path.write_text("")
        assert ready(path, port).returncode != 0
        assert ready(tmp_path / "missing", port).returncode != 0


# === README ===


def test_names_in_the_readme_exist():
    text = (RELEASED / "README.md").read_text()
    models = {path.parts[-3] for path in RELEASED.glob("*/*/saved_model.pb")}
    named = re.findall(r"v1/models/(\w+)", text)
    named += re.findall(r'Client\("[^"]+", "(\w+)"', text) + re.findall(r"--(?:stable|canary) (\w+)=", text)
    named += re.findall(r'export\("saved_models/(\w+)"\)', text)
    assert len(named) > 6 and set(named) <= models
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert links and all((RELEASED / link).is_file() for link in links)
    assert set(re.findall(r"^\| `([\w.-]+)` \|", text, re.MULTILINE)) == set(FILES)
    paths = re.findall(r"(?<=[ /])saved_models/[\w./-]+(?<!\.)", text)
    assert paths and all((ROOT / path).exists() for path in paths)


def test_commands_in_the_readme(tmp_path, capsys):
    shutil.copytree(RELEASED, tmp_path / "saved_models", ignore=shutil.ignore_patterns("*.md"))
    add_version(tmp_path, "saved_models/translation_en_fr/3")
    commands = re.findall(r"^python -m kerasseq.serving (.+)$", (RELEASED / "README.md").read_text(), re.MULTILINE)
    assert len(commands) == 3
    seen = []
    for command in commands:
        assert main(command.replace(" saved_models ", f" {tmp_path / 'saved_models'} ").split()) == 0
        seen.append(labels_in(tmp_path / "saved_models")["translation_en_fr"])
    assert seen == [{"stable": 2, "canary": 3}, {"stable": 3, "canary": 3}, {"stable": 2, "canary": 3}]


def test_the_package_runs_as_a_command(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "kerasseq.serving.__main__")
    monkeypatch.setattr(sys, "argv", ["kerasseq.serving", "configure", "--help"])
    with pytest.raises(SystemExit) as raised:
        runpy.run_module("kerasseq.serving", run_name="__main__")
    assert raised.value.code == 0 and "--stable NAME=VERSION" in capsys.readouterr().out
