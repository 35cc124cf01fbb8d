# Measures every model that is here, or MODELS="smol q05"; each figure is printed as it comes.
.PHONY: bench
bench: packages
	@$(MAKE) --no-print-directory all
	@MODELS="$(MODELS)" THREADS="$(THREADS)" DEPTHS="$(or $(DEPTHS),0)" ROUNDS="$(or $(ROUNDS),1)" PEER="$(PEER)" mk/bench $(O)/kedge
