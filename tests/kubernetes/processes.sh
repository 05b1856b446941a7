# What up.sh, down.sh and process.sh share: processes that run in the background. To be sourced, with the folder of the
# cluster in `state`. Each process NAME has
#   commands/NAME    its command, quoted for the shell
#   pids/NAME        its process id and the time of its start, as in /proc/PID/stat: a process id alone may be another's
#   log/NAME.log     what it has written

# started_at PID: prints the time of its start; fails if there is no such process, or only what is left of one.
started_at() {
  local stat
  { stat=$(< "/proc/$1/stat"); } 2> /dev/null || return 1
  # The name of the program stands in brackets and may contain anything; the state is the first field behind it.
  read -ra stat <<< "${stat##*) }"
  [[ ${stat[0]} != Z ]] && echo "${stat[19]}"
}

# running NAME: prints the process id, if it runs.
running() {
  local pid started
  read -r pid started 2> /dev/null < "$state/pids/$1" || return 1
  [[ $(started_at "$pid") == "$started" ]] && echo "$pid"
}

# launch NAME: starts the command in commands/NAME.
launch() {
  local pid
  eval "exec setsid nohup $(< "$state/commands/$1")" >> "$state/log/$1.log" 2>&1 < /dev/null &
  pid=$!
  echo "$pid $(started_at "$pid")" > "$state/pids/$1"
}

# signal SIGNAL NAME…
signal() {
  local signal=$1 name pid
  shift
  for name in "$@"; do
    ! pid=$(running "$name") || kill -s "$signal" "$pid" 2> /dev/null || true
  done
}

# await_end NAME…: waits at most ten seconds for their end.
await_end() {
  local name tries
  for name in "$@"; do
    for ((tries = 0; tries < 200; tries++)); do
      running "$name" > /dev/null || break
      sleep 0.05
    done
  done
}
