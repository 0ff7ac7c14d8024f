# kcmtool. A new file in a folder below is built at once: nothing to add here.
#
#   bpf/X.bpf.c -> skel/X.skel.h (struct X)        src/*.c, src/lib/*.c -> build/kcmtool
#   src/lib/*.c        -> build/libkcm.{a,so.0}    examples/X.c         -> build/examples/X
#   tests/unit/*.c, tests/bpf/*.c, tests/e2e/*.c   -> build/tests/X     (test_X.c runs under cmocka)
#   tests/bpf/X.bpf.c  -> build/tests/X.bpf.o and skel/X.skel.h
#   tests/fuzz/fuzz_X.c -> build/fuzz/fuzz_X       tests/bench/bench_X.c -> build/bench/bench_X
#                                                  (with all other tests/bench/*.c; run by X.sh)
#
# Variables: CC=gcc|clang, BUILD=DIR (separate build), SAN=address,undefined, DESTDIR=, PREFIX=.

VERSION := 0.1.0
SOVERSION := 0

PREFIX ?= /usr/local
BUILD ?= build
SKEL ?= $(if $(filter build,$(BUILD)),skel,$(BUILD)/skel)
SAN ?=
ifeq ($(origin CC),default)
CC := gcc
endif
CLANG ?= clang
BPFTOOL ?= $(shell PATH=$$PATH:/usr/sbin:/sbin command -v bpftool || echo bpftool)
RST2MAN ?= rst2man

WARN := -Wall -Wextra -Werror -Wno-unused-command-line-argument
INCLUDES := -I$(SKEL) -Ibpf -Isrc -Isrc/lib
CPPFLAGS += -D_GNU_SOURCE= -DKCM_VERSION='"$(VERSION)"' $(INCLUDES)
CFLAGS ?= -O2 -g
ALL_CFLAGS = -std=gnu11 $(filter-out $(if $(filter gcc%,$(notdir $(CC))),-Wno-unused-command-line-argument),$(WARN)) \
	-fPIC -fvisibility=hidden -pthread $(CFLAGS) $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer)
ALL_LDFLAGS = -pthread $(LDFLAGS) $(if $(SAN),-fsanitize=$(SAN)) -Wl,--as-needed
BPF_CFLAGS = -O2 -g -target bpf -mcpu=v3 -std=gnu11 -Wall -Wextra -Werror -Wno-unused-parameter \
	-Ivmlinux -Ibpf -Isrc/lib -D__KCM_BPF__

# A library is linked statically where its archive is installed.
static = $(if $(findstring /,$(shell $(CC) -print-file-name=lib$(1).a)),-l:lib$(1).a,-l$(1))
TOOL_LIBS = $(foreach l,bpf elf z jansson cap seccomp ncursesw tinfo,$(call static,$(l)))
DYN_LIBS := -lbpf -lelf -lz
TEST_LIBS := -lcmocka -ljansson -lcap -lseccomp -lncursesw -ltinfo $(DYN_LIBS)

