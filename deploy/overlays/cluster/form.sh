#!/bin/sh
# Makes the Redis Cluster of NODES pods, unless there is one. Where there is one it introduces the nodes to each other
# again, for the case that all pods came back at once with new addresses. REDISCLI_AUTH holds the password.
set -eu

address() { getent hosts "redis-$1.redis" | cut -d' ' -f1; }

nodes=""
number=0
while [ "$number" -lt "$NODES" ]; do
    host=$(address "$number")
    [ "$(redis-cli -h "$host" ping)" = PONG ]
    nodes="$nodes $host:6379"
    number=$((number + 1))
done
first=$(address 0)
if redis-cli -h "$first" cluster info | grep -q '^cluster_slots_assigned:0'; then
    # The words are split on purpose: one address each.
    # shellcheck disable=SC2086
    redis-cli --cluster create $nodes --cluster-replicas "$REPLICAS" --cluster-yes
    exit
fi
for node in $nodes; do
    redis-cli -h "$first" cluster meet "${node%:*}" 6379
done
