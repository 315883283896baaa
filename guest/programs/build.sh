#!/bin/sh
# build.sh OUTDIR [PROGRAM…]: builds all guest programs, or those, statically, as far as they are out of date.
# Up to as many compilers run at once as there are CPUs. CXX, CXXFLAGS and JOBS may be set.
set -eu

[ $# -ge 1 ] || { echo "usage: $0 OUTDIR [PROGRAM…]" >&2; exit 64; }
mkdir -p "$1"
out=$(cd "$1" && pwd)
shift
for program; do
  set -- "$@" "$out/$program"
  shift
done
cd "$(dirname "$0")"

# Make knows what is out of date and what can run at once.
exec make --no-print-directory -s -f - -j "${JOBS:-$(nproc)}" OUT="$out" "$@" <<'MAKE'
CXX ?= g++
CXXFLAGS ?= -O2 -Wall -Wextra -Wshadow -Wconversion
PROGRAMS := smp_stress clock_check hotplug_check litmus smp_work disk_witness bad_page locality_work steady_work job_work fork_witness
STRESS := $(wildcard stress/*.cc)
STRESS_OBJECTS := $(patsubst stress/%.cc,$(OUT)/obj/stress_%.o,$(STRESS))
JOB_OBJECTS := $(patsubst jobs/%.cc,$(OUT)/obj/jobs_%.o,$(wildcard jobs/*.cc))

all: $(PROGRAMS:%=$(OUT)/%) $(OUT)/report.sh

$(OUT)/obj:
	mkdir -p $@

$(OUT)/obj/stress_%.o: stress/%.cc stress/stress.h common.h build.sh | $(OUT)/obj
	$(CXX) -std=c++20 $(CXXFLAGS) -pthread -c -o $@ $<

$(OUT)/obj/jobs_%.o: jobs/%.cc jobs/jobs.h jobs/crew.h common.h build.sh | $(OUT)/obj
	$(CXX) -std=c++20 $(CXXFLAGS) -pthread -c -o $@ $<

$(OUT)/obj/%.o: %.cc stress/stress.h jobs/jobs.h jobs/crew.h litmus_tests.h common.h build.sh | $(OUT)/obj
	$(CXX) -std=c++20 $(CXXFLAGS) -pthread -c -o $@ $<

$(OUT)/smp_stress: $(STRESS_OBJECTS)
$(OUT)/job_work: $(JOB_OBJECTS)
$(PROGRAMS:%=$(OUT)/%): $(OUT)/%: $(OUT)/obj/%.o
	$(CXX) -static -pthread -o $@.new $^
	strip -s $@.new
	mv $@.new $@

$(OUT)/report.sh: report.sh
	cp $< $@

.SECONDARY:
MAKE
