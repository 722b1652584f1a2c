#!/usr/bin/env bash
# Fetches Apache Kafka by Maven (once) and runs one node of it, broker and controller in one, on 127.0.0.1.
#
#   start.sh --fetch                          only fetch
#   start.sh DATA_DIR PORT CONTROLLER_PORT    format DATA_DIR if it is new, then become the broker (same pid)
#   start.sh DATA_DIR PORT CONTROLLER_PORT SASL_PORT SSL_PORT
#       likewise, with an authorizer: SCRAM-SHA-512 over TLS on SASL_PORT (user alice, password in
#       DATA_DIR/tls/alice.password), TLS with client certificates on SSL_PORT (DATA_DIR/tls/client.{pem,key} signed
#       by ca.pem; stranger-ca.pem signed nothing), and everything allowed on PORT. Needs openssl.
#
# DATA_DIR/extra.properties, if there, is added to the broker's properties and wins; DATA_DIR/cluster.id is the id
# of a cluster that this node is to be one of.
# The jars stay in $TIDEGATE_KAFKA_CACHE (default ~/.cache/tidegate). Needs Java 17 or newer, and Maven to fetch.
set -euo pipefail

version=4.3.1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${TIDEGATE_KAFKA_CACHE:-$HOME/.cache/tidegate}
libs=$cache/kafka-$version

fail() { echo "start.sh: $*" >&2; exit 1; }

java_major() { # prints 0 where there is no java
    java -version 2>&1 | sed -nE 's/^[a-z]+ version "([0-9]+).*/\1/p' | grep . || echo 0
}

# install PACKAGE SENTENCE: by apt-get when root, else ends with the sentence.
install() {
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq "$1" >/dev/null && return
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq "$1" >/dev/null && return
    fi
    fail "$2"
}

need_java() {
    [ "$(java_major)" -ge 17 ] || install openjdk-17-jre-headless \
        "Java 17 or newer is needed: install openjdk-17-jre-headless (Debian 12) or another JRE, and put java on the PATH."
    [ "$(java_major)" -ge 17 ] || fail "the java on the PATH is older than 17: put a newer one first."
}

fetch() {
    [ -e "$libs/kafka_2.13-$version.jar" ] && return
    command -v mvn >/dev/null || install maven "Maven is needed to fetch Apache Kafka: install maven."
    mkdir -p "$cache"
    local fresh
    fresh=$(mktemp -d "$cache/fetching.XXXXXX")
    trap 'rm -rf "$fresh"' EXIT
    # The POM is copied, so that Maven writes nothing into the working tree.
    cp "$here/pom.xml" "$fresh/pom.xml"
    mvn -q -B -f "$fresh/pom.xml" -Dkafka.version="$version" \
        org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$fresh/libs" ||
        fail "Maven could not fetch Apache Kafka $version (see above); is a Maven repository reachable?"
    # One rename: nobody ever sees half of the jars. Another process may have been first; its jars are the same.
    mv -T "$fresh/libs" "$libs" 2>/dev/null || [ -e "$libs/kafka_2.13-$version.jar" ] || fail "cannot write $libs"
    rm -rf "$fresh"
    trap - EXIT
}

write_properties() { # DATA_DIR PORT CONTROLLER_PORT
    cat <<END
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$3
listeners=PLAINTEXT://127.0.0.1:$2,${4:+SASL_SSL://127.0.0.1:$4,SSL://127.0.0.1:$5,}CONTROLLER://127.0.0.1:$3
advertised.listeners=PLAINTEXT://127.0.0.1:$2${4:+,SASL_SSL://127.0.0.1:$4,SSL://127.0.0.1:$5}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL
log.dirs=$1/node
# one node holds everything
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
default.replication.factor=1
min.insync.replicas=1
auto.create.topics.enable=false
# failures are noticed within a test's patience
group.initial.rebalance.delay.ms=0
group.consumer.min.session.timeout.ms=5000
group.consumer.session.timeout.ms=6000
group.consumer.min.heartbeat.interval.ms=500
group.consumer.heartbeat.interval.ms=1000
group.min.session.timeout.ms=5000
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
END
}

write_security() { # DATA_DIR
    cat <<END
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location=$1/tls/broker.store.pem
ssl.truststore.type=PEM
ssl.truststore.location=$1/tls/ca.pem
listener.name.ssl.ssl.client.auth=required
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
END
}

make_certificates() { # TLS_DIR
    command -v openssl >/dev/null || install openssl "openssl is needed to make certificates: install openssl."
    local key=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes) name
    (
        mkdir -p "$1" && cd "$1"
        for name in ca stranger-ca; do
            openssl req -x509 "${key[@]}" -days 2 -subj "/CN=tidegate test $name" -keyout $name.key -out $name.pem
        done
        for name in broker client; do
            openssl req -new "${key[@]}" -subj "/CN=tidegate-$name" -keyout $name.key -out $name.csr
            openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
                -extfile <(echo subjectAltName=IP:127.0.0.1) -out $name.pem
        done
        cat broker.pem ca.pem broker.key >broker.store.pem
        head -c 18 /dev/urandom | base64 | tr '+/' 'AB' >alice.password
    ) 2>/dev/null || fail "openssl could not make certificates in $1"
}

need_java
fetch
[ "${1:-}" = --fetch ] && exit 0
[ $# = 3 ] || [ $# = 5 ] ||
    fail "usage: start.sh DATA_DIR PORT CONTROLLER_PORT [SASL_PORT SSL_PORT], or start.sh --fetch"

mkdir -p "$1"
data=$(cd "$1" && pwd)
{
    write_properties "$data" "${@:2}"
    if [ $# = 5 ]; then write_security "$data"; fi
    if [ -e "$data/extra.properties" ]; then cat "$data/extra.properties"; fi
} >"$data/server.properties"
users=()
if [ $# = 5 ]; then
    [ -e "$data/tls/alice.password" ] || make_certificates "$data/tls"
    users=(--add-scram "SCRAM-SHA-512=[name=alice,password=$(cat "$data/tls/alice.password")]")
fi
if [ ! -e "$data/node/meta.properties" ]; then
    # A cluster id is 16 random bytes in base64; a leading '-' would be taken for an option.
    id=$(cat "$data/cluster.id" 2>/dev/null || head -c 16 /dev/urandom | base64 | tr '+/' 'AB' | cut -c 1-22)
    java -XX:TieredStopAtLevel=1 -Dlog4j2.configurationFile="$here/log4j2.xml" -cp "$libs/*" \
        kafka.tools.StorageTool format -t "$id" -c "$data/server.properties" "${users[@]}"
fi
exec java -Xms256m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto \
    -Dlog4j2.configurationFile="$here/log4j2.xml" -Dkafka.logs.dir="$data/logs" \
    -cp "$libs/*" kafka.Kafka "$data/server.properties"
