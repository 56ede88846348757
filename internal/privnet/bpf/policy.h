/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may open connections to whom, and which side of a conversation is the
 * server. No verdict is remembered: each packet is judged by the rules of the
 * moment, in the direction the conversation has.
 */
#ifndef ATOLL_POLICY_H
#define ATOLL_POLICY_H

#include "packet.h"

enum mode {
	MODE_OPEN = 0,
	MODE_DRY_RUN = 1,
	MODE_ENFORCE = 2,
};

enum verdict {
	ALLOWED = 0,
	DENIED = 1,
	WOULD_DENY = 2,
};

/* Without a packet for so long, a conversation that has no flags to tell who
 * asks and who answers is over. */
#define IDLE (180 * 1000000000ULL)

/* How exact the times in pn_opened are: a busy conversation would otherwise
 * write to memory that other processors read for every packet. */
#define REFRESH 1000000000ULL

/* Bits of packet.can, at the positions that packet.reply has for them. */
#define AS_CLIENT 1
#define AS_SERVER 2

/* The port a service is known by; ICMP and the like have none. */
INLINE __u16 service_port(const struct packet *p, int reply)
{
	if (p->protocol == IPPROTO_ICMP)
		return 0;
	return reply ? p->from_port : p->to_port;
}

/* Whether a rule lets the client of the conversation talk to its server. One
 * look-up for each shape of rule the policy has; a group of 0 finds only rules
 * that say "any". */
INLINE int rule_allows(const struct policy *policy, const struct packet *p, int reply)
{
	__u32 from = reply ? p->to_group : p->from_group;
	__u32 to = reply ? p->from_group : p->to_group;
	__u16 port = service_port(p, reply);

	for (__u32 i = 0; i < SHAPES; i++) {
		const struct shape *says = &policy->shape[i];
		struct rule_key key = { .policy = policy->id };

		if (i >= policy->shapes)
			return 0;
		key.from = from & says->from;
		key.to = to & says->to;
		key.protocol = p->protocol & says->protocol;
		key.port = port & says->port;
		if (bpf_map_lookup_elem(&pn_rules, &key))
			return 1;
	}
	return 0;
}

/* Fills the key of the packet's conversation, and notes which end sends. */
INLINE void conversation(struct packet *p, struct pair_key *key)
{
	__u32 from = NET32(p->from), to = NET32(p->to);
	int high = from > to || (from == to && p->from_port > p->to_port);

	p->high = high;
	key->network = p->network;
	key->protocol = p->protocol;
	key->low = high ? p->to : p->from;
	key->high = high ? p->from : p->to;
	key->low_port = high ? p->to_port : p->from_port;
	key->high_port = high ? p->from_port : p->to_port;
}

/* What the packet can be, by itself and by who opened the conversation. TCP
 * does not depend on that memory: whoever opens a connection must send a SYN
 * without ACK, so where it is lost everything else may be of either side. */
INLINE __u32 possible(const struct packet *p, int mine, int theirs)
{
	int forgotten = p->protocol == IPPROTO_TCP && !mine && !theirs;

	switch (p->kind) {
	case OPENING:
		return AS_CLIENT;
	case ANSWER:
		return theirs || p->protocol == IPPROTO_TCP ? AS_SERVER : 0;
	case DATAGRAM:
		return AS_CLIENT | (theirs ? AS_SERVER : 0);
	case MIDDLE:
	case ERROR:
		return (mine || forgotten ? AS_CLIENT : 0) | (theirs || forgotten ? AS_SERVER : 0);
	default:
		return 0;
	}
}

/* Which side is the server: the one that did not open the conversation. When
 * that is not known, the one with the smaller port; when the ports are the
 * same, the one with the greater address. */
INLINE int sender_is_server(const struct packet *p, int mine, int theirs)
{
	if (p->kind == OPENING || p->kind == BROKEN)
		return 0;
	if (p->kind == ANSWER)
		return 1;
	if (mine || theirs)
		return !mine;
	if (p->kind == DATAGRAM)
		return 0;
	if (p->from_port != p->to_port)
		return p->from_port < p->to_port;
	return p->high;
}

