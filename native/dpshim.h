/* SPDX-License-Identifier: Apache-2.0
 *
 * dpshim: a flat, stable C interface over DPDK.
 *
 * DPDK offers two kinds of things that a managed program cannot bind directly: functions that exist only inline in its
 * headers (mbuf allocation from a cached pool, reference counts, rings, the time-stamp counter), and structs whose
 * layout changes from release to release (device configuration and information). This library is compiled on the
 * target machine against the installed headers and owns both. Everything in this header has a layout that never
 * changes within one DPS_ABI_VERSION.
 *
 * Conventions: functions that return int give 0 (or a count) on success and a negative errno on failure. Addresses are
 * in network byte order, numbers in host byte order. Nothing here is thread-safe for the same port and queue.
 */
#ifndef DPSHIM_H
#define DPSHIM_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct rte_mbuf;
struct rte_mempool;
struct rte_ring;

/* Raised by every incompatible change of this header. */
#define DPS_ABI_VERSION 1

/* ---- what this library was compiled against ------------------------------------------------------------------- */

/* One struct, or one field of a struct, as the C compiler laid it out. For a struct, field is "" and offset 0; for a
 * constant that managed code has compiled in (RTE_PKTMBUF_HEADROOM), too, and size is its value. */
struct dps_layout_entry {
	const char *type;
	const char *field;
	uint32_t offset;
	uint32_t size;
};

/* DPS_ABI_VERSION of the compiled library. */
uint32_t dps_abi_version(void);
/* The DPDK release at run time, for example "DPDK 22.11.11". */
const char *dps_dpdk_version(void);
/* The layout of rte_mbuf and of every struct of this header; returns the number of entries. */
uint32_t dps_layout(const struct dps_layout_entry **entries);

/* ---- environment ---------------------------------------------------------------------------------------------- */

/* rte_eal_init. The CPU affinity of the calling thread is restored afterwards, and the run-time directory removed if it
 * is empty. The strings must stay: EAL keeps pointers into them. */
int dps_eal_init(int argc, char **argv);
int dps_eal_cleanup(void);
/* Text of a DPDK or system error number (positive or negative). */
const char *dps_strerror(int error);
/* Give the calling thread an lcore id, and with it mempool caches. -ENOMEM when all RTE_MAX_LCORE are taken. */
int dps_thread_register(void);
void dps_thread_unregister(void);
/* The lcore id of the calling thread, or UINT32_MAX for an unregistered one. */
uint32_t dps_lcore_id(void);

/* The time-stamp counter, and its frequency in Hz. */
uint64_t dps_rdtsc(void);
uint64_t dps_tsc_hz(void);

/* ---- packet buffers ------------------------------------------------------------------------------------------- */

/* data_room: bytes per buffer, headroom (RTE_PKTMBUF_HEADROOM) included, at most 65,535. private_size: a multiple of 8.
 * NULL on failure, with the reason in *error (negative errno). */
struct rte_mempool *dps_pool_create(const char *name, uint32_t count, uint32_t cache, uint16_t private_size,
				    uint16_t data_room, int socket, int *error);
void dps_pool_free(struct rte_mempool *pool);
uint32_t dps_pool_available(const struct rte_mempool *pool);
uint32_t dps_pool_size(const struct rte_mempool *pool);

/* All or nothing: 0, or -ENOENT with the array untouched. Buffers come reset, with one reference. */
int dps_mbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **mbufs, uint32_t count);
struct rte_mbuf *dps_mbuf_alloc(struct rte_mempool *pool);
/* Free whole chains. */
void dps_mbuf_free(struct rte_mbuf *mbuf);
void dps_mbuf_free_bulk(struct rte_mbuf **mbufs, uint32_t count);
/* Add to the reference count of every segment of a chain. */
void dps_mbuf_ref(struct rte_mbuf *mbuf, int16_t delta);
uint16_t dps_mbuf_refcnt(const struct rte_mbuf *mbuf);
/* A deep copy of length bytes from offset (length UINT32_MAX: to the end), in as many segments as needed, private area
 * not included. NULL when the pool is empty. */
struct rte_mbuf *dps_mbuf_copy(const struct rte_mbuf *mbuf, struct rte_mempool *pool, uint32_t offset, uint32_t length);
/* The private area of a buffer. */
void *dps_mbuf_private(struct rte_mbuf *mbuf);
/* 0 when the chain is consistent, else -1 with *reason set. */
int dps_mbuf_check(const struct rte_mbuf *mbuf, const char **reason);

/* ---- rings ---------------------------------------------------------------------------------------------------- */

