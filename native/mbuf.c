/* SPDX-License-Identifier: Apache-2.0
 *
 * Packet buffers. Allocation and freeing take DPDK's inline path: for a thread with an lcore id both are a copy to or
 * from that thread's own cache, and only an empty or overfull cache touches the shared ring.
 */
#include <stdio.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_mbuf_pool_ops.h>
#include <rte_mempool.h>
#include <rte_memzone.h>

#include "export.h"

static void free_memory(struct rte_mempool_memhdr *chunk, void *memory)
{
	(void)chunk;
	rte_memzone_free(memory);
}

/* Memory for all buffers in one piece, one buffer behind the other. */
static int populate(struct rte_mempool *pool)
{
	char name[RTE_MEMZONE_NAMESIZE];
	const struct rte_memzone *memory;
	size_t size = (size_t)pool->size * (pool->header_size + pool->elt_size + pool->trailer_size);
	int result;

	if (snprintf(name, sizeof(name), "%s_buffers", pool->name) >= (int)sizeof(name))
		return -ENAMETOOLONG;
	memory = rte_memzone_reserve_aligned(name, size, pool->socket_id, 0, RTE_MEMPOOL_ALIGN);
	if (memory == NULL)
		return -rte_errno;
	result = rte_mempool_populate_iova(pool, memory->addr, memory->iova, memory->len, free_memory,
					   (void *)(uintptr_t)memory);
	if (result <= 0) {
		rte_memzone_free(memory);
		return result < 0 ? result : -ENOBUFS;
	}
	return result == (int)pool->size ? 0 : -ENOMEM;
}

/* As rte_pktmbuf_pool_create, which without hugepages begins every buffer at a page of 4 KiB: half of the memory stays
 * empty, and the first lines of all buffers share a few sets of the first cache, which keeps a dozen of them then. Without
 * hugepages devices know virtual addresses only, so that a buffer may lie in two pages. */
static struct rte_mempool *create_dense(const char *name, uint32_t count, uint32_t cache, uint16_t private_size,
					uint16_t data_room, int socket)
{
	struct rte_pktmbuf_pool_private room = {.mbuf_data_room_size = data_room, .mbuf_priv_size = private_size};
	struct rte_mempool *pool;
	int result;

	if (private_size % RTE_MBUF_PRIV_ALIGN != 0) {
		rte_errno = EINVAL;
		return NULL;
	}
	pool = rte_mempool_create_empty(name, count, sizeof(struct rte_mbuf) + private_size + data_room, cache, sizeof(room),
					socket, RTE_MEMPOOL_F_NO_IOVA_CONTIG);
	if (pool == NULL)
		return NULL;
	result = rte_mempool_set_ops_byname(pool, rte_mbuf_best_mempool_ops(), NULL);
	if (result == 0) {
		rte_pktmbuf_pool_init(pool, &room);
		result = populate(pool);
	}
	if (result != 0) {
		rte_mempool_free(pool);
		rte_errno = -result;
		return NULL;
	}
	rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
	return pool;
}

struct rte_mempool *dps_pool_create(const char *name, uint32_t count, uint32_t cache, uint16_t private_size,
				    uint16_t data_room, int socket, int *error)
{
	struct rte_mempool *pool;

	rte_errno = 0;
	pool = rte_eal_has_hugepages() || rte_eal_iova_mode() != RTE_IOVA_VA
		       ? rte_pktmbuf_pool_create(name, count, cache, private_size, data_room, socket)
		       : create_dense(name, count, cache, private_size, data_room, socket);
	*error = pool != NULL ? 0 : rte_errno != 0 ? -rte_errno : -ENOMEM;
	return pool;
}

void dps_pool_free(struct rte_mempool *pool)
{
	rte_mempool_free(pool);
}

uint32_t dps_pool_available(const struct rte_mempool *pool)
{
	return rte_mempool_avail_count(pool);
}

uint32_t dps_pool_size(const struct rte_mempool *pool)
{
	return pool->size;
}

int dps_mbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **mbufs, uint32_t count)
{
	return rte_pktmbuf_alloc_bulk(pool, mbufs, count);
}

struct rte_mbuf *dps_mbuf_alloc(struct rte_mempool *pool)
{
	return rte_pktmbuf_alloc(pool);
}

void dps_mbuf_free(struct rte_mbuf *mbuf)
{
	rte_pktmbuf_free(mbuf);
}

void dps_mbuf_free_bulk(struct rte_mbuf **mbufs, uint32_t count)
{
	rte_pktmbuf_free_bulk(mbufs, count);
}

void dps_mbuf_ref(struct rte_mbuf *mbuf, int16_t delta)
{
	rte_pktmbuf_refcnt_update(mbuf, delta);
}

uint16_t dps_mbuf_refcnt(const struct rte_mbuf *mbuf)
{
	return rte_mbuf_refcnt_read(mbuf);
}

struct rte_mbuf *dps_mbuf_copy(const struct rte_mbuf *mbuf, struct rte_mempool *pool, uint32_t offset, uint32_t length)
{
	return rte_pktmbuf_copy(mbuf, pool, offset, length);
}

void *dps_mbuf_private(struct rte_mbuf *mbuf)
{
	return rte_mbuf_to_priv(mbuf);
}

int dps_mbuf_check(const struct rte_mbuf *mbuf, const char **reason)
{
	return rte_mbuf_check(mbuf, 1, reason);
}
