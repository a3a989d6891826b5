# A thin front for meson: everything that is known about the build stands in the meson.build files.
#
#   make             build into build/               make check       all tests, ten minutes at most
#   make demo        the A/B over the workloads      make check-full  clang, clang-tidy, cppcheck too
#   make deps        install what is missing         make asan        build-asan/ with ASan + UBSan
#   make install     PREFIX=/usr/local DESTDIR=      make uninstall   takes all of it away again
#   make vm-smoke    a short pass in a VM        make vm          all that runs in a VM
#   make clean       removes the build directories
#   make figures     writes docs/figures.md      make policy-curve  writes docs/policy-curve.*
#   make fuzz        SECONDS=60 of each fuzz target   make faults  all failures, SECONDS=60 of deaths
#   make soak        MINUTES=60 of everything, the daemon killed all the time
#   make kills       2,000 deaths of the daemon in MINUTES=10, from nothing to everything out
#   make programs    real programs under `process-pager run`
#   make unmodified  Redis, Python and a build under it, measured beside themselves and zram

PREFIX ?= /usr/local
DESTDIR ?=
SECONDS ?= 60
BUILD := build

.PHONY: all deps check check-full stress stress-mutants soak kills faults programs unmodified fuzz fuzz-coverage \
	vm vm-smoke demo figures policy-curve asan install uninstall clean

all: $(BUILD)/build.ninja
	ninja -C $(BUILD) product

# Only says what is missing; nothing is installed unless asked for.
$(BUILD)/build.ninja:
	@PP_NO_INSTALL=1 tools/deps build
	meson setup $(BUILD) --prefix=$(PREFIX)

deps:
	@tools/deps

check:
	@tools/deps
	@tools/deps fuzz || echo 'check: going on; the fuzz targets are a skip that says so'
	@tests/run

check-full:
	@tools/deps full
	@tests/run --full

# MINUTES=30, SAN=address: see there.
stress:
	@tests/stress/run

# Does each kind of stress find the faults that it is for? Five minutes.
stress-mutants: $(BUILD)/build.ninja
	@ninja -C $(BUILD) process-pagerd tests/stress/stress
	@tests/stress/mutants

# MINUTES=60, SAN=address or thread, SEED=1.
soak:
	@KIND=soak MINUTES=$(or $(MINUTES),60) tests/stress/run

# MINUTES=10, SAN, SEED as above.
kills:
	@KIND=moments MINUTES=$(or $(MINUTES),10) tests/stress/run

# Everything that can fail fails; then the daemon dies at random passes of each point for SECONDS.
faults: $(BUILD)/build.ninja
	@ninja -C $(BUILD) process-pagerd tests/integ/fault_points tests/integ/kill_points \
		tests/integ/process-pagerd-points
	@export PP_DAEMON=$(BUILD)/process-pagerd PP_POINT_DAEMON=$(BUILD)/tests/integ/process-pagerd-points && \
		$(BUILD)/tests/integ/fault_points --all && $(BUILD)/tests/integ/kill_points $(SECONDS)

# Each beside itself without a pager; a minute and a half.
programs:
	@tools/deps programs || echo 'programs: going on; what is missing is a skip that says so'
	@tests/run programs

# Half an hour of a quiet machine, as root; REPEATS=3 ARGS='--bytes 100M': see there.
REPEATS ?= 3
unmodified:
	@tools/deps programs
	@$(MAKE) --no-print-directory all
	@set -e; for program in redis python build spawn; do \
		echo "$$program:"; \
		$(BUILD)/bench/unmodified --program $$program --repeats $(REPEATS) --results-dir $(BUILD)/unmodified $(ARGS); \
	done

# Hostile bytes at the doors for longer than in `make check`; then which lines they have reached.
fuzz:
	@tools/deps fuzz
	@tests/fuzz/long $(SECONDS)

fuzz-coverage:
	@tools/deps fuzz
	@tests/fuzz/coverage

# On a kernel that has DAMON, under QEMU; KERNEL=: see there. Without QEMU it says so and is done.
vm-smoke:
	@tools/deps vm || echo 'vm-smoke: going on; what is missing is a skip that says so'
	@$(MAKE) --no-print-directory all
	ninja -C $(BUILD) all # the tests as well
	@tests/vm/run smoke $(BUILD) || [ $$? -eq 77 ]
	@tests/vm/run damon $(BUILD) || [ $$? -eq 77 ]

# All of it, three quarters of an hour under TCG.
vm: vm-smoke
	@set -e; for script in stripes heat workloads cgroup integ experiment; do \
		tests/vm/run $$script $(BUILD) || [ $$? -eq 77 ]; \
	done

demo:
	@tools/deps
	@$(MAKE) --no-print-directory all
	@$(BUILD)/bench/ab --demo

figures:
	@tools/deps figures || echo 'figures: going on; what is missing is a row that says so'
	@$(MAKE) --no-print-directory all
	@tools/figures $(BUILD)

# Half an hour; BUDGETS=0.1%,1% ARGS='--only heap': see there.
policy-curve:
	@tools/deps figures || echo 'policy-curve: going on; what is missing is said'
	@$(MAKE) --no-print-directory all
	@tools/policy-curve $(BUILD) $(if $(BUDGETS),--budgets $(BUDGETS)) $(ARGS)

asan:
	@PP_NO_INSTALL=1 tools/deps build
	@test -f build-asan/build.ninja || meson setup build-asan -Db_sanitize=address,undefined -Db_lundef=false
	ninja -C build-asan

# As root after a user's `make`: touches the build directory only if PREFIX is another one.
set-prefix = meson introspect $(BUILD) --buildoptions | \
	grep -qF '"name": "prefix", "value": "$(PREFIX)"' || meson configure $(BUILD) -Dprefix=$(PREFIX)

# The prefix stands in the programs, too: it is set before they are built.
install: $(BUILD)/build.ninja
	@$(set-prefix)
	ninja -C $(BUILD) product
	DESTDIR='$(DESTDIR)' meson install -C $(BUILD) --no-rebuild --quiet
	@test -n '$(DESTDIR)' || ! command -v ldconfig >/dev/null || ldconfig
	@echo 'As a service: systemd-sysusers && systemctl enable --now process-pagerd.socket'

uninstall:
	@$(set-prefix)
	@tools/uninstall $(BUILD) '$(DESTDIR)'

clean:
	rm -rf build build-asan build-tsan build-clang build-fuzz build-coverage
