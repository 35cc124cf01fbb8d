# Measures every model that is here, or MODELS="smol q05"; each figure is printed as it comes.
.PHONY: bench
bench: packages
	@$(MAKE) -s --no-print-directory all
	@MODELS="$(MODELS)" THREADS="$(THREADS)" DEPTHS="$(or $(DEPTHS),0)" ROUNDS="$(or $(ROUNDS),1)" PEER="$(PEER)" mk/bench $(O)/kedge

# Products of weights by type and number of rows, for those who change kernels/cpu; COLS=896 chooses their length.
MATMUL_BENCH := $(O)/tests/bench/matmul_bench
.PHONY: bench-kernels
bench-kernels: $(MATMUL_BENCH)
	@$(MATMUL_BENCH) $(or $(THREADS),1) $(or $(COLS),1536)

$(MATMUL_BENCH): $(call objects,tests/bench/matmul_bench.c tests/unit/quantise.c tests/unit/seeded.c) $(O)/libkedge-kernels.a $(O)/libkedge-base.a
	@echo "  link  $@"
	@$(CC) $(ldflags) $(LDFLAGS) -o $@ $^ -lm
