/* SPDX-License-Identifier: Apache-2.0 */
/* Why a frame went no further, and the two ways it is counted. */
#ifndef ATOLL_DROP_H
#define ATOLL_DROP_H

#include "pace.h"

/* The numbers are indices of the drops map, which outlives this program:
 * append, never renumber. Keep reason.go in step. */
enum drop_reason {
	DROP_NO_PORT = 0,      /* the port has no entry: it is being removed */
	DROP_TRUNCATED = 1,    /* headers missing, or lengths that lie */
	DROP_VLAN = 2,         /* 802.1Q or 802.1ad tag */
	DROP_SPOOFED_MAC = 3,  /* source MAC is not the port's */
	DROP_SPOOFED_IP = 4,   /* source address is not the port's */
	DROP_ARP_FORGED = 5,   /* ARP that claims to be another, or any reply */
	DROP_ARP_UNKNOWN = 6,  /* ARP for an address nobody has */
	DROP_ARP_OWN = 7,      /* gratuitous ARP for the port's own address */
	DROP_IPV6 = 8,
	DROP_ETHERTYPE = 9,    /* neither IPv4 nor ARP nor one of the above */
	DROP_BROADCAST = 10,
	DROP_MULTICAST = 11,
	DROP_IP_OPTIONS = 12,  /* source routes, record route, router alert */
	DROP_UNKNOWN = 13,     /* nobody in this network has the destination */
	DROP_WRONG_MAC = 14,   /* the destination's address, another's MAC */
	DROP_POLICY = 15,      /* no rule of the network allows it */
	DROP_OPENING_PACE = 16, /* a TCP connection too many in a second */
};

/* What the parts of the switch return for a frame that goes no further; other
 * values are the kernel's actions. */
#define DROPPED 0x100
#define DROP(reason) (DROPPED | (reason))

INLINE int count_drop(__u32 reason)
{
	__u64 *count = bpf_map_lookup_elem(&pn_drops, &reason);

	if (count)
		*count += 1;
	return TC_ACT_SHOT;
}

INLINE int drop(__u32 ifindex, const struct port *port, __u32 reason, __be32 to)
{
	struct drop_key key = {
		.network = port->network,
		.from = port->addr,
		.to = to,
		.group = port->group,
		.reason = reason,
	};
	struct dropped none = {}, *entry;
	__u64 now = bpf_ktime_get_ns();

	entry = bpf_map_lookup_elem(&pn_dropped, &key);
	if (!entry) {
		if (!may_add(ifindex, PACE_DROPPED, MAX_DROPPED, now))
			key.to = 0;
		bpf_map_update_elem(&pn_dropped, &key, &none, BPF_NOEXIST);
		entry = bpf_map_lookup_elem(&pn_dropped, &key);
	}
	if (entry) {
		__sync_fetch_and_add(&entry->count, 1);
		entry->seen = now;
	}
	return count_drop(reason);
}

#endif
