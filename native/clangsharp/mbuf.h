/* SPDX-License-Identifier: Apache-2.0 */
#include <rte_config.h>
#include <rte_mbuf_core.h>
#include <rte_mbuf_ptype.h>
