/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may open connections to whom, and which side of a conversation is the
 * server. No verdict is remembered: each packet is judged by the rules of the
 * moment, in the direction the conversation has.
 */
#ifndef ATOLL_POLICY_H
#define ATOLL_POLICY_H

#include "pace.h"
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

/* Bits of a rule's shape: which of its fields are "any". */
#define ANY_FROM 1
#define ANY_TO 2
#define ANY_PROTOCOL 4
#define ANY_PORT 8
#define SHAPES 16

/* Without a packet for so long, a conversation that has no flags to tell who
 * asks and who answers is over. */
#define IDLE (180 * 1000000000ULL)

/* How exact the times in pn_opened are: a busy conversation would otherwise
 * write to memory that other processors read for every packet. */
#define REFRESH 1000000000ULL

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
		struct rule_key key = { .policy = policy->id };
		__u32 any;

		if (i >= policy->shapes)
			return 0;
		any = policy->shape[i];
		key.from = any & ANY_FROM ? 0 : from;
		key.to = any & ANY_TO ? 0 : to;
		key.protocol = any & ANY_PROTOCOL ? 0 : p->protocol;
		key.port = any & ANY_PORT ? 0 : port;
		if (bpf_map_lookup_elem(&pn_rules, &key))
			return 1;
	}
	return 0;
}

/* Fills the key of the packet's conversation; says whether the sender is its
 * high end. */
INLINE int conversation(const struct packet *p, struct pair_key *key)
{
	__u32 from = NET32(p->from), to = NET32(p->to);
	int high = from > to || (from == to && p->from_port > p->to_port);

	key->network = p->network;
	key->protocol = p->protocol;
	key->low = high ? p->to : p->from;
	key->high = high ? p->from : p->to;
	key->low_port = high ? p->to_port : p->from_port;
	key->high_port = high ? p->from_port : p->to_port;
	return high;
}

/* What the packet can be, by itself and by who opened the conversation. TCP
 * needs no memory for this: whoever opens a connection must send a SYN without
 * ACK, so everything else may be an answer. */
INLINE __u32 possible(const struct packet *p, int mine, int theirs)
{
	int tcp = p->protocol == IPPROTO_TCP;

	switch (p->kind) {
	case OPENING:
		return AS_CLIENT;
	case ANSWER:
		return tcp || theirs ? AS_SERVER : 0;
	case MIDDLE:
		return AS_CLIENT | AS_SERVER;
	case DATAGRAM:
		return AS_CLIENT | (theirs ? AS_SERVER : 0);
	case ERROR:
		return (tcp || mine ? AS_CLIENT : 0) | (tcp || theirs ? AS_SERVER : 0);
	default:
		return 0;
	}
}

/* Which side is the server: the one that did not open the conversation. When
 * that is not known, the one with the smaller port; when the ports are the
 * same, the one with the greater address. */
INLINE int sender_is_server(const struct packet *p, int mine, int theirs, int high)
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
	return high;
}

/* Notes that the client of the conversation is heard of. */
INLINE void note_opened(const struct packet *p, struct pair_key *key, struct opened *opened, int high)
{
	struct opened fresh = {};
	int client = p->reply ? !high : high;

	/* Answers of TCP need no note, and errors are no sign of life. */
	if (p->kind == BROKEN || p->kind == MIDDLE || p->kind == ERROR ||
	    (p->kind == ANSWER && p->protocol == IPPROTO_TCP))
		return;
	if (opened) {
		__u64 *by = &opened->by[client & 1], *other = &opened->by[!client];

		if ((long)(p->now - *by) > (long)REFRESH)
			*by = p->now;
		/* The ports are used again, the other way round. */
		if (p->protocol == IPPROTO_TCP && *other)
			*other = 0;
		return;
	}
	if (p->reply || !may_add(p->ifindex, PACE_OPENED, MAX_OPENED, p->now))
		return;
	fresh.by[0] = high ? 0 : p->now;
	fresh.by[1] = high ? p->now : 0;
	bpf_map_update_elem(&pn_opened, key, &fresh, BPF_NOEXIST);
}

/* Finds the packet's verdict and which side its sender is on. */
INLINE void judge(struct packet *p)
{
	struct pair_key key = {};
	int high = conversation(p, &key);
	struct opened *opened = bpf_map_lookup_elem(&pn_opened, &key);
	struct policy *policy = bpf_map_lookup_elem(&pn_policies, &p->network);
	int mine = 0, theirs = 0;

	if (opened) {
		__u64 by_me = opened->by[high & 1], by_them = opened->by[!high];
		int ends = p->protocol != IPPROTO_TCP;

		mine = by_me && !(ends && (long)(p->now - by_me) > (long)IDLE);
		theirs = by_them && !(ends && (long)(p->now - by_them) > (long)IDLE);
	}
	p->reply = sender_is_server(p, mine, theirs, high);
	p->verdict = ALLOWED;
	if (policy && policy->mode != MODE_OPEN) {
		__u32 can = possible(p, mine, theirs);
		int reply = p->reply;

		if (can & (reply ? AS_SERVER : AS_CLIENT) && rule_allows(policy, p, reply))
			;
		else if (can & (reply ? AS_CLIENT : AS_SERVER) && rule_allows(policy, p, !reply))
			p->reply = !reply;
		else
			p->verdict = policy->mode == MODE_DRY_RUN ? WOULD_DENY : DENIED;
	}
	if (p->verdict != DENIED)
		note_opened(p, &key, opened, high);
}

#endif
