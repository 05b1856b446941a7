#!/usr/bin/env bash
# Installs the peers that `benchmark --peers` runs beside Millstream: Apache Flink and Kafka Streams, each from Maven
# Central by its pom.xml, with the programs in its folder compiled.
#
#   tests/benchmark/peers/install.sh        the last line of its output is the folder
#
# The folder is ${MILLSTREAM_CACHE:-$HOME/.cache/millstream}/peers-HASH, HASH being that of all that it is made from, so
# that it always belongs to what is here. It is put in its place when it is complete; one that is there is left alone.
#   ENGINE/classes        the compiled programs
#   ENGINE/classpath      those and the jars in a fixed order, as Java wants them
#   ENGINE/java.options   what Java is told besides
#   log4j2.properties
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${MILLSTREAM_CACHE:-${HOME:?}/.cache/millstream}
plugin=org.apache.maven.plugins:maven-dependency-plugin:3.8.1

missing=()
command -v mvn > /dev/null || missing+=(maven)
command -v javac > /dev/null || missing+=(openjdk-17-jdk-headless)
if ((${#missing[@]})); then
  echo "install.sh: some programs are missing; install them with: apt-get install -y ${missing[*]}" >&2
  exit 1
fi

cd "$here"
hash=$(cat install.sh log4j2.properties {flink,streams}/{pom.xml,java.options,*.java} | sha256sum | cut -c1-12)
home=$cache/peers-$hash

# engine NAME SCRATCH
engine() {
  local name=$1 scratch=$2/$1 jars
  mvn -q -B -f "$name/pom.xml" "$plugin:copy-dependencies" -DincludeScope=runtime -DoutputDirectory="$scratch/libs" >&2
  jars=("$scratch"/libs/*.jar)
  local IFS=:
  javac -nowarn --release 17 -cp "${jars[*]}" -d "$scratch/classes" "$name"/*.java >&2
  jars=("${jars[@]/#$2/$home}")
  echo "$home/$name/classes:${jars[*]}" > "$scratch/classpath"
  cp "$name/java.options" "$scratch/"
}

if [[ ! -e $home ]]; then
  echo "Installing the peers into $home" >&2
  mkdir -p "$cache"
  scratch=$(mktemp -d "$cache/peers-XXXXXX.new")
  trap 'rm -rf "$scratch"' EXIT
  engine flink "$scratch"
  engine streams "$scratch"
  cp log4j2.properties "$scratch/"
  # Where another one was quicker, what it left is the same.
  mv -T "$scratch" "$home" 2> /dev/null || [[ -e $home ]]
fi
echo "$home"
