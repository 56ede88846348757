/* SPDX-License-Identifier: Apache-2.0 */
/* Who talked to whom, counted for the service, not for each connection. */
#ifndef ATOLL_FLOW_H
#define ATOLL_FLOW_H

#include "policy.h"

INLINE void count_flow(struct __sk_buff *skb, const struct packet *p)
{
	__u32 packets = skb->gso_segs;
	struct flow_key key = {
		.network = p->network,
		.client = p->reply ? p->to : p->from,
		.server = p->reply ? p->from : p->to,
		.client_group = p->reply ? p->to_group : p->from_group,
		.server_group = p->reply ? p->from_group : p->to_group,
		.port = service_port(p, p->reply),
		.protocol = p->protocol,
		.verdict = p->verdict,
	};
	struct flow none = {}, *flow;

	flow = bpf_map_lookup_elem(&pn_flows, &key);
	if (!flow) {
		/* Too many new ones: those of two members count as one. */
		if (!may_add(p->ifindex, PACE_FLOWS, MAX_FLOWS, p->now))
			key.port = key.protocol = 0;
		bpf_map_update_elem(&pn_flows, &key, &none, BPF_NOEXIST);
		flow = bpf_map_lookup_elem(&pn_flows, &key);
		if (!flow)
			return;
	}
	/* A large segment counts as the packets it stands for. */
	if (!packets)
		packets = 1;
	if (p->reply) {
		flow->reply_packets += packets;
		flow->reply_bytes += p->bytes;
	} else {
		flow->packets += packets;
		flow->bytes += p->bytes;
	}
	flow->seen = p->now;
}

#endif
