# Thin: CMake builds, ctest tests, scripts/ does the rest. Debian packages are installed as needed.
#
#   make run      build, then run a pool on this machine; without an API in the environment with a
#                 stand-in for it and three demo devices
#   make test     everything, with sanitizers, end to end with the real openvpn and haproxy (root)
#   make check    before a commit, in under a minute: format, gcc and clang, unit, replay, corpora
#   make cluster  a Kubernetes cluster of two nodes on this machine, with a pool, the stand-in and three
#                 demo devices (root); make cluster-down removes every trace
#   make fuzz     each parser's fuzzer for 20 s
#   make bench    the numbers of the README
#   make clean
#
# Packagers:      cmake -S . -B build/release -DCMAKE_BUILD_TYPE=Release -DBUILD_TESTING=OFF
#                 cmake --build build/release      (both: make build)
#                 DESTDIR=... cmake --install build/release --prefix /usr
.PHONY: help build run test check fuzz bench dev clean cluster cluster-down

JOBS ?= $(shell nproc)

help:
	@sed -n 's/^#  *//p' Makefile

build:
	@scripts/deps build
	@cmake -S . -B build/release -G Ninja -DCMAKE_BUILD_TYPE=Release -DBUILD_TESTING=OFF --log-level=WARNING >/dev/null
	@cmake --build build/release -j $(JOBS)

dev:
	@scripts/deps build run test
	@cmake -S . -B build/dev -G Ninja -DCMAKE_BUILD_TYPE=Debug -DVPN_SANITIZE=ON --log-level=WARNING >/dev/null
	@cmake --build build/dev -j $(JOBS)

run: build
	@scripts/deps run
	@exec scripts/demo --bin build/release/bin

test: dev
	@scripts/deps cluster
	ctest --test-dir build/dev --output-on-failure -j 2

cluster:
	@scripts/deps run cluster
	@scripts/cluster up

cluster-down:
	@scripts/cluster down

check:
	@scripts/deps build test
	@scripts/check

fuzz:
	@scripts/deps build test
	@cmake -S . -B build/fuzz -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_COMPILER=clang -DVPN_FUZZ=ON --log-level=WARNING >/dev/null
	@cmake --build build/fuzz -j $(JOBS)
	ctest --test-dir build/fuzz --output-on-failure -j $(JOBS) -L corpus

bench: build
	@scripts/deps run bench
	@tests/bench/run --bin build/release/bin

clean:
	rm -rf build
