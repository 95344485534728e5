#!/bin/sh
# Stands in for a service that refuses its settings.
echo "bad setting: $2 $FAILPOINTS" >&2
exit 2
