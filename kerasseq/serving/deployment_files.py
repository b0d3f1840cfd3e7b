"""The texts of the files with which a folder of exported models is deployed.

None of them names a model: models, versions and labels stand in models.config alone. So adding a model or moving a
label changes that one file, and whatever was edited in the others stays right.

Flags and fields are those of TensorFlow Serving's `model_servers/main.cc`, `session_bundle_config.proto` and
`monitoring_config.proto`.
"""

import json
import string

IMAGE = "tensorflow/serving:2.20.0"
CPUS = 2
MEMORY = "2Gi"
GRPC_PORT, REST_PORT = 8500, 8501  # Those of the image's entrypoint.
METRICS = "/monitoring/prometheus/metrics"
# The server refuses requests of more rows; a client of kerasseq sends 32 at most unless asked for more.
MAX_BATCH_SIZE = 64

# === Flags ===

# (why, the flags)
FLAGS = [
    ("What is served, and what the labels point to.", ["--model_config_file=/models/models.config"]),
    (
        "Labels are read before the models are loaded; without this, a server with labels does not start.",
        ["--allow_version_labels_for_unavailable_models=true"],
    ),
    (
        "A new version loads in a thread of its own, and requests to the others go on.",
        ["--num_load_threads=1"],
    ),
    (
        "One run answers many requests.",
        ["--enable_batching=true", "--batching_parameters_file=/models/batching.config"],
    ),
    (
        "A request holds its thread until its batch is done: with the default, 4 for each core, few fit in a batch.",
        ["--rest_api_num_threads=64", "--grpc_max_threads=64"],
    ),
    (
        "As many as the container has CPUs. The default is the machine's cores, of which the container may use few.",
        [f"--tensorflow_intra_op_parallelism={CPUS}", f"--tensorflow_inter_op_parallelism={CPUS}"],
    ),
    ("Metrics for Prometheus, on the REST port.", ["--monitoring_config_file=/models/monitoring.config"]),
    (
        "gRPC clients connect again every minute, and so find new replicas behind one address.",
        ["--grpc_channel_arguments=grpc.max_connection_age_ms=60000"],
    ),
    ("Open to everyone on the gRPC port by default.", ["--enable_profiler=false"]),
]
POLLING = [
    (
        "models.config is read again without a restart: labels move within this time.",
        ["--model_config_file_poll_wait_seconds=10"],
    ),
]


def flag_lines(flags):
    """The flags as items of a YAML list, each with its reason."""
    lines = []
    for why, names in flags:
        lines += [f"# {why}", *(f"- {name}" for name in names)]
    return "\n".join(f"      {line}" for line in lines)


# === Files ===

BATCHING = string.Template("""\
# BatchingParameters of TensorFlow Serving, for --batching_parameters_file: requests to the same version and signature
# that arrive together are one run of the graph.

# The most rows in a run, and in a request: larger ones are refused with the code 400.
max_batch_size { value: $max_batch_size }
# How long a request waits for others. 0 waits for none, and still takes along what came in while all threads were busy.
batch_timeout_micros { value: 2000 }
# Runs at the same time: as many as there are CPUs.
num_batch_threads { value: $cpus }
# Runs that may wait. Later requests are refused with the code 503, which kerasseq's client tries again.
max_enqueued_batches { value: 16 }

# Left out: enable_large_batch_splitting, because parts of one request, in different runs, would come back with texts
# and attention padded to different lengths, which cannot be put together; allowed_batch_sizes, which would decode
# rows of padding.
""")

MONITORING = string.Template("""\
# MonitoringConfig of TensorFlow Serving, for --monitoring_config_file.
prometheus_config { enable: true path: "$metrics" }
""")

READY = """\
#!/bin/bash
# Succeeds if the server answers for each label in models.config. Usage: ready.sh [models.config] [port]
#
# The server listens as soon as every model has one version, which need not be the one that a label points to, and the
# status of a model has the code 200 in whatever state it is. Metadata are given for loaded versions alone.
# Its image has bash, but no curl.
config=${1:-/models/models.config}
port=${2:-8501}

answers() {
  local code
  exec 3<>"/dev/tcp/127.0.0.1/$port" || return 1
  printf 'GET %s HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' "$1" >&3
  read -r _ code _ <&3
  cat <&3 >/dev/null
  exec 3>&-
  [[ $code == 200 ]]
}

{ exec 3<>"/dev/tcp/127.0.0.1/$port" && exec 3>&-; } 2>/dev/null || { echo "no server on port $port"; exit 1; }
labels=0
while IFS='"' read -r field value _; do
  case $field in
    name*) model=$value ;;
    key*)
      answers "/v1/models/$model/labels/$value/metadata" || { echo "$model: no version for label $value yet"; exit 1; }
      labels=$((labels + 1))
      ;;
  esac
done < <(sed 's/#.*//' "$config" | tr "'" '"' | grep -oE '(name|key): *"[^"]+"')
((labels > 0))
"""

