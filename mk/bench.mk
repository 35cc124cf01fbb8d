# Measures every model that is here, or MODELS="smol q05"; each figure is printed as it comes. Fewer threads than CPUs are
# pinned to the last ones, and so is the peer. REALTIME=1 (root) keeps others off them, where the machine is shared;
# REPEATS is what a peer's measurement in a round is the median of.
.PHONY: bench
bench: packages
	@$(MAKE) -s --no-print-directory all
	@MODELS="$(MODELS)" THREADS="$(THREADS)" DEPTHS="$(or $(DEPTHS),0)" ROUNDS="$(or $(ROUNDS),1)" PEER="$(PEER)" PEER_OPTIONS="$(PEER_OPTIONS)" \
		REPEATS="$(or $(REPEATS),5)" REALTIME="$(REALTIME)" PREFILL="$(or $(PREFILL),512)" DECODE="$(or $(DECODE),64)" mk/bench $(O)/kedge

# Products of weights by type and number of rows, for those who change kernels/cpu; COLS=896 chooses their length.
MATMUL_BENCH := $(O)/tests/bench/matmul_bench
.PHONY: bench-kernels
bench-kernels: $(MATMUL_BENCH)
	@$(MATMUL_BENCH) $(or $(THREADS),1) $(or $(COLS),1536)

$(MATMUL_BENCH): $(call objects,tests/bench/matmul_bench.c tests/unit/quantise.c tests/unit/seeded.c) $(O)/libkedge-kernels.a $(O)/libkedge-base.a
	@echo "  link  $@"
	@$(CC) $(ldflags) $(LDFLAGS) -o $@ $^ -lm

# What of full attention a choice of tokens keeps, by parameter: make study-recall TEXT="FILE..." [MODEL=q05] [NAME=project]
# [TOKENS=8192] [RUNS=8]. Writes tests/bench/RECALL.md of all that was measured in this build folder so far.
RECALL_STUDY := $(O)/tests/bench/recall_study_bench
recall_study_sources := $(wildcard tests/bench/recall_study*_bench.c)
$(call objects,$(recall_study_sources)): simd := -O3 $(flags_avx2)
.PHONY: study-recall
study-recall: $(RECALL_STUDY)
	@test -n "$(TEXT)" || { echo "make: give a text: make study-recall TEXT=\"FILE...\" [MODEL=q05]" >&2; exit 2; }
	@mkdir -p $(O)/study
	@$(RECALL_STUDY) $(or $(MODEL),q05) "$(or $(NAME),a text)" $(or $(TOKENS),8192) $(or $(RUNS),8) $(TEXT) >$(O)/study/new
	@mv $(O)/study/new "$(O)/study/$(notdir $(or $(MODEL),q05))-$(or $(NAME),a text).json"
	@tests/bench/recall_study.py $(O)/study tests/bench/RECALL.md

$(RECALL_STUDY): $(call objects,$(recall_study_sources)) $(O)/libkedge-engine.a $(O)/libkedge-kernels.a $(O)/libkedge-base.a
	@echo "  link  $@"
	@$(CC) $(ldflags) -o $@ $^ $(LIBS)
# Recall at a depth; DEPTH=16384 ROWS=1 BITS=2.
RECALL_BENCH := $(O)/tests/bench/recall_bench
.PHONY: bench-recall
bench-recall: $(RECALL_BENCH)
	@$(RECALL_BENCH) $(or $(THREADS),1) $(or $(DEPTH),16384) $(or $(ROWS),1) $(or $(BITS),2)

$(RECALL_BENCH): $(call objects,tests/bench/recall_bench.c tests/unit/seeded.c) $(O)/libkedge-kernels.a $(O)/libkedge-base.a
	@echo "  link  $@"
	@$(CC) $(ldflags) $(LDFLAGS) -o $@ $^ -lm

# What a large context costs a new process; MODEL=q05 TOKENS=30000 REPO=. (the first run reads the context, the others do not).
.PHONY: bench-open
bench-open: all
	@TOKENS="$(TOKENS)" MODEL="$(MODEL)" ROUNDS="$(ROUNDS)" THREADS="$(THREADS)" PEER="$(PEER)" \
	    mk/bench-open $(O)/kedge "$(or $(REPO),.)" "$(O)/open-$(or $(MODEL),q05)-$(or $(TOKENS),30000)"

# Bytes that an hour of chat writes, against what is new in it; MODEL=smol TURNS=30.
.PHONY: bench-written
bench-written: all
	@tests/bench/written.py $(O)/kedge "$(or $(MODEL),smol)" $(or $(TURNS),30)

# What SQLite's settings cost the cache: writes tests/bench/SQLITE.md; MEGABYTES=256, and a DIRECTORY on the disk in question.
SQLITE_BENCH := $(O)/tests/bench/sqlite_bench
.PHONY: bench-sqlite
bench-sqlite: $(SQLITE_BENCH)
	@mkdir -p $(or $(DIRECTORY),$(O)/sqlite)
	@$(SQLITE_BENCH) $(or $(DIRECTORY),$(O)/sqlite) $(or $(MEGABYTES),256) >$(O)/sqlite.md
	@mv $(O)/sqlite.md tests/bench/SQLITE.md
	@cat tests/bench/SQLITE.md

$(SQLITE_BENCH): $(call objects,tests/bench/sqlite_bench.c tests/unit/seeded.c)
	@echo "  link  $@"
	@$(CC) $(ldflags) -o $@ $^ $(LIBS)

# The index of a copy of a repository, or of as many of its files: first reading, second start, branches, questions, edits.
INDEX_BENCH := $(O)/tests/bench/index_bench
.PHONY: bench-index
bench-index: $(INDEX_BENCH)
	@test -n "$(REPO)" || { echo "make: give a repository: make bench-index REPO=path [FILES=4000] [ROUNDS=3]" >&2; exit 2; }
	@ROUNDS="$(ROUNDS)" mk/bench-index $(abspath $(INDEX_BENCH)) "$(REPO)" $(FILES)

$(INDEX_BENCH): $(call objects,tests/bench/index_bench.c) $(O)/libkedge-index.a $(O)/libkedge-base.a
	@echo "  link  $@"
	@$(CC) $(ldflags) -o $@ $^ $(LIBS)
# How soon the interface answers, through a pseudo-terminal, with a scripted engine and with a real model: JSON lines.
.PHONY: bench-interface
bench-interface: $(O)/tests/screens/pace_test $(O)/tests/screens/real_pace_test models-for-tests
	@for test in pace real_pace; do \
	    O=$(O) PACE_JSON=1 CMOCKA_MESSAGE_OUTPUT=TAP $(O)/tests/screens/$${test}_test 2>$(O)/bench-interface.log | grep '^{' || { cat $(O)/bench-interface.log >&2; exit 1; }; \
	done

# How long a key of an @name takes where there are many files: FILES=80000 DIRECTORY=place for them.
PLACES_BENCH := $(O)/tests/bench/places_bench
.PHONY: bench-places
bench-places: $(PLACES_BENCH)
	@place=$$(mktemp -d "$(or $(DIRECTORY),$${TMPDIR:-/tmp})/kedge-bench-XXXXXX") && trap 'rm -rf "$$place"' EXIT && $(PLACES_BENCH) $(or $(FILES),80000) "$$place"

$(PLACES_BENCH): $(call objects,tests/bench/places_bench.c) $(O)/libkedge-index.a $(O)/libkedge-base.a
	@echo "  link  $@"
	@$(CC) $(ldflags) -o $@ $^ $(LIBS)
