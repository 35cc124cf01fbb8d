/* Finds the CUDA backend, which is a shared object of its own (make cuda). */
#ifndef KG_KERNELS_CUDA_LOAD_H
#define KG_KERNELS_CUDA_LOAD_H

#include "kernels/backend.h"

/* The backend, loaded at the first call and kept; NULL where there is no NVIDIA driver or no such object, or one that was
 * built for another kedge. It is looked for beside the program and in ../lib/kedge from there. KEDGE_CUDA=file names it
 * instead, and asks for no driver; an empty one: there is none. */
const struct kg_backend *kg_cuda_load(void);

#endif
