# Two commands to start: `make run`, `make check`. Everything else is explained by `make help`.
#
# BUILD=release (default) | debug | asan | tsan chooses how it is built; each has its own folder.
.DEFAULT_GOAL := all
SHELL := /bin/sh

BUILD ?= release
PREFIX ?= /usr/local
CC ?= gcc
O := $(if $(filter release,$(BUILD)),build,build/$(BUILD))

VERSION := 0.1.0
MODES := release debug asan tsan
$(if $(filter $(BUILD),$(MODES)),,$(error BUILD is '$(BUILD)'; choose one of $(MODES)))

flags_release := -O2 -g -DNDEBUG
flags_debug := -O0 -g3
flags_asan := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
flags_tsan := -O1 -g -fno-omit-frame-pointer -fsanitize=thread

PACKAGES := ncursesw libgit2 sqlite3 libpcre2-8 libutf8proc md4c libxxhash libzstd libcjson inih libcurl libcrypto libzip
HAVE_PACKAGES := $(shell pkg-config --exists $(PACKAGES) 2>/dev/null && echo yes)

WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wwrite-strings
CPPFLAGS += -I. -D_GNU_SOURCE -DKG_VERSION='"$(VERSION)"' $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
CFLAGS += -std=c11 $(WARN) $(flags_$(BUILD)) -ffp-contract=off -pthread
LDFLAGS += $(filter -fsanitize% -fno-sanitize%,$(flags_$(BUILD))) -pthread
LIBS := $(shell pkg-config --libs $(PACKAGES) 2>/dev/null) -lm

# Instruction sets are chosen at run time; only these files may use them.
$(O)/%_avx2.o: CFLAGS += -O3 -mavx2 -mfma -mf16c -mbmi2
$(O)/%_avx512.o: CFLAGS += -O3 -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mfma -mf16c -mbmi2

# The order of the libraries is the direction of the includes.
sources = $(wildcard $(1)/*.c $(1)/*/*.c)
tui_sources := $(call sources,tui)
engine_sources := $(call sources,engine)
index_sources := $(call sources,repo-index)
kernel_sources := $(filter-out kernels/cuda/%,$(call sources,kernels))
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

$(O)/kedge: $(call objects,$(main_source)) $(LIBRARIES)
	@echo "  link  $@"
	@$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

$(O)/%.a:
	@rm -f $@
	@$(AR) rcs $@ $^

$(O)/%.o: %.c Makefile
	@mkdir -p $(@D)
	@echo "  cc    $<"
	@$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(O)/engine/catalogue/builtin.o: config/models.conf

include mk/test.mk
include mk/install.mk

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
## make bench           speed and memory, JSON lines  (PEER=path-to-llama-bench for ratios)
## make lint            clang-tidy over everything
## make install PREFIX=/usr/local    uninstall
## make clean
## BUILD=debug|asan|tsan before any of these

-include $(shell find $(O) -name '*.d' 2>/dev/null)
