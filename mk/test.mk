# Every tests/*/*_test.c is one cmocka program, linked with all other .c files of tests/*
# (but for programs, *_bench.c); every tests/*/*_test.sh is one
# script that prints "ok NAME" or "not ok NAME" lines (by tests/tap.sh). tests/run runs them all and prints the closing count.
CHECK_LONG ?= 0
test_sources := $(wildcard tests/*/*_test.c)
test_support := $(filter-out %_test.c %_bench.c,$(wildcard tests/*/*.c))
test_programs := $(patsubst %.c,$(O)/%,$(test_sources))
TEST_LIBS := $(shell pkg-config --libs cmocka vterm 2>/dev/null) -lutil

$(O)/tests/%_test: $(O)/tests/%_test.o $(call objects,$(test_support)) $(LIBRARIES) $(O)/flags $(O)/sources
	@echo "  link  $@"
	@$(CC) $(ldflags) -o $@ $(filter %.o %.a,$^) $(TEST_LIBS) $(LIBS)

# Their engine and index follow a script: their own definitions count, not those of the libraries.
scripted := interface browse inline keys pace random review views file_view sessions terminal typing ending
$(scripted:%=$(O)/tests/screens/%_test): ldflags += -Wl,-z,muldefs
# It reads the model of the screen, counts what is sent, and knows when there is nothing to do.
$(O)/tests/screens/random_test: ldflags += -Wl,--wrap=kg_terminal_show,--wrap=kg_terminal_heed,--wrap=write,--wrap=poll
# It is ended in the middle of what it sends.
$(O)/tests/screens/ending_test: ldflags += -Wl,--wrap=write
# Its own memory fails.
$(O)/tests/faults/talk_faults_test: ldflags += -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc

.PHONY: test-programs check check-long check-only
.SECONDARY:
test-programs: $(test_programs)

check: packages-for-tests
	@$(MAKE) --no-print-directory check-only

check-long:
	@$(MAKE) --no-print-directory check CHECK_LONG=1

check-only: all test-programs models-for-tests
	@O=$(O) BUILD=$(BUILD) CHECK_LONG=$(CHECK_LONG) tests/run $(TESTS)

# What reads a model file, without the rest, so that it can be built another way within a check.
gguf_readers := kernels/type.c $(wildcard $(addsuffix /*.c,base kernels/ref engine/gguf engine/model engine/tokenizer)) tests/fuzz/gguf_fuzz.c
gguf_mutations := $(gguf_readers) tests/fuzz/gguf_mutation_test.c tests/unit/gguf_writer.c tests/unit/tiny_model.c

# For tests/fuzz/gguf_sanitised_test.sh, with BUILD=asan.
$(O)/gguf-mutations: $(call objects,$(gguf_mutations))
	@echo "  link  $@"
	@$(CC) $(ldflags) -o $@ $^ $(TEST_LIBS) $(LIBS)

# Apart from check, because it ends only on request: make BUILD=fuzz CC=clang fuzz-gguf [FUZZ_SECONDS=600]
# What it finds belongs under tests/fuzz/corpus/gguf, which check replays.
FUZZ_SECONDS ?= 600
.PHONY: fuzz-gguf
fuzz-gguf: $(O)/fuzz-gguf
	@mkdir -p $(O)/corpus-gguf
	$(O)/fuzz-gguf -max_len=50000 -max_total_time=$(FUZZ_SECONDS) -malloc_limit_mb=400 $(O)/corpus-gguf tests/fuzz/corpus/gguf

$(O)/fuzz-gguf: $(call objects,$(gguf_readers))
	@echo "  link  $@"
	@$(CC) $(ldflags) -fsanitize=fuzzer -o $@ $^ $(LIBS)

# Apart from check, because clang-tidy is a large package.
.PHONY: lint lint-only
lint: packages-for-lint
	@$(MAKE) --no-print-directory lint-only

lint_sources := $(tui_sources) $(index_sources) $(engine_sources) $(kernel_sources) kernels/cuda/planes.c $(base_sources)
lint-only: $(patsubst %.c,$(O)/lint/%.tidy,$(lint_sources)) $(patsubst man/%,$(O)/lint/%.man,$(manuals))

# (clang 14 does not know all names that __builtin_cpu_supports takes)
$(O)/lint/%.tidy: %.c .clang-tidy
	@mkdir -p $(@D)
	@echo "  tidy  $<"
	@clang-tidy --quiet $< -- $(cppflags) -std=c11 $(lint_flags) -D'__builtin_cpu_supports(name)=(sizeof(name) > 1 && *(name))'  2>$@.log || { cat $@.log >&2; exit 1; }
	@touch $@

$(O)/lint/%_avx2.tidy: lint_flags := $(flags_avx2)
$(O)/lint/%_avxvnni.tidy: lint_flags := $(flags_avxvnni)
$(O)/lint/%_avx512.tidy: lint_flags := $(flags_avx512)

$(O)/lint/%.man: man/%
	@mkdir -p $(@D)
	@echo "  man   $<"
	@mandoc -T lint -W warning $<
	@touch $@
