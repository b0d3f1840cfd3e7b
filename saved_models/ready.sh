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
  printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' "$1" >&3
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
