#!/usr/bin/env bash
# Starts a real Kubernetes on this machine and waits until it is ready.
#
#   [NODES=N] [IMAGES="A.tar B.tar"] [OWNER=PID] tests/kubernetes/up.sh STATE
#
#   NODES=0   the control plane only: etcd, API server, controller manager, scheduler; needs no root
#   NODES=1   and a real node (the default): containerd, kubelet, kube-proxy, CoreDNS, a bridge for pods; as root
#   NODES=3   three real nodes, each with a containerd and a kubelet of its own, sharing the host's network
#   IMAGES    what to import into every node, made by images/mkimage.sh
#   OWNER     the process that wants the cluster: if it is gone, the next up.sh takes this cluster down first
#   ETCD_PORT, API_PORT                                  for several control planes side by side
#   APISERVER_FLAGS, CONTROLLER_FLAGS, KUBELET_FLAGS     additional flags
#
# STATE is a new folder with a short path (unix sockets lie in it). STATE/kubeconfig is the way in, as an administrator;
# STATE/log has a log of each process; process.sh makes single ones fail. down.sh undoes everything. The programs are in
# ${MILLSTREAM_CACHE:-$HOME/.cache/millstream}/kubernetes, where install.sh puts them.
#
# Nothing leaves the machine and nothing comes in: pods are on a bridge of their own (10.88.0.0/16), Services
# (10.96.0.0/16) are routed into it, and the firewall lets nothing pass between it and other interfaces. Everything
# listens on 127.0.0.1 or on the bridge. The host is 10.88.0.1 there: what pods are to reach, such as a Kafka broker of
# the test, must listen on that address. The host reaches pods and Services at their own addresses. A machine can have
# one cluster with nodes at a time.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
installed=${MILLSTREAM_CACHE:-${HOME:?}/.cache/millstream}/kubernetes
bin=$installed/bin
nodes=${NODES:-1}
etcd_port=${ETCD_PORT:-2379}
api_port=${API_PORT:-6443}
. "$here/network.sh"
. "$here/processes.sh"

fail() {
  echo "up.sh: $*" >&2
  exit 1
}

began=$(date +%s%N)
log() {
  printf 'up.sh: %5d ms  %s\n' "$((($(date +%s%N) - began) / 1000000))" "$*" >&2
}

