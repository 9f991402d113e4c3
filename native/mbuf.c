/* SPDX-License-Identifier: Apache-2.0
 *
 * Packet buffers. Allocation and freeing take DPDK's inline path: for a thread with an lcore id both are a copy to or
 * from that thread's own cache, and only an empty or overfull cache touches the shared ring.
 */
#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "export.h"

struct rte_mempool *dps_pool_create(const char *name, uint32_t count, uint32_t cache, uint16_t private_size,
				    uint16_t data_room, int socket, int *error)
{
	struct rte_mempool *pool;

	rte_errno = 0;
	pool = rte_pktmbuf_pool_create(name, count, cache, private_size, data_room, socket);
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
