# Two commands to start: `make run`, `make check`. Everything else is explained by `make help`.
#
# BUILD=release (default) | debug | asan | tsan chooses how it is built; each has its own folder.
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
SHELL := /bin/sh

BUILD ?= release
PREFIX ?= /usr/local
ifeq ($(origin CC),default)
CC := gcc
endif
O := $(if $(filter release,$(BUILD)),build,build/$(BUILD))

VERSION := 0.1.0
MODES := release debug asan tsan fuzz
$(if $(filter $(BUILD),$(MODES)),,$(error BUILD is '$(BUILD)'; choose one of $(MODES)))

flags_release := -O2 -g -DNDEBUG
flags_debug := -O0 -g3
flags_asan := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
flags_tsan := -O1 -g -fno-omit-frame-pointer -fsanitize=thread
flags_fuzz := -O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined

PACKAGES := ncursesw libgit2 sqlite3 libpcre2-8 libutf8proc md4c libxxhash libzstd libcjson inih libcurl libcrypto libzip zlib
HAVE_PACKAGES := $(shell pkg-config --exists $(PACKAGES) 2>/dev/null && echo yes)

WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wwrite-strings
# CPPFLAGS, CFLAGS and LDFLAGS stay the person's own; they come last, so they win.
cppflags := -I. -D_GNU_SOURCE -DKG_VERSION='"$(VERSION)"' $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null) $(CPPFLAGS)
cflags := -std=c11 $(WARN) $(flags_$(BUILD)) -ffp-contract=off -pthread
ldflags := $(filter -fsanitize% -fno-sanitize%,$(flags_$(BUILD))) -pthread $(LDFLAGS)
# libcurl is loaded when it is needed: engine/catalogue/curl_library.h.
LIBS := $(filter-out -lcurl,$(shell pkg-config --libs $(PACKAGES) 2>/dev/null)) -ldl -lm

# Instruction sets are chosen at run time; only these files may use them.
flags_avx2 := -mavx2 -mfma -mf16c -mbmi2
flags_avxvnni := $(flags_avx2) -mavxvnni
flags_avx512 := -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mfma -mf16c -mbmi2
# Unrolled code under sanitizers takes minutes to compile; checks by call take seconds.
simd_release := -O3
simd_debug := -O1
simd_tsan := -O1
simd_asan := -O1 -g1 -fno-sanitize=undefined --param asan-instrumentation-with-call-threshold=0
$(O)/%_avx2.o: simd := $(simd_$(BUILD)) $(flags_avx2)
$(O)/%_avxvnni.o: simd := $(simd_$(BUILD)) $(flags_avxvnni)
$(O)/%_avx512.o: simd := $(simd_$(BUILD)) $(flags_avx512)

# The order of the libraries is the direction of the includes.
sources = $(wildcard $(1)/*.c $(1)/*/*.c)
tui_sources := $(call sources,tui)
engine_sources := $(call sources,engine)
index_sources := $(call sources,repo-index)
kernel_sources := $(filter-out kernels/cuda/planes.c,$(call sources,kernels))
base_sources := $(call sources,base)
main_source := tui/main.c
objects = $(patsubst %.c,$(O)/%.o,$(1))

LIBRARIES := $(O)/libkedge-tui.a $(O)/libkedge-index.a $(O)/libkedge-engine.a $(O)/libkedge-kernels.a $(O)/libkedge-base.a
$(O)/libkedge-tui.a: $(call objects,$(filter-out $(main_source),$(tui_sources)))
$(O)/libkedge-index.a: $(call objects,$(index_sources))
$(O)/libkedge-engine.a: $(call objects,$(engine_sources))
$(O)/libkedge-kernels.a: $(call objects,$(kernel_sources))
$(O)/libkedge-base.a: $(call objects,$(base_sources))

.PHONY: all
all: packages-present $(O)/kedge