[[ -e $installed/complete ]] || fail "there is no Kubernetes in $installed; run tests/kubernetes/install.sh"
mkdir -p "${1:?usage: up.sh STATE}"
state=$(cd "$1" && pwd -P)
((${#state} <= 60)) || fail "the path $state is too long for the sockets below it"
[[ ! -e $state/pids ]] || fail "$state has been used; run down.sh first"
mkdir "$state"/{certificates,commands,conf,log,pids}
if [[ ${OWNER:-} ]]; then
  echo "$OWNER $(started_at "$OWNER")" > "$state/owner"
fi
certificates=$state/certificates

# The API server listens on one address; it must be one that pods reach, if there are any.
if ((nodes > 0)); then api_address=$host_address; else api_address=127.0.0.1; fi

# Nothing here is to go through a proxy, and many pods mean many files.
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY
ulimit -n "$(ulimit -Hn)"

# start NAME COMMAND…
start() {
  printf '%q ' "${@:2}" > "$state/commands/$1"
  launch "$1"
}

# wait_for WHAT SECONDS NAME COMMAND…: until COMMAND succeeds. NAME is the process that it depends on most; if any ends,
# waiting is in vain.
wait_for() {
  local what=$1 seconds=$2 name=$3 end other
  shift 3
  end=$((SECONDS + seconds))
  until "$@" &> /dev/null; do
    for other in "$state"/pids/*; do
      other=${other##*/}
      running "$other" > /dev/null || show_and_fail "$other" "$other has ended while waiting for $what"
    done
    ((SECONDS <= end)) || show_and_fail "$name" "waited $seconds s in vain for $what; $name wrote the log above"
    sleep 0.1
  done
  log "$what"
}

# show_and_fail NAME MESSAGE
show_and_fail() {
  tail -20 "$state/log/$1.log" >&2
  fail "$2"
}

# --- certificates ---------------------------------------------------------------------------------------------------

key() {
  openssl ecparam -name prime256v1 -genkey -noout -out "$certificates/$1.key"
}

# authority NAME
authority() {
  key "$1"
  openssl req -x509 -new -key "$certificates/$1.key" -subj "/CN=$1" -days 3650 -out "$certificates/$1.crt" \
    -addext basicConstraints=critical,CA:true -addext keyUsage=critical,keyCertSign,digitalSignature
}

# certificate NAME AUTHORITY SUBJECT [ALTERNATIVE-NAMES]: for servers and clients alike.
certificate() {
  local at=$certificates/$1 authority=$certificates/$2
  key "$1"
  {
    echo "keyUsage=critical,digitalSignature,keyEncipherment"
    echo "extendedKeyUsage=serverAuth,clientAuth"
    [[ -z ${4:-} ]] || echo "subjectAltName=$4"
  } > "$at.extensions"
  openssl req -new -key "$at.key" -subj "$3" 2> /dev/null \
    | openssl x509 -req -CA "$authority.crt" -CAkey "$authority.key" -set_serial "0x$(openssl rand -hex 8)" \
      -days 3650 -extfile "$at.extensions" -out "$at.crt" 2> /dev/null
}

# kubeconfig CERTIFICATE FILE
kubeconfig() {
  local at=$certificates/$1
  (
    umask 077
    cat > "$2" <<K
apiVersion: v1
kind: Config
clusters:
  - name: local
    cluster:
      server: https://$api_address:$api_port
      certificate-authority-data: $(base64 -w0 "$certificates/ca.crt")
users:
  - name: $1
    user:
      client-certificate-data: $(base64 -w0 "$at.crt")
      client-key-data: $(base64 -w0 "$at.key")
contexts:
  - name: local
    context: {cluster: local, user: $1}
current-context: local
K
  )
}

make_certificates() {
  local domain=default.svc.cluster.local names="IP:127.0.0.1,IP:$host_address,IP:$api_service,DNS:localhost" name
  for name in kubernetes kubernetes.default kubernetes.default.svc "kubernetes.$domain"; do
    names+=,DNS:$name
  done
  authority ca
  authority front-ca
  openssl genrsa -out "$certificates/service-accounts.key" 2048 2> /dev/null
  openssl rsa -in "$certificates/service-accounts.key" -pubout -out "$certificates/service-accounts.pub" 2> /dev/null
  certificate apiserver ca /CN=kube-apiserver "$names"
  certificate apiserver-kubelet ca /O=system:masters/CN=kube-apiserver-kubelet-client
  certificate front-proxy front-ca /CN=front-proxy-client
  certificate admin ca /O=system:masters/CN=admin
  certificate controller-manager ca /CN=system:kube-controller-manager
  certificate scheduler ca /CN=system:kube-scheduler
  certificate proxy ca /CN=system:kube-proxy
  kubeconfig admin "$state/kubeconfig"
  for name in controller-manager scheduler proxy; do
    kubeconfig "$name" "$state/conf/$name.kubeconfig"
  done
}

# --- the machine ----------------------------------------------------------------------------------------------------

# One cluster at a time. One whose owner was killed is taken down.
claim_machine() {
  local other pid started
  if other=$(readlink "$claim") && [[ -d $other/pids ]]; then
    if read -r pid started 2> /dev/null < "$other/owner" && [[ $(started_at "$pid") != "$started" ]]; then
      log "taking $other down, which process $pid has left behind"
      "$here/down.sh" "$other"
    else
      fail "a cluster is up already in $other; tests/kubernetes/down.sh $other ends it"
    fi
  fi
  ! nft list table ip kube-proxy &> /dev/null || fail "this machine is a node of another cluster already"
  # Left from a boot before, or from a folder that somebody has removed.
  [[ -d $claim ]] || rm -f "$claim"
  # Only one of two that come at the same time can make it.
  ln -sT "$state" "$claim" 2> /dev/null || fail "a cluster is starting in $(readlink "$claim")"
}

# The kernel's settings as containers, the bridge and the kubelet need them. down.sh puts the old ones back.
change_settings() {
  local setting name
  # Without it the answers of a Service on the bridge do not come from the address that was asked.
  modprobe br_netfilter 2> /dev/null || true
  mkdir "$state/sysctl"
  for setting in net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1 fs.inotify.max_user_instances=8192 \
    vm.overcommit_memory=1 vm.panic_on_oom=0 kernel.panic=10 kernel.panic_on_oops=1; do
    name=${setting%%=*}
    sysctl -n "$name" > "$state/sysctl/$name"
    sysctl -qw "$setting"
  done
}

make_network() {
  local i
  # down.sh removes what has come since
  ls /run/netns > "$state/namespaces" 2> /dev/null || true
  echo none >> "$state/namespaces"
  ip link add "$bridge" type bridge
  for ((i = 1; i <= nodes; i++)); do
    ip address add "${host_address%.*}.$i/16" dev "$bridge"
  done
  ip link set "$bridge" up
  # An address of no Service ends here, and does not take the default route.
  ip route add "$service_network" dev "$bridge" src "$host_address"
  # Hosts answer on every interface for all of their addresses, so what listens on the bridge needs the second chain.
  nft -f - <<N
table inet $bridge {
  chain forward {
    type filter hook forward priority -200
    iifname "$bridge" oifname != "$bridge" drop
    oifname "$bridge" iifname != "$bridge" drop
  }
  chain input {
    type filter hook input priority -200
    ip daddr { $pod_network, $service_network } iifname != { "lo", "$bridge" } drop
  }
}
N
}

# make_control_group NODE: so that all containers of a node can be found.
make_control_group() {
  local group=$bridge-$1 name file
  if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
    mkdir "/sys/fs/cgroup/$group"
    return
  fi
  for name in blkio cpu cpuacct cpuset devices freezer hugetlb memory net_cls net_prio perf_event pids systemd; do
    [[ ! -d /sys/fs/cgroup/$name ]] || mkdir -p "/sys/fs/cgroup/$name/$group"
  done
  # A new set of CPUs is empty and takes no process until it is filled.
  for file in cpuset.cpus cpuset.mems; do
    cat "/sys/fs/cgroup/cpuset/$file" > "/sys/fs/cgroup/cpuset/$group/$file"
  done
}

# --- the control plane ----------------------------------------------------------------------------------------------

kubectl() {
  "$bin/kubectl" --kubeconfig "$state/kubeconfig" --cache-dir "$state/kubectl" "$@"
}

start_etcd() {
  # Nobody needs the data after a crash of the machine, and without fsync a busy disk delays nothing.
  start etcd "$bin/etcd" --data-dir "$state/etcd" --unsafe-no-fsync --log-level warn \
    --listen-client-urls "http://127.0.0.1:$etcd_port" --advertise-client-urls "http://127.0.0.1:$etcd_port" \
    --listen-peer-urls http://127.0.0.1:0
}

start_apiserver() {
  local c=$certificates
  # The advertised address must not be loopback; without nodes nobody uses it.
  start apiserver "$bin/kube-apiserver" \
    --etcd-servers="http://127.0.0.1:$etcd_port" \
    --bind-address="$api_address" --secure-port="$api_port" --advertise-address="$host_address" \
    --service-cluster-ip-range="$service_network" \
    --tls-cert-file="$c/apiserver.crt" --tls-private-key-file="$c/apiserver.key" --client-ca-file="$c/ca.crt" \
    --allow-privileged --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --service-account-key-file="$c/service-accounts.pub" \
    --service-account-signing-key-file="$c/service-accounts.key" \
    --kubelet-certificate-authority="$c/ca.crt" --kubelet-preferred-address-types=InternalIP \
    --kubelet-client-certificate="$c/apiserver-kubelet.crt" --kubelet-client-key="$c/apiserver-kubelet.key" \
    --proxy-client-cert-file="$c/front-proxy.crt" --proxy-client-key-file="$c/front-proxy.key" \
    --requestheader-client-ca-file="$c/front-ca.crt" --requestheader-allowed-names=front-proxy-client \
    --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
    --requestheader-extra-headers-prefix=X-Remote-Extra- \
    ${APISERVER_FLAGS:-}
}

start_controllers() {
  local c=$certificates
  # A node that is not heard of is noticed after eight seconds, not after fifty.
  start controller-manager "$bin/kube-controller-manager" \
    --kubeconfig="$state/conf/controller-manager.kubeconfig" --secure-port=0 --leader-elect=false \
    --use-service-account-credentials --service-account-private-key-file="$c/service-accounts.key" \
    --root-ca-file="$c/ca.crt" --cluster-signing-cert-file="$c/ca.crt" --cluster-signing-key-file="$c/ca.key" \
    --node-monitor-period=1s --node-monitor-grace-period=8s --flex-volume-plugin-dir="$state/volume-plugins" \
    ${CONTROLLER_FLAGS:-}
  start scheduler "$bin/kube-scheduler" \
    --kubeconfig="$state/conf/scheduler.kubeconfig" --secure-port=0 --leader-elect=false
}

# --- the nodes ------------------------------------------------------------------------------------------------------

start_containerd() {
  local i=$1 at=$state/node$1
  cat > "$at/containerd.toml" <<C
version = 2
root = "$at/containerd"
state = "$at/run"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]
[grpc]
  address = "$at/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "$at/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  # A root without CAP_SYS_RESOURCE, as in a container, cannot make a process less likely to be killed.
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "$state/conf/cni"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  Root = "$at/runc"
  SystemdCgroup = false
C
  start "containerd$i" containerd -c "$at/containerd.toml"
}

# One network for the pods of all nodes, as they share the bridge and the folder of given addresses.
configure_pod_network() {
  mkdir "$state/conf/cni"
  cat > "$state/conf/cni/pods.conflist" <<C
{
  "cniVersion": "0.4.0",
  "name": "$bridge",
  "plugins": [
    {
      "type": "bridge",
      "bridge": "$bridge",
      "isGateway": true,
      "hairpinMode": true,
      "ipMasq": false,
      "ipam": {
        "type": "host-local",
        "dataDir": "$state/addresses",
        "ranges": [[{"subnet": "$pod_network", "rangeStart": "${pod_network%.*.*}.1.0", "gateway": "$host_address"}]],
        "routes": [{"dst": "0.0.0.0/0"}]
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
C
}

import_images() {
  local image
  wait_for "containerd of node $1" 180 "containerd$1" ctr --address "$state/node$1/containerd.sock" version
  for image in "$installed"/images/*.tar ${IMAGES:-}; do
    ctr --address "$state/node$1/containerd.sock" --namespace k8s.io images import "$image" > /dev/null
  done
}

start_kubelet() {
  local i=$1 at=$state/node$1 address=${host_address%.*}.$1
  certificate "kubelet$i" ca "/O=system:nodes/CN=system:node:node$i" "IP:$address,DNS:node$i"
  kubeconfig "kubelet$i" "$at/kubelet.kubeconfig"
  make_control_group "node$i"
  # Pods ask CoreDNS and nobody else.
  : > "$at/resolv.conf"
  # A machine with full disks and busy with builds is no reason to evict pods. The lease is renewed each quarter of its
  # duration: four times in the eight seconds after which a node counts as lost.
  cat > "$at/kubelet.yaml" <<C
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $address
healthzPort: 0
readOnlyPort: 0
tlsCertFile: $certificates/kubelet$i.crt
tlsPrivateKeyFile: $certificates/kubelet$i.key
authentication:
  anonymous: {enabled: false}
  x509: {clientCAFile: $certificates/ca.crt}
  webhook: {enabled: true}
authorization: {mode: Webhook}
containerRuntimeEndpoint: unix://$at/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /$bridge-node$i
failCgroupV1: false
failSwapOn: false
makeIPTablesUtilChains: false
oomScoreAdj: 0
podLogsDir: $at/logs
volumePluginDir: $at/volume-plugins
clusterDomain: cluster.local
clusterDNS: [$host_address]
resolvConf: $at/resolv.conf
maxPods: 250
nodeLeaseDurationSeconds: 8
nodeStatusUpdateFrequency: 5s
syncFrequency: 10s
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard:
  memory.available: 100Mi
  nodefs.available: "0%"
  nodefs.inodesFree: "0%"
  imagefs.available: "0%"
  imagefs.inodesFree: "0%"
registryPullQPS: 0
eventRecordQPS: 0
kubeAPIQPS: 200
kubeAPIBurst: 400
C
  start "kubelet$i" "$bin/kubelet" --config "$at/kubelet.yaml" --kubeconfig "$at/kubelet.kubeconfig" \
    --root-dir "$at/kubelet" --cert-dir "$at/kubelet-certificates" \
    --hostname-override "node$i" --node-ip "$address" ${KUBELET_FLAGS:-}
}

start_dns() {
  cat > "$state/conf/Corefile" <<C
cluster.local:53 in-addr.arpa:53 {
  bind $host_address
  errors
  ready 127.0.0.1:10268
  cache 5
  kubernetes cluster.local in-addr.arpa {
    kubeconfig $state/kubeconfig
    pods verified
    ttl 5
  }
}
C
  start coredns "$bin/coredns" -conf "$state/conf/Corefile"
}

# In a subshell, because the failure of `exec` ends the shell.
dns_is_ready() (
  exec 3<> /dev/tcp/127.0.0.1/10268
  printf 'GET /ready HTTP/1.0\r\n\r\n' >&3
  grep -q '200 OK' <&3
)

# One for all nodes, as they share the host's network. It leaves the kernel's tracking of connections as it is.
start_proxy() {
  cat > "$state/conf/proxy.yaml" <<C
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: $state/conf/proxy.kubeconfig}
clusterCIDR: $pod_network
hostnameOverride: node1
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10269
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
oomScoreAdj: 0
C
  start proxy "$bin/kube-proxy" --config "$state/conf/proxy.yaml"
}

node_is_ready() {
  [[ $(kubectl get node "$1" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}') == True ]]
}

# --- all together ---------------------------------------------------------------------------------------------------

if ((nodes > 0)); then
  [[ $(id -u) == 0 ]] || fail "nodes need root"
  claim_machine
  change_settings
  make_network
fi
make_certificates
log "certificates and network"
start_etcd
start_apiserver
if ((nodes > 0)); then
  # While the API server starts.
  configure_pod_network
  for ((i = 1; i <= nodes; i++)); do
    mkdir -p "$state/node$i/logs"
    start_containerd "$i"
  done
  for ((i = 1; i <= nodes; i++)); do
    import_images "$i"
  done
fi
wait_for "the API server" 300 apiserver kubectl get --raw /readyz
start_controllers
if ((nodes > 0)); then
  for ((i = 1; i <= nodes; i++)); do
    start_kubelet "$i"
  done
  start_dns
  start_proxy
  for ((i = 1; i <= nodes; i++)); do
    wait_for "node $i" 300 "kubelet$i" node_is_ready "node$i"
  done
  wait_for "the Service of the API server" 180 proxy timeout 1 bash -c "exec 3<> /dev/tcp/$api_service/443"
  wait_for "names" 180 coredns dns_is_ready
fi
# Pods are refused before it is there.
wait_for "the default ServiceAccount" 180 controller-manager kubectl get serviceaccount default
log "export KUBECONFIG=$state/kubeconfig"
