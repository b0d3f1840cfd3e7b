"""Templates of the files that deploy a folder of exported models.

Only models.config lists models, versions and labels. Adding a model or moving a label changes that file alone, and
edits to the others remain valid.

`model_servers/main.cc`, `session_bundle_config.proto` and `monitoring_config.proto` of TensorFlow Serving define the
flags and fields.
"""

import json
import string
import textwrap

IMAGE = "tensorflow/serving:2.20.0"
CPUS = 2
MEMORY = "2Gi"
GRPC_PORT, REST_PORT = 8500, 8501  # set by the entrypoint of the image
METRICS = "/monitoring/prometheus/metrics"
# The server rejects larger requests. kerasseq's client sends up to 32 rows by default.
MAX_BATCH_SIZE = 64

# The items of a YAML list, with their reasons.
FLAGS = f"""\
# Lists models, versions and labels.
- --model_config_file=/models/models.config
# The server reads labels before it loads models: without this flag, labels prevent it from starting.
- --allow_version_labels_for_unavailable_models=true
# Loads new versions in a separate thread, so that loaded ones keep answering requests.
- --num_load_threads=1
# Runs the graph once for several requests.
- --enable_batching=true
- --batching_parameters_file=/models/batching.config
# Each request occupies a thread until its batch is done: the default, 4 per core, keeps batches small.
- --rest_api_num_threads=64
- --grpc_max_threads=64
# The container's CPUs. The default counts all cores of the machine.
- --tensorflow_intra_op_parallelism={CPUS}
- --tensorflow_inter_op_parallelism={CPUS}
# Metrics for Prometheus, on the REST port.
- --monitoring_config_file=/models/monitoring.config
# Makes gRPC clients reconnect every minute, to spread them over new replicas.
- --grpc_channel_arguments=grpc.max_connection_age_ms=60000
# The profiler is open to all gRPC clients by default.
- --enable_profiler=false
"""
POLLING = """\
# Rereads models.config without a restart: labels move within this time.
- --model_config_file_poll_wait_seconds=10"""

BATCHING = string.Template("""\
# BatchingParameters of TensorFlow Serving, for --batching_parameters_file. The server batches concurrent requests to
# the same version and signature.

# Maximum number of rows in a batch and in a request. The server rejects larger requests with status code 400.
max_batch_size { value: $max_batch_size }
# How long a request waits for others. With 0, a batch still collects requests that arrive while all threads are busy.
batch_timeout_micros { value: 2000 }
# Concurrent batches: the number of CPUs.
num_batch_threads { value: $cpus }
# Queued batches. The server rejects further requests with status code 503, which kerasseq's client retries.
max_enqueued_batches { value: 16 }

# Not set: enable_large_batch_splitting, because the parts of a split request may have outputs padded to different
# lengths, which the server cannot concatenate; allowed_batch_sizes, because the model would decode rows of padding.
""")

MONITORING = string.Template("""\
# MonitoringConfig of TensorFlow Serving, for --monitoring_config_file.
prometheus_config { enable: true path: "$metrics" }
""")

READY = """\
#!/bin/bash
# Succeeds if the server has loaded the version behind each label in models.config.
# Usage: ready.sh [models.config] [port]
#
# Requests metadata, which exist only for loaded versions. The server listens once every model has any version, and the
# status of a model has status code 200 in all states. The image has bash, but no curl.
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
    # The entrypoint of the image adds --port=$grpc_port and --rest_api_port=$rest_port.
    command:
$flags
    ports:
      - "$grpc_port:$grpc_port"  # gRPC
      - "$rest_port:$rest_port"  # REST and metrics
    volumes:
      # Mounts the folder: a mount of models.config alone would keep the old file when a new one replaces it.
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
# Image with the models: docker build -t kerasseq-models:1 .
FROM $image

# The server runs without root privileges, as the owner of the files.
COPY --chown=65532:65532 . /models/
USER 65532:65532

EXPOSE $grpc_port $rest_port
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s CMD ["bash", "/models/ready.sh"]

# docker-compose.yml explains these flags. --model_config_file_poll_wait_seconds is not needed: the image is immutable.
# The entrypoint of the image adds --port=$grpc_port and --rest_api_port=$rest_port.
CMD $flags
""")

KUBERNETES = string.Template("""\
# kubectl apply -f kubernetes.yaml, with an image built from the Dockerfile, which sets the server's flags.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: kerasseq-models
  labels: {app: kerasseq-models}
spec:
  # The autoscaler below sets `replicas`. Setting it here would reset it each time the file is applied.
  selector:
    matchLabels: {app: kerasseq-models}
  strategy:
    type: RollingUpdate
    # Stops an old replica only after a new one is ready.
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
      # Exceeds the time of preStop.
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
            # Keep the CPUs equal to the thread flags and to num_batch_threads in batching.config.
            limits: {cpu: "$cpus", memory: $memory}
          # Allows five minutes to load and warm up all models.
          startupProbe:
            exec: {command: [bash, /models/ready.sh]}
            periodSeconds: 2
            timeoutSeconds: 5
            failureThreshold: 150
          # Tolerates slow answers for a minute: removing a busy replica would overload the others.
          readinessProbe:
            exec: {command: [bash, /models/ready.sh]}
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 6
          # Only checks that the port is open: under load, a request could time out and restart a healthy server.
          livenessProbe:
            tcpSocket: {port: rest}
            periodSeconds: 10
            failureThreshold: 3
          lifecycle:
            # Keeps running until open requests finish, which takes at most 30 seconds (--rest_api_timeout_in_ms).
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
        # Percentage of the requested CPU: 0.7 CPUs on average.
        target: {type: Utilization, averageUtilization: 70}
""")


def deployment_files() -> dict[str, str]:
    """Returns the text of each file except models.config, by name."""
    values = {
        "image": IMAGE, "cpus": CPUS, "memory": MEMORY, "grpc_port": GRPC_PORT, "rest_port": REST_PORT,
        "metrics": METRICS, "max_batch_size": MAX_BATCH_SIZE,
    }  # fmt: skip
    flags = [line.removeprefix("- ") for line in FLAGS.splitlines() if line.startswith("- ")]
    command = json.dumps(flags, indent=2).replace("\n", " \\\n")
    return {
        "batching.config": BATCHING.substitute(values),
        "monitoring.config": MONITORING.substitute(values),
        "ready.sh": READY,
        "docker-compose.yml": COMPOSE.substitute(values, flags=textwrap.indent(FLAGS + POLLING, " " * 6)),
        "Dockerfile": DOCKERFILE.substitute(values, flags=command),
        "kubernetes.yaml": KUBERNETES.substitute(values),
    }
