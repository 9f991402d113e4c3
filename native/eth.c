/* SPDX-License-Identifier: Apache-2.0
 *
 * Ethernet devices. Everything here but the two burst functions, MACs and interrupts is control: it may block and log.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <rte_alarm.h>
#include <rte_cycles.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_log.h>

#include "export.h"

/* Descriptors per queue for drivers without a preference: several bursts of 64, and still small enough for the cache. */
#define DEFAULT_DESCRIPTORS 1024

/* Turns of DPDK's interrupt thread after which it is done with what was there before the first. An alarm may come before
 * another event of its turn, and a change of the sources puts the rest of a turn off to the next. */
#define INTERRUPT_TURNS 4

/* How long they are waited for, and how often they are looked for: a driver may block that thread for ever. */
#define INTERRUPT_NAP_US 20
#define INTERRUPT_NAPS 20000

/* What was asked of a port at configuration and is needed at its start, and what its start showed. */
static struct {
	uint8_t promiscuous;
	uint8_t rx_interrupts;
	uint8_t has_rx_interrupts;
} state[RTE_MAX_ETHPORTS];

/* ---- attach and detach ---------------------------------------------------------------------------------------- */

int dps_eth_attach(const char *devargs, uint16_t *port)
{
	uint8_t known[RTE_MAX_ETHPORTS] = { 0 };
	uint16_t id;
	int result;

	/* A probe reports neither the new port nor, in every release, that the device was there already: the ports before
	 * and after tell both. */
	RTE_ETH_FOREACH_DEV(id)
		known[id] = 1;
	result = rte_dev_probe(devargs);
	if (result == -EFAULT) /* devargs that no bus understands */
		return -ENODEV;
	if (result < 0)
		return result;
	RTE_ETH_FOREACH_DEV(id) {
		if (!known[id]) {
			memset(&state[id], 0, sizeof(state[id]));
			*port = id;
			return 0;
		}
	}
	/* No new port: the device has one, or it is no Ethernet device. */
	struct rte_dev_iterator iterator;
	RTE_ETH_FOREACH_MATCHING_DEV(id, devargs, &iterator) {
		rte_eth_iterator_cleanup(&iterator);
		return -EEXIST;
	}
	return -ENODEV;
}

int dps_eth_from_rings(const char *name, struct rte_ring *rx, struct rte_ring *tx, uint16_t *port)
{
	struct rte_ring *from[1] = { rx }, *to[1] = { tx };
	int id;

	rte_errno = 0;
	id = rte_eth_from_rings(name, from, 1, to, 1, SOCKET_ID_ANY);
	if (id < 0)
		return rte_errno != 0 ? -rte_errno : -EEXIST;
	memset(&state[id], 0, sizeof(state[id]));
	*port = id;
	return 0;
}

static _Atomic uint32_t turns;

static void count_turn(void *unused)
{
	(void)unused;
	atomic_fetch_add(&turns, 1);
}

/* Waits until DPDK's interrupt thread is done with the events that are there now. Only then does it no longer use a port
 * that was stopped: net_memif answers the end of a connection there, with the port's data, and knows no lock. And only then
 * does it no longer take an event of a descriptor that was closed for one of the next descriptor of that number, which it
 * would wait for, and deal with nothing else. */
static void wait_for_interrupt_thread(void)
{
	uint32_t naps = 0;

	for (int i = 0; i < INTERRUPT_TURNS; i++) {
		uint32_t before = atomic_load(&turns);

		if (rte_eal_alarm_set(1, count_turn, NULL) != 0)
			return;
		for (; atomic_load(&turns) == before; naps++) {
			if (naps == INTERRUPT_NAPS)
				return;
			rte_delay_us_sleep(INTERRUPT_NAP_US);
		}
	}
}

int dps_eth_detach(uint16_t port)
{
	struct rte_eth_dev_info info;
	int result;

	result = rte_eth_dev_info_get(port, &info);
	if (result != 0)
		return result;
	result = rte_eth_dev_stop(port);
	if (result != 0 && result != -ENOTSUP)
		return result;
	wait_for_interrupt_thread();
	result = rte_eth_dev_close(port);
	if (result != 0)
		return result;
	/* Some devices carry several ports (two-port cards on one PCI function, representors): only the last one unplugs. */
	if (rte_eth_find_next_of(0, info.device) < RTE_MAX_ETHPORTS)
		return 0;
	return rte_dev_remove(info.device);
}

/* ---- configuration -------------------------------------------------------------------------------------------- */

static uint16_t clamp_descriptors(uint16_t wanted, uint16_t preferred, const struct rte_eth_desc_lim *limits)
{
	uint32_t n = wanted != 0 ? wanted : preferred != 0 ? preferred : DEFAULT_DESCRIPTORS;

	if (limits->nb_align > 1)
		n = (n + limits->nb_align - 1) / limits->nb_align * limits->nb_align;
	if (limits->nb_max != 0 && n > limits->nb_max)
		n = limits->nb_max;
	if (n < limits->nb_min)
		n = limits->nb_min;
	return n;
}

