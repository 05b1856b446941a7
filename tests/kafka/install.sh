#!/usr/bin/env bash
# Installs Apache Kafka for the tests: brokers, tools and the Java client, from Maven Central by pom.xml.
#
#   tests/kafka/install.sh [VERSION…]        default: 4.2.2 4.4.0 3.9.2
#
# Each version goes to ${MILLSTREAM_CACHE:-$HOME/.cache/millstream}/kafka-VERSION:
#   libs/            the jars
#   classpath        the jars in a fixed order, as Java wants them
#   log4j2.properties
#   classes.jsa      an archive of the classes that a broker loads (AppCDS): it then starts in half the time
# A version that is there is left alone, so the script can run before every test.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${MILLSTREAM_CACHE:-${HOME:?}/.cache/millstream}
plugin=org.apache.maven.plugins:maven-dependency-plugin:3.8.1

missing=()
command -v mvn >/dev/null || missing+=(maven)
command -v javac >/dev/null || missing+=(openjdk-17-jdk-headless)
command -v openssl >/dev/null || missing+=(openssl)
if ((${#missing[@]})); then
  echo "install.sh: some programs are missing; install them with: apt-get install -y ${missing[*]}" >&2
  exit 1
fi

# jars VERSION DIRECTORY
jars() {
  mvn -q -B -f "$here/pom.xml" "$plugin:copy-dependencies" \
    -Dkafka.version="$1" -DincludeScope=runtime -DoutputDirectory="$2/libs"
  cp "$here/log4j2.properties" "$2/"
}

# write_classpath DIRECTORY: in a fixed order, because the archive of classes holds for exactly this list.
write_classpath() {
  local list=("$1"/libs/*.jar)
  local IFS=:
  echo "${list[*]}" > "$1/classpath"
}

# archive DIRECTORY: runs a broker once, up to "started", and lets the JVM write down the classes that it loaded.
archive() {
  local dir=$1 scratch pid
  scratch=$(mktemp -d)
  cat > "$scratch/server.properties" <<P
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:28391
listeners=PLAINTEXT://127.0.0.1:28390,CONTROLLER://127.0.0.1:28391
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=$scratch/data
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
P
  local java=(java -Xmx256m -XX:TieredStopAtLevel=1 "-Dlog4j2.configurationFile=$dir/log4j2.properties"
    -cp "$(cat "$dir/classpath")")
  "${java[@]}" kafka.tools.StorageTool format -t MkU3OEVBNTcwNTJENDM2Qk -c "$scratch/server.properties" \
    > "$scratch/format.log" 2>&1
  "${java[@]}" -XX:+UseG1GC "-XX:ArchiveClassesAtExit=$dir/classes.jsa" kafka.Kafka "$scratch/server.properties" \
    > "$scratch/server.log" 2>&1 &
  pid=$!
  for _ in $(seq 600); do
    grep -q 'Kafka Server started' "$scratch/server.log" && break
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  kill "$pid" 2>/dev/null || true
  wait "$pid" || true
  if ! grep -q 'Kafka Server started' "$scratch/server.log"; then
    echo "install.sh: the broker did not start; see $scratch/server.log" >&2
    return 1
  fi
  rm -rf "$scratch"
}

install() {
  local version=$1 dir=$cache/kafka-$1
  if [[ -e $dir/complete ]]; then
    echo "Kafka $version is in $dir"
    return
  fi
  echo "Installing Kafka $version into $dir"
  rm -rf "$dir"
  mkdir -p "$dir"
  jars "$version" "$dir"
  write_classpath "$dir"
  archive "$dir"
  touch "$dir/complete"
}

versions=("$@")
((${#versions[@]})) || versions=(4.2.2 4.4.0 3.9.2)
for version in "${versions[@]}"; do install "$version"; done
