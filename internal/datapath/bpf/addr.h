// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Addresses as the maps have them, and what every program knows of neighbours.
#pragma once
#include "maps.h"

#define NEIGHBOUR_TTL 255 // of neighbour discovery (RFC 4861): no router has forwarded it

static inline void addr_v4(struct addr *a, __be32 v4)
{
	a->a[0] = 0;
	a->a[1] = 0;
	a->a[2] = bpf_htonl(0xffff);
	a->a[3] = v4;
}
