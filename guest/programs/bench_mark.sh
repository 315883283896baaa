#!/bin/sh
# bench-mark begin|end JOB [PACKETS]: tells the benchmark outside that a job begins or has ended, with the
# interrupts of virtio queues that this machine has taken so far. A line is "BENCH begin JOB INTERRUPTS".
interrupts=$(awk '/virtio[0-9]+-/ { for (i = 2; i <= NF && $i ~ /^[0-9]+$/; i++) sum += $i } END { print sum + 0 }' /proc/interrupts)
echo "BENCH $1 $2 $interrupts" > /dev/console
