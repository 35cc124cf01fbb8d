# The CUDA backend, and the emulator that runs it without a GPU. Only these need nvcc; nothing else needs these.
NVCC := $(shell command -v nvcc || ls /usr/local/cuda/bin/nvcc 2>/dev/null)
CUDA_ROOT := $(if $(NVCC),$(patsubst %/bin/nvcc,%,$(realpath $(NVCC))))
# BUILD=asan: host code and the emulator are built with the sanitizers, too; kernels are checked by the emulator itself. (BUILD=tsan
# knows nothing of the emulator's threads, which are fibers, so that nothing of this is built with it.)
comma := ,
sanitizers := $(subst address$(comma)undefined,address -fsanitize=undefined,$(filter -fsanitize=address% -fno-sanitize%,$(flags_$(BUILD))))
NVCC_FLAGS := $(addprefix -Xcompiler ,$(sanitizers)) -std=c++20 -fmad=false -Werror all-warnings -I. -Xcompiler -fPIC,-Wall,-Wextra,-fvisibility=hidden

# make cuda: a shared object that kedge loads where there is a driver; for each architecture, and as PTX for later ones.
# An nvcc that does not know the last ones leaves them to the PTX. Spilled registers, and arrays in local memory, are errors of the nvcc that
# registers were counted with; another one counts otherwise, and what it spills is slower and not wrong.
CUDA_ARCHITECTURES = $(filter $(patsubst compute_%,%,$(shell $(NVCC) --list-gpu-arch)),75 80 86 89 90 100 120)
cuda_code = $(foreach a,$(CUDA_ARCHITECTURES),-gencode arch=compute_$(a),code=sm_$(a)) \
    $(foreach a,$(lastword $(CUDA_ARCHITECTURES)),-gencode arch=compute_$(a),code=compute_$(a))
