#!/usr/bin/env bash
# Makes an image of one layer without a registry and without a daemon: a tar in the docker-archive form, which
# `ctr images import` takes. The same input gives the same bytes.
#
#   tests/kubernetes/images/mkimage.sh OUT.tar NAME:TAG ENTRYPOINT ROOT
#
# ENTRYPOINT is a JSON list, ROOT the directory that becomes the root of the file system. Pods that use the image say
# `imagePullPolicy: Never`.
set -euo pipefail

out=$(realpath -m "$1")
name=$2
entrypoint=$3
root=$4

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# reproducible OUT ROOT FILE…
reproducible() {
  local out=$1 root=$2
  shift 2
  tar -C "$root" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf "$out" "$@"
}

reproducible "$work/layer.tar" "$root" .
digest=$(sha256sum "$work/layer.tar" | cut -d' ' -f1)
cat > "$work/config.json" <<J
{
  "architecture": "amd64",
  "os": "linux",
  "created": "1970-01-01T00:00:00Z",
  "config": {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin"], "Entrypoint": $entrypoint, "WorkingDir": "/"},
  "rootfs": {"type": "layers", "diff_ids": ["sha256:$digest"]},
  "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "mkimage.sh"}]
}
J
echo "[{\"Config\": \"config.json\", \"RepoTags\": [\"$name\"], \"Layers\": [\"layer.tar\"]}]" > "$work/manifest.json"
reproducible "$out" "$work" manifest.json config.json layer.tar
