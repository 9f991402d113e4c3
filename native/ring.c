/* SPDX-License-Identifier: Apache-2.0
 *
 * Rings of pointers between threads.
 */
#include <rte_errno.h>
#include <rte_ring.h>

#include "export.h"

struct rte_ring *dps_ring_create(const char *name, uint32_t count, int socket, uint32_t flags, int *error)
{
	struct rte_ring *ring;

	rte_errno = 0;
	ring = rte_ring_create(name, count, socket, flags);
	*error = ring != NULL ? 0 : rte_errno != 0 ? -rte_errno : -ENOMEM;
	return ring;
}

struct rte_ring *dps_ring_lookup(const char *name)
{
	return rte_ring_lookup(name);
}

void dps_ring_free(struct rte_ring *ring)
{
	rte_ring_free(ring);
}

uint32_t dps_ring_enqueue_burst(struct rte_ring *ring, void *const *objects, uint32_t count)
{
	return rte_ring_enqueue_burst(ring, objects, count, NULL);
}

uint32_t dps_ring_dequeue_burst(struct rte_ring *ring, void **objects, uint32_t count)
{
	return rte_ring_dequeue_burst(ring, objects, count, NULL);
}

uint32_t dps_ring_count(const struct rte_ring *ring)
{
	return rte_ring_count(ring);
}