cuda_release = $(shell $(NVCC) --version 2>/dev/null | sed -n 's/.*release \([0-9]*\)\..*/\1/p')
spills = $(if $(filter 13,$(cuda_release)),-Xptxas -Werror$(comma)-warn-spills$(comma)-warn-lmem-usage)
cuda_sources := $(wildcard kernels/cuda/*.cu)
# What of the rest it needs; hidden, so that it may be loaded by a program that has the same.
cuda_parts := kernels/cuda/planes.c kernels/thread_pool.c kernels/usable_threads.c kernels/type.c base/status.c
cuda_part_objects := $(patsubst %.c,$(O)/cuda/%.o,$(cuda_parts))

.PHONY: cuda
cuda: cuda-present $(O)/libkedge-cuda.so

cudadir := $(DESTDIR)$(PREFIX)/lib/kedge
.PHONY: install-cuda uninstall-cuda
install-cuda: cuda
	install -d "$(cudadir)"
	install -m 644 $(O)/libkedge-cuda.so "$(cudadir)"

uninstall-cuda:
	rm -rf "$(cudadir)"

$(O)/libkedge-cuda.so: $(patsubst %.cu,$(O)/cuda/%.o,$(cuda_sources)) $(cuda_part_objects)
	@echo "  link  $@"
	@$(NVCC) $(NVCC_FLAGS) -shared -cudart static -Xlinker --no-undefined -o $@ $^

$(O)/cuda/%.o: %.cu mk/cuda.mk
	@mkdir -p $(@D)
	@echo "  nvcc  $<"
	@$(NVCC) $(NVCC_FLAGS) -O2 $(cuda_code) $(spills) -c -MD -MF $@.d -MT $@ -o $@ $<

$(O)/cuda/%.o: %.c $(O)/flags
	@mkdir -p $(@D)
	@echo "  cc    $<"
	@$(CC) $(cppflags) $(filter-out -fsanitize=thread,$(cflags)) -fPIC -fvisibility=hidden $(CFLAGS) -MMD -MP -c -o $@ $<

# What the emulator runs is made from the same source by the same compiler: host code as it is, kernels from their PTX.
E := $(O)/emulator
EMULATED := compute_80
emulator_flags := -std=c++20 -O2 -g -Wall -Wextra -Werror -fPIC -fvisibility=hidden -I.
emulator_objects := $(patsubst %.cpp,$(E)/%.o,$(wildcard tests/emulator/*.cpp))

$(E)/%.o: %.cpp $(wildcard tests/emulator/*.h)
	@mkdir -p $(@D)
	@echo "  c++   $<"
	@$(CXX) $(emulator_flags) $(sanitizers) -isystem $(CUDA_ROOT)/include -c -o $@ $<

$(E)/%.ptx: %.cu
	@mkdir -p $(@D)
	@echo "  ptx   $<"
	@$(NVCC) $(NVCC_FLAGS) -O2 -lineinfo -arch=$(EMULATED) -ptx -MD -MF $@.d -MT $@ -o $@ $<

$(E)/%.ptx.cpp: $(E)/%.ptx tests/emulator/ptx2cpp.py $(wildcard tests/emulator/ptx/*.py)
	@tests/emulator/ptx2cpp.py $< >$@

# (registers that nothing reads are the compiler's business, not a mistake)
$(E)/%.ptx.o: $(E)/%.ptx.cpp $(wildcard tests/emulator/*.h)
	@echo "  c++   $<"
	@$(CXX) $(emulator_flags) -O2 -g1 -Wno-unused -mavx2 -mfma -mf16c -ffp-contract=off -c -o $@ $<

$(E)/%.host.o: %.cu
	@mkdir -p $(@D)
	@echo "  nvcc  $<"
	@$(NVCC) $(NVCC_FLAGS) -O2 -g -arch=$(EMULATED) -cudart none -c -MD -MF $@.d -MT $@ -o $@ $<

.SECONDARY:
$(E)/tests/emulator/kernels/%: $(E)/tests/emulator/kernels/%.host.o $(E)/tests/emulator/kernels/%.ptx.o $(emulator_objects)
	@echo "  link  $@"
	@$(CXX) $(sanitizers) -o $@ $^

$(E)/tests/emulator/kernels/packed: $(O)/cuda/tests/emulator/kernels/pack_planes.o $(cuda_part_objects)

$(E)/libkedge-cuda.so: $(patsubst %.cu,$(E)/%.host.o,$(cuda_sources)) $(patsubst %.cu,$(E)/%.ptx.o,$(cuda_sources)) $(emulator_objects) $(cuda_part_objects)
	@echo "  link  $@"
	@$(CXX) $(sanitizers) -shared -Wl,--no-undefined -o $@ $^

# The suite of all backends, smaller.
conformance := $(patsubst tests/unit/%.c,%,$(wildcard tests/unit/kernels_conformance_*_test.c))
$(E)/tests/unit/%.o: tests/unit/%.c $(O)/flags
	@mkdir -p $(@D)
	@echo "  cc    $<"
	@$(CC) $(cppflags) $(cflags) $(CFLAGS) -DCONFORMANCE_ROWS=10 -DCONFORMANCE_EVERY=4 -MMD -MP -c -o $@ $<

cuda_programs := $(patsubst tests/emulator/cuda/%.c,$(E)/tests/emulator/cuda/%,$(wildcard tests/emulator/cuda/*.c))
$(cuda_programs): $(E)/%: $(E)/%.o $(E)/tests/unit/seeded.o $(E)/tests/unit/model_run.o $(O)/libkedge-engine.a $(O)/libkedge-kernels.a $(O)/libkedge-base.a
	@echo "  link  $@"
	@$(CC) $(ldflags) -o $@ $^ $(TEST_LIBS) $(LIBS)

$(E)/tests/emulator/cuda/%.o: tests/emulator/cuda/%.c $(O)/flags
	@mkdir -p $(@D)
	@echo "  cc    $<"
	@$(CC) $(cppflags) $(cflags) $(CFLAGS) -MMD -MP -c -o $@ $<

$(E)/tests/unit/%_test: $(E)/tests/unit/%_test.o $(patsubst %,$(E)/tests/unit/%.o,conformance seeded quantise recall_scene recall_judge) $(O)/libkedge-kernels.a $(O)/libkedge-base.a
	@echo "  link  $@"
	@$(CC) $(ldflags) -o $@ $^ $(TEST_LIBS) -lm

.PHONY: cuda-present emulator-tests cuda-tests
cuda-present:
	@test -n "$(NVCC)" || { echo "make: nvcc is missing; install the CUDA toolkit, 12.0 or newer, or build without it" >&2; exit 1; }
	@test "$(cuda_release)" -ge 12 || { echo "make: $(NVCC) is of CUDA $(cuda_release); 12.0 or newer is needed" >&2; exit 1; }

cuda-tests: $(E)/libkedge-cuda.so $(cuda_programs) $(patsubst %,$(E)/tests/unit/%,$(conformance))
emulator-tests: $(patsubst %.cu,$(E)/%,$(wildcard tests/emulator/kernels/*.cu))

-include $(wildcard $(E)/*/*/*.d $(E)/*/*/*/*.d $(O)/cuda/*/*/*.d)

# The programs of the conformance suite are those of every backend on a card, smaller ones in the emulator, which a card does not need.
.PHONY: check-cuda check-cuda-only
check-cuda: packages-for-tests
	@$(MAKE) --no-print-directory check-cuda-only

check-cuda-only: all models-for-tests $(if $(filter real,$(DEVICE)),cuda $(cuda_programs) $(patsubst %,$(O)/tests/unit/%,$(conformance)),cuda-tests)
	@DEVICE="$(DEVICE)" MODELS="$(MODELS)" DEPTHS="$(DEPTHS)" PEER="$(PEER)" mk/check-cuda $(O)

.PHONY: roofline
roofline: cuda-tests
	@KEDGE_CUDA=$(abspath $(E)/libkedge-cuda.so) tests/emulator/roofline.py $(E)/tests/emulator/cuda/decode >$(O)/roofline.md
	@echo $(O)/roofline.md

## make check-cuda      the CUDA backend and whole models on it, in the emulator; DEVICE=real: on a card, with speeds (PEER=llama-bench)
## make cuda            the backend for NVIDIA cards, a shared object; make install-cuda, uninstall-cuda
## make roofline        what a decoded token moves and computes on a GPU: build/roofline.md, from the emulator's counters