int dps_eth_get_info(uint16_t port, struct dps_eth_info *out)
{
	struct rte_eth_dev_info info;
	struct rte_ether_addr mac;
	int result;

	memset(out, 0, sizeof(*out));
	result = rte_eth_dev_info_get(port, &info);
	if (result != 0)
		return result;
	result = rte_eth_dev_get_name_by_port(port, out->name);
	if (result != 0)
		return result;
	snprintf(out->driver, sizeof(out->driver), "%s", info.driver_name != NULL ? info.driver_name : "");
	if (rte_eth_macaddr_get(port, &mac) == 0)
		memcpy(out->mac, &mac, sizeof(mac));
	out->if_index = info.if_index;
	out->socket = rte_eth_dev_socket_id(port);
	out->max_rx_queues = info.max_rx_queues;
	out->max_tx_queues = info.max_tx_queues;
	out->default_rx_desc = clamp_descriptors(0, info.default_rxportconf.ring_size, &info.rx_desc_lim);
	out->default_tx_desc = clamp_descriptors(0, info.default_txportconf.ring_size, &info.tx_desc_lim);
	out->min_mtu = info.min_mtu;
	out->max_mtu = info.max_mtu;
	out->rx_offload_capa = info.rx_offload_capa;
	out->tx_offload_capa = info.tx_offload_capa;
	if (info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS)
		out->flags |= DPS_ETH_TX_MULTI_SEGMENT;
	if (rte_eth_promiscuous_get(port) == 1)
		out->flags |= DPS_ETH_PROMISCUOUS;
	if (state[port].has_rx_interrupts)
		out->flags |= DPS_ETH_RX_INTERRUPT;
	return 0;
}

static int setup_queues(uint16_t port, const struct rte_eth_dev_info *info, const struct dps_eth_conf *conf,
			const struct rte_eth_conf *port_conf, struct rte_mempool *pool)
{
	int socket = rte_eth_dev_socket_id(port);
	uint16_t rx_desc = clamp_descriptors(conf->rx_desc, info->default_rxportconf.ring_size, &info->rx_desc_lim);
	uint16_t tx_desc = clamp_descriptors(conf->tx_desc, info->default_txportconf.ring_size, &info->tx_desc_lim);
	struct rte_eth_rxconf rx = info->default_rxconf;
	struct rte_eth_txconf tx = info->default_txconf;
	uint16_t queue;
	int result;

	rx.offloads = port_conf->rxmode.offloads;
	tx.offloads = port_conf->txmode.offloads;
	for (queue = 0; queue < conf->rx_queues; queue++) {
		result = rte_eth_rx_queue_setup(port, queue, rx_desc, socket, &rx, pool);
		if (result != 0)
			return result;
	}
	for (queue = 0; queue < conf->tx_queues; queue++) {
		result = rte_eth_tx_queue_setup(port, queue, tx_desc, socket, &tx);
		if (result != 0)
			return result;
	}
	return 0;
}

int dps_eth_configure(uint16_t port, const struct dps_eth_conf *conf, struct rte_mempool *pool)
{
	struct rte_eth_dev_info info;
	struct rte_eth_conf port_conf;
	uint32_t mtu = conf->mtu != 0 ? conf->mtu : RTE_ETHER_MTU;
	uint32_t room;
	int result;

	if (pool == NULL)
		return -EINVAL;
	result = rte_eth_dev_info_get(port, &info);
	if (result != 0)
		return result;
	if (conf->rx_queues > info.max_rx_queues || conf->tx_queues > info.max_tx_queues)
		return -ERANGE;
	if ((conf->rx_offloads & ~info.rx_offload_capa) != 0 || (conf->tx_offloads & ~info.tx_offload_capa) != 0)
		return -ENOTSUP;

	memset(&port_conf, 0, sizeof(port_conf));
	port_conf.rxmode.offloads = conf->rx_offloads;
	port_conf.rxmode.mtu = conf->mtu;
	port_conf.txmode.offloads = conf->tx_offloads;
	port_conf.intr_conf.rxq = conf->rx_interrupts != 0;
	if (conf->rx_queues > 1 && info.flow_type_rss_offloads != 0) {
		port_conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		port_conf.rx_adv_conf.rss_conf.rss_hf =
			info.flow_type_rss_offloads & (RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP);
	}
	/* A frame larger than one buffer can only arrive as a chain. 26 bytes: Ethernet header, two VLAN tags, FCS. */
	room = rte_pktmbuf_data_room_size(pool) - RTE_PKTMBUF_HEADROOM;
	if (mtu + 26 > room && (info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_SCATTER) != 0)
		port_conf.rxmode.offloads |= RTE_ETH_RX_OFFLOAD_SCATTER;

	result = rte_eth_dev_configure(port, conf->rx_queues, conf->tx_queues, &port_conf);
	if (result != 0)
		return result;
	if (conf->mtu != 0) {
		/* Software ports have no MTU of their own and carry whatever fits the buffers. */
		result = rte_eth_dev_set_mtu(port, conf->mtu);
		if (result != 0 && result != -ENOTSUP)
			return result;
	}
	state[port].promiscuous = conf->promiscuous != 0;
	state[port].rx_interrupts = conf->rx_interrupts != 0;
	state[port].has_rx_interrupts = 0;
	return setup_queues(port, &info, conf, &port_conf, pool);
}

