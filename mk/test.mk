# Every tests/unit/*_test.c is one cmocka program; every tests/*/*_test.sh is one script that prints
# "ok NAME" or "not ok NAME" lines. tests/run runs them all and prints the closing count.
CHECK_LONG ?= 0
test_sources := $(wildcard tests/unit/*_test.c tests/screens/*_test.c tests/faults/*_test.c tests/fuzz/*_test.c)
test_programs := $(patsubst %.c,$(O)/%,$(test_sources))
test_support := $(filter-out %_test.c,$(wildcard tests/unit/*.c tests/screens/*.c tests/faults/*.c tests/fuzz/*.c))
TEST_LIBS := $(shell pkg-config --libs cmocka vterm 2>/dev/null) -lutil

$(O)/tests/%_test: $(O)/tests/%_test.o $(call objects,$(test_support)) $(LIBRARIES)
	@echo "  link  $@"
	@$(CC) $(LDFLAGS) -o $@ $^ $(TEST_LIBS) $(LIBS)

.PHONY: test-programs check check-long check-only
.SECONDARY:
test-programs: $(test_programs)

check: packages-for-tests
	@$(MAKE) --no-print-directory check-only

check-long:
	@$(MAKE) --no-print-directory check CHECK_LONG=1

check-only: all test-programs
	@O=$(O) CHECK_LONG=$(CHECK_LONG) tests/run $(TESTS)

.PHONY: lint
lint:
	@clang-tidy --quiet $(sort $(wildcard $(addsuffix /*.c,base kernels kernels/* engine engine/* repo-index repo-index/* tui tui/*))) -- $(CPPFLAGS) -std=c11
