# Names and addresses that up.sh and down.sh share. To be sourced.

# The bridge that pods are on, and the name of everything else of ours: firewall table, CNI network, control groups.
bridge=millstream0
# The first address of the pods' network is the host's on the bridge, and node 1's; node 2 has the next, and so on.
host_address=10.88.0.1
pod_network=10.88.0.0/16
service_network=10.96.0.0/16
# By convention the API server has the first address of the Services.
api_service=10.96.0.1
# A link to the folder of the one cluster with nodes that a machine can have.
claim=/run/millstream-kubernetes

# control_groups PATTERN: the control groups of the nodes whose names match, in each hierarchy that there is.
control_groups() {
  local group
  for group in /sys/fs/cgroup/"$bridge"-$1 /sys/fs/cgroup/*/"$bridge"-$1; do
    # /sys/fs/cgroup/cpu is a link to cpu,cpuacct, for instance
    [[ ! -d $group || -L ${group%/*} ]] || echo "$group"
  done
}
