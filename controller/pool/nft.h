/* nft: the wall around the devices. In our own table, inet openvpn-{pool}: what comes in on an
 * instance's tun is dropped unless it answers a connection opened towards the device, and nothing
 * is forwarded from or to it but what is established. Other tables are never touched.
 * A table is replaced in one transaction, so there is no moment without it. */
#pragma once

#include "common/buf.h"
#include "common/loop.h"

#define NFT_TABLE_MAX 80 /* bytes with the NUL */

/* "openvpn-{pool}" with what nft does not take in a name replaced by '_'. */
void nft_table_name(const char *pool, char ret[NFT_TABLE_MAX]);
/* The transaction that makes the table be as it should for these instances; none: an empty set. */
int nft_render(const char *pool, const uint32_t *indices, size_t count, struct buf *ret);
/* The transaction that removes it, whether it is there or not. */
int nft_render_removal(const char *pool, struct buf *ret);

struct nft_run;
/* result 0, or negative with nft's own words in why. The nft_run is gone after it. */
typedef void (*nft_done_fn)(void *arg, int result, const char *why);
/* Runs "nft -f -" with script on its standard input; on_done through the loop. */
int nft_start(struct loop *loop, const char *program, const char *script, nft_done_fn on_done,
              void *arg, struct nft_run **ret, struct err *err);
void nft_cancel(struct nft_run *run); /* on_done will not run; nft may still finish. NULL is fine */