/* flags: RTE ring flags (1 = single producer, 2 = single consumer). count: a power of two. */
struct rte_ring *dps_ring_create(const char *name, uint32_t count, int socket, uint32_t flags, int *error);
struct rte_ring *dps_ring_lookup(const char *name);
void dps_ring_free(struct rte_ring *ring);
uint32_t dps_ring_enqueue_burst(struct rte_ring *ring, void *const *objects, uint32_t count);
uint32_t dps_ring_dequeue_burst(struct rte_ring *ring, void **objects, uint32_t count);
uint32_t dps_ring_count(const struct rte_ring *ring);

/* ---- Ethernet devices ----------------------------------------------------------------------------------------- */

struct dps_eth_info {
	char name[64];
	char driver[32];
	uint8_t mac[8];              /* first six bytes */
	uint32_t if_index;           /* kernel interface behind the port, 0 for none */
	int32_t socket;              /* NUMA node, -1 for any */
	uint16_t max_rx_queues;
	uint16_t max_tx_queues;
	uint16_t default_rx_desc;    /* the driver's preference, or a sensible value where it has none */
	uint16_t default_tx_desc;
	uint16_t min_mtu;
	uint16_t max_mtu;
	uint32_t flags;              /* DPS_ETH_* */
	uint64_t rx_offload_capa;
	uint64_t tx_offload_capa;
};

/* dps_eth_info.flags */
#define DPS_ETH_RX_INTERRUPT 1u      /* receive queues can wake a sleeping worker; known once started with rx_interrupts */
#define DPS_ETH_TX_MULTI_SEGMENT 2u  /* chained buffers can be sent */
#define DPS_ETH_PROMISCUOUS 4u       /* frames for any destination are received */

struct dps_eth_conf {
	uint16_t rx_queues;
	uint16_t tx_queues;
	uint16_t rx_desc;            /* 0: the driver's default */
	uint16_t tx_desc;
	uint16_t mtu;                /* 0: leave */
	uint8_t promiscuous;
	uint8_t rx_interrupts;
	uint32_t reserved;
	uint64_t rx_offloads;
	uint64_t tx_offloads;
};

struct dps_eth_link {
	uint32_t speed_mbps;         /* 0: unknown */
	uint8_t up;
	uint8_t full_duplex;
	uint16_t reserved;
};

struct dps_eth_stats {
	uint64_t rx_packets, tx_packets, rx_bytes, tx_bytes;
	uint64_t rx_missed, rx_errors, tx_errors, rx_no_mbuf;
};

/* Probe a device by its devargs ("net_null0,size=64", "0000:03:00.1") and give its port id. -EEXIST when it is there,
 * -ENODEV when no driver or no device answers to the name. */
int dps_eth_attach(const char *devargs, uint16_t *port);
int dps_eth_get_info(uint16_t port, struct dps_eth_info *info);
/* -ERANGE: more queues than the port has; -ENOTSUP: an offload that it does not report. Several receive queues share the
 * load by RSS where the port has it. */
int dps_eth_configure(uint16_t port, const struct dps_eth_conf *conf, struct rte_mempool *pool);
int dps_eth_start(uint16_t port);
int dps_eth_stop(uint16_t port);
/* Stop, close and unplug, as soon as DPDK's interrupt thread is done with it. The port id may be given to another port afterwards. */
int dps_eth_detach(uint16_t port);
int dps_eth_get_link(uint16_t port, struct dps_eth_link *link);
int dps_eth_get_stats(uint16_t port, struct dps_eth_stats *stats);
int dps_eth_get_mac(uint16_t port, uint8_t *mac);
int dps_eth_set_mac(uint16_t port, const uint8_t *mac);
/* A port over two existing rings, for tests and benchmarks: what is put on rx is received, what is sent appears on tx. */
int dps_eth_from_rings(const char *name, struct rte_ring *rx, struct rte_ring *tx, uint16_t *port);
/* The descriptor that becomes readable when an armed receive queue has packets, or a negative errno: -ENOTSUP before the
 * start and where the driver has none. Watch it edge-triggered and leave reading it to the driver. */
int dps_eth_rx_intr_fd(uint16_t port, uint16_t queue);
/* Arm and disarm. Success, too, where the descriptor wakes without. */
int dps_eth_rx_intr_enable(uint16_t port, uint16_t queue);
int dps_eth_rx_intr_disable(uint16_t port, uint16_t queue);

uint16_t dps_eth_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count);
uint16_t dps_eth_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count);

#ifdef __cplusplus
}
#endif
#endif
