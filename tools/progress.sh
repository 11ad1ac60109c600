#!/bin/sh
# progress.sh WHAT COMMAND... runs the command and says, while it lasts, that
# it goes on.
set -eu
what=$1
shift
echo "$what ..."
"$@" &
pid=$!
trap 'kill $pid 2>/dev/null' INT TERM
seconds=0
while kill -0 $pid 2>/dev/null; do
	sleep 1
	seconds=$((seconds + 1))
	[ $((seconds % 10)) -ne 0 ] || echo "$what ... $seconds s"
done
wait $pid