# ---- sources ----------------------------------------------------------------------------------
BPF_SRC := $(wildcard bpf/*.bpf.c)
TEST_BPF_SRC := $(wildcard tests/bpf/*.bpf.c)
LIB_SRC := $(wildcard src/lib/*.c)
TOOL_SRC := $(wildcard src/*.c)
FAULTS_ALLOC := tests/e2e/faults_alloc.c
EXAMPLE_SRC := $(wildcard examples/*.c)
TEST_SRC := $(filter-out %.bpf.c $(FAULTS_ALLOC),$(wildcard tests/unit/*.c tests/bpf/*.c tests/e2e/*.c))
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
BENCH_SRC := $(wildcard tests/bench/bench_*.c)
BENCH_PART := $(filter-out $(BENCH_SRC),$(wildcard tests/bench/*.c))
MAN_SRC := $(wildcard src/man/*.rst.in)

LIB_OBJ := $(LIB_SRC:%.c=$(BUILD)/obj/%.o)
TOOL_OBJ := $(TOOL_SRC:%.c=$(BUILD)/obj/%.o)
LIBKCM_A := $(BUILD)/libkcm.a
LIBKCM_SO := $(BUILD)/libkcm.so.$(SOVERSION)
LIBCLI_A := $(BUILD)/libcli.a
TOOL := $(BUILD)/kcmtool
EXAMPLES := $(EXAMPLE_SRC:examples/%.c=$(BUILD)/examples/%)
TESTS := $(patsubst %.c,$(BUILD)/tests/%,$(notdir $(TEST_SRC)))
TEST_BPF := $(TEST_BPF_SRC:tests/bpf/%.bpf.c=$(BUILD)/tests/%.bpf.o)
FUZZERS := $(FUZZ_SRC:tests/fuzz/%.c=$(BUILD)/fuzz/%)
BENCHES := $(BENCH_SRC:tests/bench/%.c=$(BUILD)/bench/%)
# Programs of the tests that scripts in tests/bench run.
BENCH_TESTS := $(addprefix $(BUILD)/tests/,migrate_load migrate_server reuseport.bpf.o)
SKELS := $(BPF_SRC:bpf/%.bpf.c=$(SKEL)/%.skel.h) $(TEST_BPF_SRC:tests/bpf/%.bpf.c=$(SKEL)/%.skel.h)
MANS := $(MAN_SRC:src/man/%.rst.in=$(BUILD)/man/%)
COMPLETIONS := $(BUILD)/completion/kcmtool $(BUILD)/completion/_kcmtool

.PHONY: all libs skels tests fuzzers benches doc test check lint coverage bench soak demo fuzz deps vmlinux install clean FORCE
.DELETE_ON_ERROR:
.SECONDARY:
.SECONDEXPANSION:

all: libs $(TOOL) $(EXAMPLES) doc
libs: $(LIBKCM_A) $(LIBKCM_SO) $(BUILD)/libkcm.so
skels: $(SKELS)
tests: all $(TEST_BPF) $(TESTS) $(BUILD)/tests/faults_alloc.so
fuzzers: $(FUZZERS)
benches: libs $(BENCHES) $(BENCH_TESTS)
doc: $(MANS) $(COMPLETIONS)

# ---- BPF objects and skeletons ----------------------------------------------------------------
$(BUILD)/bpf/%.raw.o: bpf/%.bpf.c Makefile
	@mkdir -p $(@D)
	$(CLANG) $(BPF_CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/bpf/%.bpf.o: $(BUILD)/bpf/%.raw.o
	$(BPFTOOL) gen object $@ $<

$(BUILD)/tests/%.raw.o: tests/bpf/%.bpf.c Makefile
	@mkdir -p $(@D)
	$(CLANG) $(BPF_CFLAGS) -Itests/bpf -MMD -MP -c $< -o $@

$(BUILD)/tests/%.bpf.o: $(BUILD)/tests/%.raw.o
	$(BPFTOOL) gen object $@ $<

$(SKEL)/%.skel.h: $(BUILD)/bpf/%.bpf.o
	@mkdir -p $(@D)
	$(BPFTOOL) gen skeleton $< name $* > $@.tmp && mv $@.tmp $@

$(SKEL)/%.skel.h: $(BUILD)/tests/%.bpf.o
	@mkdir -p $(@D)
	$(BPFTOOL) gen skeleton $< name $* > $@.tmp && mv $@.tmp $@

# ---- user space -------------------------------------------------------------------------------
# A file waits only for the skeletons it names, so that one broken BPF program stops few others.
skels_of = $(addprefix $(SKEL)/,$(shell grep -ohE '[a-z0-9_]+\.skel\.h' $(wildcard $(1)) | sort -u))

# Rebuild everything when compiler or flags change.
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' "$(CC) $(CFLAGS) $(SAN) $(VERSION)" | cmp -s - $@ || \
		printf '%s\n' "$(CC) $(CFLAGS) $(SAN) $(VERSION)" > $@

$(BUILD)/obj/%.o: %.c $(BUILD)/flags | $$(call skels_of,$$*.c)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c $< -o $@

$(LIBKCM_A): $(LIB_OBJ)
	@mkdir -p $(@D)
	rm -f $@ && ar rcs $@ $^

$(LIBKCM_SO): $(LIB_OBJ) $(wildcard src/lib/libkcm.map)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -shared -Wl,-soname,libkcm.so.$(SOVERSION) \
		$(addprefix -Wl$(comma)--version-script=,$(wildcard src/lib/libkcm.map)) $(LIB_OBJ) -o $@ $(DYN_LIBS)

$(BUILD)/libkcm.so: $(LIBKCM_SO)
	ln -sf $(<F) $@

$(LIBCLI_A): $(filter-out $(BUILD)/obj/src/main.o,$(TOOL_OBJ))
	@mkdir -p $(@D)
	rm -f $@ && ar rcs $@ $^

$(TOOL): $(TOOL_OBJ) $(LIBKCM_A)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) $^ -o $@ $(TOOL_LIBS)

$(BUILD)/examples/%: $(BUILD)/obj/examples/%.o $(LIBKCM_A)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) $^ -o $@ $(DYN_LIBS)

# A test that includes a header of the tool (out.h, cmd.h, ...) is linked with the tool's objects too.
TOOL_HEADERS := $(notdir $(wildcard src/*.h))
cli_of = $(if $(and $(TOOL_HEADERS),$(shell grep -lE '^\#include "($(subst $(space),|,$(TOOL_HEADERS)))"' $(1))),$(LIBCLI_A))
define test_rule
$(BUILD)/tests/$(basename $(notdir $(1))): $(BUILD)/obj/$(1:.c=.o) $(call cli_of,$(1)) $(LIBKCM_A)
	@mkdir -p $$(@D)
	$$(CC) $$(ALL_CFLAGS) $$(ALL_LDFLAGS) $$(filter %.o,$$^) $$(filter %.a,$$^) -o $$@ $$(TEST_LIBS)
endef
empty :=
space := $(empty) $(empty)
comma := ,
$(foreach t,$(TEST_SRC),$(eval $(call test_rule,$(t))))

# Preloaded into the tool, for allocations that fail.
$(BUILD)/tests/faults_alloc.so: $(BUILD)/obj/$(FAULTS_ALLOC:.c=.o)
	@mkdir -p $(@D)
	$(CC) -shared $< -o $@

# Tests of histories have flow's library with programs that keep a record of packets.
HIST_OBJ := $(patsubst src/lib/%.c,$(BUILD)/obj/hist/%.o,$(shell grep -l '"flow\.skel\.h"' src/lib/*.c))
$(BUILD)/hist/flow.skel.h: $(BUILD)/tests/flowhist.bpf.o
	@mkdir -p $(@D)
	$(BPFTOOL) gen skeleton $< name flow > $@.tmp && mv $@.tmp $@

$(BUILD)/obj/hist/%.o: src/lib/%.c $(BUILD)/flags | $(BUILD)/hist/flow.skel.h
	@mkdir -p $(@D)
	$(CC) -I$(BUILD)/hist $(CPPFLAGS) $(ALL_CFLAGS) -include tests/bpf/hist_open.h -MMD -MP -c $< -o $@

HIST_TESTS := $(BUILD)/tests/test_flow_history $(BUILD)/tests/test_flow_killed
$(HIST_TESTS): $(HIST_OBJ)
$(HIST_TESTS): ALL_LDFLAGS += -Wl,--wrap=flow_grace,--wrap=bpf_link_update,--wrap=syscall

$(BUILD)/bench/%: $(BUILD)/obj/tests/bench/%.o $(BENCH_PART:%.c=$(BUILD)/obj/%.o) $(LIBKCM_A)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) $^ -o $@ $(DYN_LIBS) -ljansson -lm

# A fuzzer includes the .c files it tests; one that includes a header of the tool has the rest, too.
FUZZ_CLI := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(shell grep -lE '^\#include "($(subst $(space),|,$(TOOL_HEADERS)))"' $(FUZZ_SRC)))
$(FUZZ_CLI): $(LIBCLI_A) $(LIBKCM_A)
$(FUZZ_CLI): FUZZ_LIBS := $(LIBCLI_A) $(LIBKCM_A) -lseccomp -lncursesw -ltinfo

$(BUILD)/fuzz/%: tests/fuzz/%.c | $$(call skels_of,tests/fuzz/$$*.c)
	@mkdir -p $(@D)
	$(CLANG) $(CPPFLAGS) -std=gnu11 -g -O1 $(WARN) -MMD -MP -fsanitize=fuzzer,address,undefined \
		-fno-sanitize-recover=all $< -o $@ $(FUZZ_LIBS) $(DYN_LIBS) -ljansson -lcap

# ---- manual pages, completion -----------------------------------------------------------------
# @SYNOPSIS object@ in a page is replaced by what the command table says.
$(BUILD)/man/%: src/man/%.rst.in $(TOOL) src/man/fill
	@mkdir -p $(@D)
	src/man/fill $(TOOL) $< > $@.rst
	$(RST2MAN) --strict $@.rst $@

$(BUILD)/completion/kcmtool: $(TOOL)
	@mkdir -p $(@D)
	$(TOOL) completion bash > $@

$(BUILD)/completion/_kcmtool: $(TOOL)
	@mkdir -p $(@D)
	$(TOOL) completion zsh > $@

# ---- targets for people -----------------------------------------------------------------------
# Commands that may have to install packages first start make again: the first run could not see them.
# As many jobs as processors, unless make was told a number.
JOBS = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc))
deps:
	@tests/deps

test: deps
	@tests/deps tests/static/packages.txt || echo "deps: checks without their tool will be skipped"
	@tests/deps tests/vm/packages.txt || echo "deps: tests in virtual machines will be skipped"
	@$(MAKE) --no-print-directory $(JOBS) tests fuzzers
	@BUILD=$(BUILD) tests/run

check: test

# All system calls and allocations of every command fail in turn: hours. FAULTS="mux rx" for some.
FAULTS ?= core mux flow migrate rx sock
.PHONY: faults
faults: deps
	@$(MAKE) --no-print-directory tests
	@for system in $(FAULTS); do KCM_FAULTS=all BUILD=$(BUILD) \
		tests/run "e2e/faults.bats=^$$system:" || exit 1; done
	@KCM_FAULTS=all BUILD=$(BUILD) tests/run "e2e/load.bats=system calls?( |$$)"

fuzz: fuzzers
	@BUILD=$(BUILD) tests/run fuzz

# Stock kernels in virtual machines: KERNELS="6.1 newest" (of tests/vm/kernels.txt), MODE=full|fast.
MODE ?= full
.PHONY: vmtest vmtest-readme
vmtest: deps
	@tests/deps tests/vm/packages.txt
	@$(MAKE) --no-print-directory tests
	@BUILD=$(BUILD) tests/vm/run $(MODE) $(KERNELS)

# The table of the last `make vmtest` in README.md.
vmtest-readme:
	@BUILD=$(BUILD) tests/vm/readme

demo: deps
	@$(MAKE) --no-print-directory all
	@BUILD=$(BUILD) examples/demo.sh

bench: deps
	@$(MAKE) --no-print-directory all benches
	@for b in tests/bench/*.sh; do BUILD=$(BUILD) $$b || exit 1; done

bench-%: deps
	@$(MAKE) --no-print-directory all benches
	@BUILD=$(BUILD) tests/bench/$*.sh

# All systems at once on one server: MINUTES=60, results in $(BUILD)/soak.
MINUTES ?= 60
soak: deps
	@$(MAKE) --no-print-directory tests
	@BUILD=$(BUILD) tests/soak/run $(MINUTES)

# Both compilers, clang-tidy and what `make test` has of it; some steps: tests/lint STEP...
lint: deps
	@tests/deps tests/static/packages.txt
	@BUILD=$(BUILD) tests/lint

# Lines of src/ that the tests of COVER reach; fails below 85 %.
COVER ?= unit bpf e2e
coverage: deps
	@tests/deps tests/coverage/packages.txt
	@tests/coverage/run $(COVER)

vmlinux:
	vmlinux/generate vmlinux/types.txt > vmlinux/vmlinux.h.tmp
	mv vmlinux/vmlinux.h.tmp vmlinux/vmlinux.h

LIBDIR ?= $(PREFIX)/lib
MANDIR ?= $(PREFIX)/share/man
install: all
	install -D -m 755 $(TOOL) $(DESTDIR)$(PREFIX)/sbin/kcmtool
	install -D -m 755 $(LIBKCM_SO) $(DESTDIR)$(LIBDIR)/libkcm.so.$(SOVERSION)
	ln -sf libkcm.so.$(SOVERSION) $(DESTDIR)$(LIBDIR)/libkcm.so
	install -D -m 644 $(LIBKCM_A) $(DESTDIR)$(LIBDIR)/libkcm.a
	install -d $(DESTDIR)$(PREFIX)/include
	for h in $(wildcard src/lib/kcm*.h); do install -m 644 $$h $(DESTDIR)$(PREFIX)/include/; done
	install -d $(DESTDIR)$(LIBDIR)/pkgconfig
	sed -e 's|@PREFIX@|$(PREFIX)|g; s|@LIBDIR@|$(LIBDIR)|g; s|@VERSION@|$(VERSION)|g' src/lib/kcm.pc.in \
		> $(DESTDIR)$(LIBDIR)/pkgconfig/kcm.pc
	for m in $(MANS); do install -D -m 644 $$m $(DESTDIR)$(MANDIR)/man$${m##*.}/$${m##*/}; done
	install -D -m 644 $(BUILD)/completion/kcmtool $(DESTDIR)$(PREFIX)/share/bash-completion/completions/kcmtool
	install -D -m 644 $(BUILD)/completion/_kcmtool $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_kcmtool
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	for unit in $(notdir $(wildcard src/systemd/*.service)); do \
		sed -e 's|@PREFIX@|$(PREFIX)|g' src/systemd/$$unit \
			> $(DESTDIR)$(PREFIX)/lib/systemd/system/$$unit || exit 1; done

clean:
	rm -rf $(BUILD) $(SKEL)

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
