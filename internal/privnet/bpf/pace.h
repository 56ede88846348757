/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables that forget the least used entry are shared by everybody. Without
 * a limit, a container that makes up ports or destinations would push out what
 * is known of the others; so each port adds only so much in a second, and loses
 * only detail of its own.
 */
#ifndef ATOLL_PACE_H
#define ATOLL_PACE_H

#include "tables.h"

enum pace_of {
	PACE_OPENED = 0,
	PACE_FLOWS = 1,
	PACE_DROPPED = 2,
};

/* Entries a port may add in about a second. A table of 65536 conversations
 * then holds what an honest one said for 8 s against a flood; flows and drops
 * need a minute to be pushed out. */
#define MAX_OPENED 8192
#define MAX_FLOWS 256
#define MAX_DROPPED 128

INLINE int may_add(__u32 ifindex, __u32 what, __u32 most, __u64 now)
{
	__u32 slot = ifindex & (PACE_SLOTS - 1);
	__u64 second = now >> 30;
	struct pace *pace;

	pace = bpf_map_lookup_elem(&pn_pace, &slot);
	if (!pace)
		return 0;
	if (pace->second != second) {
		pace->second = second;
		pace->added[PACE_OPENED] = 0;
		pace->added[PACE_FLOWS] = 0;
		pace->added[PACE_DROPPED] = 0;
	}
	if (pace->added[what] >= most)
		return 0;
	__sync_fetch_and_add(&pace->added[what], 1);
	return 1;
}

#endif
