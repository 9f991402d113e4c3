/* SPDX-License-Identifier: Apache-2.0
 *
 * What the C compiler made of the structs that managed code reads and writes. The managed side compares this table with
 * its own at start-up and refuses to run on a difference: a DPDK built with other options (IOVA mode, headroom) would
 * otherwise corrupt packets silently.
 */
#include <stddef.h>

#include <rte_mbuf.h>
#include <rte_version.h>

#include "export.h"

#define STRUCT(type) { #type, "", 0, sizeof(struct type) }
#define FIELD(type, field) { #type, #field, offsetof(struct type, field), sizeof(((struct type *)0)->field) }
#define CONSTANT(name) { #name, "", 0, name }

static const struct dps_layout_entry table[] = {
	CONSTANT(RTE_PKTMBUF_HEADROOM),

	STRUCT(rte_mbuf),
	FIELD(rte_mbuf, buf_addr),
	FIELD(rte_mbuf, buf_iova),
	FIELD(rte_mbuf, data_off),
	FIELD(rte_mbuf, refcnt),
	FIELD(rte_mbuf, nb_segs),
	FIELD(rte_mbuf, port),
	FIELD(rte_mbuf, ol_flags),
	FIELD(rte_mbuf, packet_type),
	FIELD(rte_mbuf, pkt_len),
	FIELD(rte_mbuf, data_len),
	FIELD(rte_mbuf, vlan_tci),
	FIELD(rte_mbuf, hash),
	FIELD(rte_mbuf, vlan_tci_outer),
	FIELD(rte_mbuf, buf_len),
	FIELD(rte_mbuf, pool),
	FIELD(rte_mbuf, next),
	FIELD(rte_mbuf, tx_offload),
	FIELD(rte_mbuf, shinfo),
	FIELD(rte_mbuf, priv_size),
	FIELD(rte_mbuf, timesync),
	FIELD(rte_mbuf, dynfield1),

	STRUCT(dps_layout_entry),
	FIELD(dps_layout_entry, type),
	FIELD(dps_layout_entry, field),
	FIELD(dps_layout_entry, offset),
	FIELD(dps_layout_entry, size),

	STRUCT(dps_eth_info),
	FIELD(dps_eth_info, name),
	FIELD(dps_eth_info, driver),
	FIELD(dps_eth_info, mac),
	FIELD(dps_eth_info, if_index),
	FIELD(dps_eth_info, socket),
	FIELD(dps_eth_info, max_rx_queues),
	FIELD(dps_eth_info, max_tx_queues),
	FIELD(dps_eth_info, default_rx_desc),
	FIELD(dps_eth_info, default_tx_desc),
	FIELD(dps_eth_info, min_mtu),
	FIELD(dps_eth_info, max_mtu),
	FIELD(dps_eth_info, flags),
	FIELD(dps_eth_info, rx_offload_capa),
	FIELD(dps_eth_info, tx_offload_capa),

	STRUCT(dps_eth_conf),
	FIELD(dps_eth_conf, rx_queues),
	FIELD(dps_eth_conf, tx_queues),
	FIELD(dps_eth_conf, rx_desc),
	FIELD(dps_eth_conf, tx_desc),
	FIELD(dps_eth_conf, mtu),
	FIELD(dps_eth_conf, promiscuous),
	FIELD(dps_eth_conf, rx_interrupts),
	FIELD(dps_eth_conf, reserved),
	FIELD(dps_eth_conf, rx_offloads),
	FIELD(dps_eth_conf, tx_offloads),

	STRUCT(dps_eth_link),
	FIELD(dps_eth_link, speed_mbps),
	FIELD(dps_eth_link, up),
	FIELD(dps_eth_link, full_duplex),
	FIELD(dps_eth_link, reserved),

	STRUCT(dps_eth_stats),
	FIELD(dps_eth_stats, rx_packets),
	FIELD(dps_eth_stats, tx_packets),
	FIELD(dps_eth_stats, rx_bytes),
	FIELD(dps_eth_stats, tx_bytes),
	FIELD(dps_eth_stats, rx_missed),
	FIELD(dps_eth_stats, rx_errors),
	FIELD(dps_eth_stats, tx_errors),
	FIELD(dps_eth_stats, rx_no_mbuf),
};

uint32_t dps_abi_version(void)
{
	return DPS_ABI_VERSION;
}

const char *dps_dpdk_version(void)
{
	return rte_version();
}

uint32_t dps_layout(const struct dps_layout_entry **entries)
{
	*entries = table;
	return RTE_DIM(table);
}