INLINE struct opened *find_opened(const struct packet *p, const struct pair_key *key)
{
	if (p->protocol == IPPROTO_TCP)
		return bpf_map_lookup_elem(&pn_connections, key);
	return bpf_map_lookup_elem(&pn_opened, key);
}

/* Whether a conversation that is not remembered could be noted. */
INLINE int note_new(const struct packet *p, const struct pair_key *key, __u32 client)
{
	struct opened fresh = {};
	long err;

	if (client)
		fresh.by[1] = p->now;
	else
		fresh.by[0] = p->now;
	if (p->protocol == IPPROTO_TCP) {
		if (!may_add(p->ifindex, PACE_CONNECTIONS, MAX_CONNECTIONS, p->now))
			return 0;
		err = bpf_map_update_elem(&pn_connections, key, &fresh, BPF_NOEXIST);
	} else {
		if (!may_add(p->ifindex, PACE_OPENED, MAX_OPENED, p->now))
			return 0;
		err = bpf_map_update_elem(&pn_opened, key, &fresh, BPF_NOEXIST);
	}
	return !err || err == -EEXIST; /* another processor was quicker */
}

/* Notes that the client of the conversation is heard of. Whether it is known
 * to be, where that has to be: a TCP connection of which nobody knows who opened
 * it may be of either side, and would outlive the rule that it was opened by as
 * one that another rule allows. */
INLINE int note_opened(const struct packet *p, struct pair_key *key, struct opened *opened)
{
	__u32 client = (p->high ^ p->reply) & 1;

	/* Answers of TCP need no note, and errors are no sign of life. */
	if (p->kind == BROKEN || p->kind == MIDDLE || p->kind == ERROR ||
	    (p->kind == ANSWER && p->protocol == IPPROTO_TCP))
		return 1;
	if (opened) {
		__u64 *by = &opened->by[client], *other = &opened->by[client ^ 1];

		if ((long)(p->now - *by) > (long)REFRESH)
			*by = p->now;
		/* The ports are used again, the other way round. */
		if (p->protocol == IPPROTO_TCP && *other)
			*other = 0;
		return 1;
	}
	if (p->reply)
		return 1;
	return note_new(p, key, client) || p->protocol != IPPROTO_TCP;
}

/* Notes what the packet can be, and what it most likely is. */
INLINE void classify(struct packet *p, const struct opened *opened)
{
	int mine = 0, theirs = 0;

	if (opened) {
		__u64 by_me = opened->by[p->high & 1], by_them = opened->by[(p->high ^ 1) & 1];
		int ends = p->protocol != IPPROTO_TCP;

		mine = by_me && !(ends && (long)(p->now - by_me) > (long)IDLE);
		theirs = by_them && !(ends && (long)(p->now - by_them) > (long)IDLE);
	}
	p->can = possible(p, mine, theirs);
	p->reply = sender_is_server(p, mine, theirs);
}

/* Finds the packet's verdict and which side its sender is on. Whether what it
 * opens, if it does and may, could be noted. */
INLINE int judge(struct packet *p)
{
	struct pair_key key = {};
	struct opened *opened;
	struct policy *policy;

	conversation(p, &key);
	opened = find_opened(p, &key);
	classify(p, opened);
	p->verdict = ALLOWED;
	policy = bpf_map_lookup_elem(&pn_policies, &p->network);
	if (policy && policy->mode != MODE_OPEN) {
		__u8 reply = p->reply & 1, can = p->can;

		if (can >> reply & 1 && rule_allows(policy, p, reply))
			;
		/* What answers is no question, even if its sender may ask: it
		 * would be noted as one, and open the way to be answered. */
		else if (!(reply && p->kind == DATAGRAM) && can >> (reply ^ 1) & 1 &&
			 rule_allows(policy, p, reply ^ 1))
			p->reply = reply ^ 1;
		else
			p->verdict = policy->mode == MODE_DRY_RUN ? WOULD_DENY : DENIED;
	}
	return p->verdict == DENIED || note_opened(p, &key, opened);
}

#endif
