/* A model on two devices: its first layers on one, the others and the output matrix on the other. */
#ifndef KG_KERNELS_SPLIT_H
#define KG_KERNELS_SPLIT_H

#include "kernels/backend.h"

struct kg_split_side {
    const struct kg_backend *backend;
    struct kg_device *device;
};

/* Everything but `open`. Pages and their indexes are those of both devices one behind the other, since a page is all layers in
 * order. What is computed on one device and needed on the other is copied through host memory; in a forward pass that is
 * the stream of activations, once. */
extern const struct kg_backend kg_backend_split;

/* sides[0] gets the first `first` of `layers` layers, and the rows of the embedding; first < layers. Takes the devices over, and
 * closes them on failure, too. Both backends have recall. */
enum kg_status kg_split_open(const struct kg_split_side sides[2], uint32_t first, uint32_t layers, struct kg_device **out, struct kg_error *err);

#endif
