# The CUDA backend, and the emulator that runs it without a GPU. Only these need nvcc; nothing else needs these.
NVCC := $(shell command -v nvcc || ls /usr/local/cuda/bin/nvcc 2>/dev/null)
CUDA_ROOT := $(if $(NVCC),$(patsubst %/bin/nvcc,%,$(realpath $(NVCC))))
NVCC_FLAGS := -std=c++20 -fmad=false -Werror all-warnings -I. -Xcompiler -fPIC,-Wall,-Wextra,-fvisibility=hidden

# What the emulator runs is made from the same source by the same compiler: host code as it is, kernels from their PTX.
E := $(O)/emulator
EMULATED := compute_80
emulator_flags := -std=c++20 -O2 -g -Wall -Wextra -Werror -fPIC -fvisibility=hidden -I.
emulator_objects := $(patsubst %.cpp,$(E)/%.o,$(wildcard tests/emulator/*.cpp))

$(E)/%.o: %.cpp $(wildcard tests/emulator/*.h)
	@mkdir -p $(@D)
	@echo "  c++   $<"
	@$(CXX) $(emulator_flags) -isystem $(CUDA_ROOT)/include -c -o $@ $<

$(E)/%.ptx: %.cu
	@mkdir -p $(@D)
	@echo "  ptx   $<"
	@$(NVCC) $(NVCC_FLAGS) -O2 -lineinfo -arch=$(EMULATED) -ptx -MD -MF $@.d -MT $@ -o $@ $<

$(E)/%.ptx.cpp: $(E)/%.ptx tests/emulator/ptx2cpp.py
	@tests/emulator/ptx2cpp.py $< >$@

# (registers that nothing reads are the compiler's business, not a mistake)
$(E)/%.ptx.o: $(E)/%.ptx.cpp $(wildcard tests/emulator/*.h)
	@echo "  c++   $<"
	@$(CXX) $(emulator_flags) -O1 -g1 -Wno-unused -mavx2 -mfma -mf16c -ffp-contract=off -c -o $@ $<

$(E)/%.host.o: %.cu
	@mkdir -p $(@D)
	@echo "  nvcc  $<"
	@$(NVCC) $(NVCC_FLAGS) -O2 -g -arch=$(EMULATED) -cudart none -c -MD -MF $@.d -MT $@ -o $@ $<

.SECONDARY:
$(E)/tests/emulator/kernels/%: $(E)/tests/emulator/kernels/%.host.o $(E)/tests/emulator/kernels/%.ptx.o $(emulator_objects)
	@echo "  link  $@"
	@$(CXX) -o $@ $^

.PHONY: cuda-present emulator-tests
cuda-present:
	@test -n "$(NVCC)"

emulator-tests: $(patsubst %.cu,$(E)/%,$(wildcard tests/emulator/kernels/*.cu))

-include $(wildcard $(E)/*/*.d $(E)/*/*/*.d)
