#!/bin/sh
# Makes the Redis Cluster of NODES (names, with spaces between), with REPLICAS for each master, unless there is one. Where
# there is one it introduces the nodes to each other again, for the case that all came back at once with new addresses.
# REDISCLI_AUTH holds the password, if they have one.
set -eu

nodes=""
for name in $NODES; do
    host=$(getent hosts "$name" | cut -d' ' -f1)
    [ "$(redis-cli -h "$host" ping)" = PONG ]
    nodes="$nodes $host:6379"
done
# The words are split on purpose: one address each.
# shellcheck disable=SC2086
set -- $nodes
first=${1%:*}
if redis-cli -h "$first" cluster info | grep -q '^cluster_slots_assigned:0'; then
    redis-cli --cluster create "$@" --cluster-replicas "$REPLICAS" --cluster-yes
    exit
fi
for node in "$@"; do
    redis-cli -h "$first" cluster meet "${node%:*}" 6379
done