.PHONY: packages-present
packages-present:
ifneq ($(HAVE_PACKAGES),yes)
	@echo "make: libraries are missing; run 'make packages' (needs root or sudo) or 'make run', which does it" >&2; exit 1
endif

$(O)/kedge: $(call objects,$(main_source)) $(LIBRARIES) $(O)/flags
	@echo "  link  $@"
	@$(CC) $(ldflags) -o $@ $(filter %.o %.a,$^) $(LIBS)

$(O)/%.a: $(O)/sources
	@rm -f $@
	@$(AR) rcs $@ $(filter %.o,$^)

$(O)/%.o: %.c $(O)/flags
	@mkdir -p $(@D)
	@echo "  cc    $<"
	@$(CC) $(cppflags) $(cflags) $(simd) $(CFLAGS) -MMD -MP -c -o $@ $<

$(O)/engine/catalogue/builtin.o: config/models.conf
$(O)/engine/bench_copy.o: engine/bench_copy.txt
$(O)/tui/screen/builtin_themes.o: $(wildcard config/themes/*.theme)

include mk/install.mk
include mk/test.mk
include mk/bench.mk
include mk/cuda.mk
include mk/eval.mk

# What everything is built with, and from: when flags change or a file comes or goes, what depends on it is out of date.
quote = '$(subst ','\'',$(1))'
flags_now := $(strip $(CC) $(cppflags) $(cflags) $(flags_avxvnni) $(flags_avx512) $(CFLAGS) $(ldflags) $(LIBS))
sources_now := $(strip $(sort $(tui_sources) $(index_sources) $(engine_sources) $(kernel_sources) $(base_sources) $(test_support)))
ifneq ($(strip $(file <$(O)/flags)),$(flags_now))
$(O)/flags: out-of-date
endif
ifneq ($(strip $(file <$(O)/sources)),$(sources_now))
$(O)/sources: out-of-date
endif
$(O)/flags $(O)/sources: | packages-present
	@mkdir -p $(@D)
	@printf '%s\n' $(call quote,$($(@F)_now)) >$@
.PHONY: out-of-date
out-of-date:

.PHONY: clean
clean:
	rm -rf build

.PHONY: help
help:
	@sed -n 's/^## //p' Makefile mk/*.mk

## make                 build/kedge
## make run [REPO=path] install what is needed, build, fetch the model, open the assistant
## make check           install what tests need and run all of them
## make check-long      the same with full counts
## make bench           speed and memory of the models that are here, JSON lines; MODELS="smol q05", THREADS="1 2",
##                      DEPTHS="0 4096" (tokens in front of what is read and generated), ROUNDS=3; PEER=path-to-llama-bench
##                      measures both in turns and prints ratios, with a table at the end (ik_llama.cpp's too:
##                      PEER_OPTIONS="-rtr 1" repacks there)
## make bench-open      how long a conversation with TOKENS=30000 of context takes to open, and its next answer to begin;
##                      PEER=path-to-llama-server restores a slot beside it
## make bench-interface how soon the interface answers keys, draws its first screen and scrolls, JSON lines
## make bench-places [FILES=80000]
##                      how long a key of an @name takes in a repository of so many files, JSON lines
## make bench-written   bytes that an hour of scripted chat writes, against what is new in it
## make bench-sqlite    what SQLite's settings cost the cache: tests/bench/SQLITE.md
## make bench-index REPO=path [FILES=4000]
##                      how long the index of a copy of it takes to be made, opened, asked and kept up to date
## make eval-index REPO=path [COMMITS=200] [AIDER=python]
##                      how well files are chosen: its past commits as questions, beside BM25 and, with a Python that
##                      has aider-chat, aider's repo map: tests/eval/INDEX.md
## make lint            clang-tidy over everything
## make install PREFIX=/usr/local DESTDIR=    and make uninstall
## make clean
## BUILD=debug|asan|tsan before any of these

objects_now := $(call objects,$(sources_now) $(main_source) $(test_sources))
-include $(objects_now:.o=.d)
