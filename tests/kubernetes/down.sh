#!/usr/bin/env bash
# Ends what up.sh has started and undoes all that it has done: processes, containers, network, control groups, kernel
# settings, and the folder STATE itself.
#
#   tests/kubernetes/down.sh STATE
#
# No process gets time to end in order, because nothing of the cluster is wanted any more. Only what belongs to this
# cluster is ended: processes by id and time of start, containers by the control groups of its nodes.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
state=$(cd "${1:?usage: down.sh STATE}" && pwd -P) || exit 1
if [[ ! -d $state/pids ]]; then
  echo "down.sh: $state is no folder of up.sh" >&2
  exit 1
fi
. "$here/processes.sh"
. "$here/network.sh"

# Without nodes, or if there was another cluster when this one was to start, there are only processes.
has_nodes() {
  [[ $(readlink "$claim") == "$state" ]]
}

# Everything in the control groups of our nodes.
contained() {
  local group
  for group in $(control_groups 'node*'); do
    find "$group" -name cgroup.procs -exec cat {} + 2> /dev/null
  done | sort -u
}

# What containerd runs beside the containers: shims and runc. Their arguments name files in STATE.
helpers() {
  local directory arguments program
  for directory in /proc/[0-9]*; do
    { arguments=$(tr '\0' ' ' < "$directory/cmdline"); } 2> /dev/null || continue
    program=${arguments%% *}
    case ${program##*/} in
      containerd-shim* | runc) [[ $arguments != *" $state/"* ]] || echo "${directory#/proc/}" ;;
    esac
  done
}

end_containers() {
  local tries pids
  for ((tries = 0; tries < 100; tries++)); do
    pids=$(helpers; contained)
    [[ $pids ]] || break
    kill -s KILL $pids 2> /dev/null
    sleep 0.1
  done
  # The sockets of the shims are the only files of containerd that lie elsewhere.
  cat "$state"/node*/run/io.containerd.runtime.v2.task/k8s.io/*/address 2> /dev/null \
    | sed 's#unix://# #g' | xargs -r rm -f
}

# Deepest first: tokens of pods, roots of containers, shared memory.
unmount() {
  awk -v below="$state/" 'index($2, below) == 1 { print $2 }' /proc/self/mounts | sort -r \
    | while read -r mount; do umount -l "$mount"; done
}

undo_network() {
  local namespace
  # Those of our pods: they were not there before, and nothing lives in them any more.
  for namespace in $(ls /run/netns 2> /dev/null | grep '^cni-' | grep -vxFf "$state/namespaces"); do
    [[ $(ip netns pids "$namespace" 2> /dev/null) ]] || ip netns delete "$namespace"
  done
  nft delete table inet "$bridge" 2> /dev/null
  nft delete table ip kube-proxy 2> /dev/null
  nft delete table ip6 kube-proxy 2> /dev/null
  # What cuts the operator off, where its test was killed meanwhile; see tests/src/outage/fault.rs.
  nft delete table inet millstream-test-cut 2> /dev/null
  ip link delete "$bridge" 2> /dev/null
}

# What is written to fixed places.
remove_traces() {
  local link result pod
  for link in /var/log/containers/*; do
    [[ $(readlink "$link") != "$state"/* ]] || rm -f "$link"
  done
  # cni-loopback-POD-lo lies beside NETWORK-POD-eth0.
  for result in "/var/lib/cni/results/$bridge"-*-eth0; do
    pod=${result##*/"$bridge"-}
    rm -f "$result" "/var/lib/cni/results/cni-loopback-${pod%-eth0}-lo"
  done
  rm -f /var/lib/kubelet/device-plugins/kubelet.sock
  rmdir --ignore-fail-on-non-empty -p /var/lib/kubelet/device-plugins /var/lib/cni/results 2> /dev/null
}

undo_settings() {
  local file group
  for file in "$state"/sysctl/*; do
    [[ ! -e $file ]] || sysctl -qw "${file##*/}=$(< "$file")"
  done
  for group in $(control_groups 'node*'); do
    find "$group" -depth -type d -exec rmdir {} +
  done
}

names=$(cd "$state/pids" && ls)
signal KILL $names
! has_nodes || end_containers
await_end $names
if has_nodes; then
  unmount
  undo_network
  undo_settings
  remove_traces
  rm -f "$claim"
fi
rm -rf "$state"
