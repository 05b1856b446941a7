#!/usr/bin/env bash
# Makes a process of a cluster fail, and brings it back.
#
#   tests/kubernetes/process.sh STATE kill NAME        SIGKILL; returns when it has ended
#   tests/kubernetes/process.sh STATE start NAME       starts it again as up.sh did; nothing if it runs
#   tests/kubernetes/process.sh STATE pause NAME       SIGSTOP: it stands still with its connections open
#   tests/kubernetes/process.sh STATE continue NAME    SIGCONT
#
# NAME is one of etcd, apiserver, controller-manager, scheduler, coredns, proxy, and, for each node, containerd1 and
# kubelet1 (2, 3). When a kubelet ends, the pods of its node go on: the cluster only hears nothing of them.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
usage="usage: process.sh STATE kill|start|pause|continue NAME"
state=$(cd "${1:?$usage}" && pwd -P)
action=${2:?$usage}
name=${3:?$usage}
. "$here/processes.sh"

if [[ ! -e $state/commands/$name ]]; then
  echo "process.sh: there is no $name in $state, only: $(cd "$state/commands" && echo *)" >&2
  exit 1
fi
case $action in
  kill)
    signal KILL "$name"
    await_end "$name"
    ;;
  start) running "$name" > /dev/null || launch "$name" ;;
  pause) signal STOP "$name" ;;
  continue) signal CONT "$name" ;;
  *)
    echo "$usage" >&2
    exit 1
    ;;
esac