COMPOSE = string.Template("""\
services:
  serving:
    image: $image
    # Beside these flags, the image's entrypoint sets --port=$grpc_port and --rest_api_port=$rest_port.
    command:
$flags
    ports:
      - "$grpc_port:$grpc_port"  # gRPC
      - "$rest_port:$rest_port"  # REST and metrics
    volumes:
      # The folder, and not the file: models.config is replaced by a new one, which a mounted file would not follow.
      - .:/models:ro
    healthcheck:
      test: ["CMD", "bash", "/models/ready.sh"]
      interval: 10s
      timeout: 5s
      start_period: 120s
    cpus: $cpus
    mem_limit: 2g
    read_only: true
    tmpfs: [/tmp]
    security_opt: ["no-new-privileges:true"]
    restart: unless-stopped
""")

DOCKERFILE = string.Template("""\
# An image with the models in it: docker build -t kerasseq-models:1 .
FROM $image

# The server needs no rights of root; the files belong to the user it runs as, whoever may read them here.
COPY --chown=65532:65532 . /models/
USER 65532:65532

EXPOSE $grpc_port $rest_port
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s CMD ["bash", "/models/ready.sh"]

# The flags of docker-compose.yml, which has the reasons; without the one that reads models.config again, because an
# image does not change.
# The image's entrypoint sets --port=$grpc_port and --rest_api_port=$rest_port.
CMD $flags
""")

KUBERNETES = string.Template("""\
# kubectl apply -f kubernetes.yaml, with an image built by the Dockerfile beside it, which also has the server's flags.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: kerasseq-models
  labels: {app: kerasseq-models}
spec:
  # No `replicas`: the autoscaler below sets them, and applying the file again must not set them back.
  selector:
    matchLabels: {app: kerasseq-models}
  strategy:
    type: RollingUpdate
    # A new replica is ready before an old one goes.
    rollingUpdate: {maxSurge: 1, maxUnavailable: 0}
  template:
    metadata:
      labels: {app: kerasseq-models}
      annotations:
        prometheus.io/scrape: "true"
        prometheus.io/port: "$rest_port"
        prometheus.io/path: $metrics
    spec:
      automountServiceAccountToken: false
      # Longer than preStop.
      terminationGracePeriodSeconds: 45
      securityContext:
        runAsNonRoot: true
        runAsUser: 65532
        runAsGroup: 65532
        seccompProfile: {type: RuntimeDefault}
      containers:
        - name: serving
          image: kerasseq-models:1
          ports:
            - {name: grpc, containerPort: $grpc_port}
            - {name: rest, containerPort: $rest_port}
          resources:
            requests: {cpu: "1", memory: $memory}
            # CPUs: as many as the flags for threads and num_batch_threads in batching.config say.
            limits: {cpu: "$cpus", memory: $memory}
          # Up to five minutes to load and warm up all models.
          startupProbe:
            exec: {command: [bash, /models/ready.sh]}
            periodSeconds: 2
            timeoutSeconds: 5
            failureThreshold: 150
          # A minute of patience: a busy server answers late, and without it the others would be busier still.
          readinessProbe:
            exec: {command: [bash, /models/ready.sh]}
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 6
          # Only whether it listens: an answer would wait behind requests, and load must not kill.
          livenessProbe:
            tcpSocket: {port: rest}
            periodSeconds: 10
            failureThreshold: 3
          lifecycle:
            # No new requests come meanwhile, and those that run have 30 seconds, --rest_api_timeout_in_ms, at most.
            preStop:
              exec: {command: [sleep, "35"]}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL]}
          volumeMounts:
            - {name: tmp, mountPath: /tmp}
      volumes:
        - name: tmp
          emptyDir: {}
---
apiVersion: v1
kind: Service
metadata:
  name: kerasseq-models
  labels: {app: kerasseq-models}
spec:
  selector: {app: kerasseq-models}
  ports:
    - {name: grpc, port: $grpc_port, targetPort: grpc}
    - {name: rest, port: $rest_port, targetPort: rest}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: kerasseq-models
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: kerasseq-models}
  minReplicas: 2
  maxReplicas: 10
  metrics:
    - type: Resource
      resource:
        name: cpu
        # Of the requested CPU, so 0.7 CPUs on average.
        target: {type: Utilization, averageUtilization: 70}
""")


def deployment_files():
    """The text of every file but models.config, by its name."""
    values = {
        "image": IMAGE,
        "cpus": CPUS,
        "memory": MEMORY,
        "grpc_port": GRPC_PORT,
        "rest_port": REST_PORT,
        "metrics": METRICS,
        "max_batch_size": MAX_BATCH_SIZE,
    }
    command = json.dumps([name for _, names in FLAGS for name in names], indent=2)
    return {
        "batching.config": BATCHING.substitute(values),
        "monitoring.config": MONITORING.substitute(values),
        "ready.sh": READY,
        "docker-compose.yml": COMPOSE.substitute(values, flags=flag_lines([*FLAGS, *POLLING])),
        "Dockerfile": DOCKERFILE.substitute(values, flags=command.replace("\n", " \\\n")),
        "kubernetes.yaml": KUBERNETES.substitute(values),
    }
