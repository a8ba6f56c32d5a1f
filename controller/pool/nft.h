/* nft: the wall around the devices. In our own table, inet openvpn-{pool}: what comes in on an
 * instance's tun is dropped unless it answers a connection opened towards the device, and nothing
 * is forwarded from or to it but what is established. Other tables are never touched.
 * A table is replaced in one transaction, so there is no moment without it.
 * It also holds the devices' bandwidth limits: one rule a way with a set that the kernel fills by
 * address, so they need no word from OpenVPN and cost the same for one device as for thousands. */
#pragma once

#include "common/buf.h"
#include "common/loop.h"

#define NFT_TABLE_MAX 80 /* bytes with the NUL */

/* "openvpn-{pool}" with what nft does not take in a name replaced by '_'. */
void nft_table_name(const char *pool, char ret[NFT_TABLE_MAX]);
struct nft_rules {           /* borrowed */
    const uint32_t *indices; /* of the instances; none: an empty set */
    size_t count;
    uint64_t down, up; /* bit/s to and from each device, over it is dropped; 0: no limit */
};
/* The transaction that makes the table be as these rules say. */
int nft_render(const char *pool, const struct nft_rules *rules, struct buf *ret);
/* The transaction that removes it, whether it is there or not. */
int nft_render_removal(const char *pool, struct buf *ret);
/* What fails, run with check, unless the table with these rules is there: one that was removed, a
 * chain that was emptied, a tun that is missing in its set. */
int nft_render_look(const char *pool, const struct nft_rules *rules, struct buf *ret);

struct nft_run;
/* result 0, or negative with nft's own words in why. The nft_run is gone after it. */
typedef void (*nft_done_fn)(void *arg, int result, const char *why);
/* Runs "nft -f -" with script on its standard input, for 10 s at most; on_done through the loop.
 * check: "nft -c -f -", which changes nothing and fails where the script would. */
int nft_start(struct loop *loop, const char *program, const char *script, bool check,
              nft_done_fn on_done, void *arg, struct nft_run **ret, struct err *err);
void nft_cancel(struct nft_run *run); /* kills it, on_done will not run. NULL is fine */
