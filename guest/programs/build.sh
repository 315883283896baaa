#!/bin/sh
# build.sh OUTDIR: builds all guest programs, statically, as far as they are out of date.
# Up to as many compilers run at once as there are CPUs. CXX, CXXFLAGS and JOBS may be set.
set -eu

[ $# -eq 1 ] || { echo "usage: $0 OUTDIR" >&2; exit 64; }
mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "$0")"

# Make knows what is out of date and what can run at once.
exec make --no-print-directory -s -f - -j "${JOBS:-$(nproc)}" OUT="$out" <<'MAKE'
CXX ?= g++
CXXFLAGS ?= -O2 -Wall -Wextra -Wshadow -Wconversion
PROGRAMS := smp_stress clock_check hotplug_check litmus smp_work disk_witness bad_page locality_work steady_work
STRESS := $(wildcard stress/*.cc)
OBJECTS := $(patsubst stress/%.cc,$(OUT)/obj/stress_%.o,$(STRESS))

all: $(PROGRAMS:%=$(OUT)/%) $(OUT)/report.sh

$(OUT)/obj:
	mkdir -p $@

$(OUT)/obj/stress_%.o: stress/%.cc stress/stress.h common.h build.sh | $(OUT)/obj
	$(CXX) -std=c++20 $(CXXFLAGS) -pthread -c -o $@ $<

$(OUT)/obj/%.o: %.cc stress/stress.h litmus_tests.h common.h build.sh | $(OUT)/obj
	$(CXX) -std=c++20 $(CXXFLAGS) -pthread -c -o $@ $<

$(OUT)/smp_stress: $(OBJECTS)
$(PROGRAMS:%=$(OUT)/%): $(OUT)/%: $(OUT)/obj/%.o
	$(CXX) -static -pthread -o $@.new $^
	strip -s $@.new
	mv $@.new $@

$(OUT)/report.sh: report.sh
	cp $< $@

.SECONDARY:
MAKE