/* No capability bit says that a driver has receive interrupts; that it made a descriptor when asked to does. The question
 * is logged as an error where it has not. */
static int finds_rx_interrupt(uint16_t port)
{
	int type = rte_log_register("lib.ethdev");
	int level = type >= 0 ? rte_log_get_level(type) : -1;
	int fd;

	if (level >= 0)
		rte_log_set_level(type, RTE_LOG_EMERG);
	fd = rte_eth_dev_rx_intr_ctl_q_get_fd(port, 0);
	if (level >= 0)
		rte_log_set_level(type, level);
	return fd >= 0;
}

int dps_eth_start(uint16_t port)
{
	int result = rte_eth_dev_start(port);

	if (result != 0)
		return result;
	/* After the start, because some drivers lose the setting in it. A port that filters nothing has no such call. */
	if (state[port].promiscuous) {
		result = rte_eth_promiscuous_enable(port);
		if (result != 0 && result != -ENOTSUP)
			return result;
	}
	state[port].has_rx_interrupts = state[port].rx_interrupts && finds_rx_interrupt(port);
	return 0;
}

int dps_eth_stop(uint16_t port)
{
	return rte_eth_dev_stop(port);
}

/* ---- state ---------------------------------------------------------------------------------------------------- */

int dps_eth_get_link(uint16_t port, struct dps_eth_link *out)
{
	struct rte_eth_link link;
	int result;

	memset(out, 0, sizeof(*out));
	memset(&link, 0, sizeof(link));
	result = rte_eth_link_get_nowait(port, &link);
	if (result != 0)
		return result;
	out->speed_mbps = link.link_speed == RTE_ETH_SPEED_NUM_UNKNOWN ? 0 : link.link_speed;
	out->up = link.link_status == RTE_ETH_LINK_UP;
	out->full_duplex = link.link_duplex == RTE_ETH_LINK_FULL_DUPLEX;
	return 0;
}

int dps_eth_get_stats(uint16_t port, struct dps_eth_stats *out)
{
	struct rte_eth_stats stats;
	int result;

	memset(out, 0, sizeof(*out));
	result = rte_eth_stats_get(port, &stats);
	if (result != 0)
		return result;
	out->rx_packets = stats.ipackets;
	out->tx_packets = stats.opackets;
	out->rx_bytes = stats.ibytes;
	out->tx_bytes = stats.obytes;
	out->rx_missed = stats.imissed;
	out->rx_errors = stats.ierrors;
	out->tx_errors = stats.oerrors;
	out->rx_no_mbuf = stats.rx_nombuf;
	return 0;
}

int dps_eth_get_mac(uint16_t port, uint8_t *mac)
{
	struct rte_ether_addr address;
	int result = rte_eth_macaddr_get(port, &address);

	if (result == 0)
		memcpy(mac, &address, sizeof(address));
	return result;
}

int dps_eth_set_mac(uint16_t port, const uint8_t *mac)
{
	struct rte_ether_addr address;

	memcpy(&address, mac, sizeof(address));
	return rte_eth_dev_default_mac_addr_set(port, &address);
}

/* ---- receive interrupts --------------------------------------------------------------------------------------- */

int dps_eth_rx_intr_fd(uint16_t port, uint16_t queue)
{
	int fd;

	if (port >= RTE_MAX_ETHPORTS || !state[port].has_rx_interrupts)
		return -ENOTSUP;
	fd = rte_eth_dev_rx_intr_ctl_q_get_fd(port, queue);
	return fd >= 0 ? fd : -ENOTSUP;
}

/* Drivers over a kernel descriptor (net_tap) have nothing to arm: their descriptor always wakes. */
static int armed_anyway(uint16_t port, int result)
{
	return result == -ENOTSUP && port < RTE_MAX_ETHPORTS && state[port].has_rx_interrupts ? 0 : result;
}

int dps_eth_rx_intr_enable(uint16_t port, uint16_t queue)
{
	return armed_anyway(port, rte_eth_dev_rx_intr_enable(port, queue));
}

int dps_eth_rx_intr_disable(uint16_t port, uint16_t queue)
{
	return armed_anyway(port, rte_eth_dev_rx_intr_disable(port, queue));
}

/* ---- packets -------------------------------------------------------------------------------------------------- */

uint16_t dps_eth_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count)
{
	return rte_eth_rx_burst(port, queue, mbufs, count);
}

uint16_t dps_eth_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count)
{
	return rte_eth_tx_burst(port, queue, mbufs, count);
}
