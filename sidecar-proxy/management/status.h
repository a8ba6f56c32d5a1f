/* status: the body of "status 3", line by line: tab-separated sections, each told what its columns
 * are by a HEADER line. Columns are found by name, so that other versions may add some. Pure.
 * Source: OpenVPN 2.6.14 and 2.7.8 as observed; 2.7 writes the peer as "tcp4-server:address:port".
 */
#pragma once

#include "sidecar-proxy/management/link.h"

#define STATUS_COLUMNS_MAX 32

struct status_reader {
    int columns[7];  /* of CLIENT_LIST rows; -1: there is none */
    bool has_header; /* one that names client id, address and common name */
};

enum status_line {
    STATUS_OTHER, /* nothing for us: title, time, routing table */
    STATUS_CLIENT,
};

void status_reader_init(struct status_reader *s);

/* line is cut up. STATUS_CLIENT: *ret is set, its texts borrowed from line: cid, username, remote,
 * address, since_ms, bytes. -EPROTO: a row before a header with the columns that are needed,
 * without a client id, or with an address that is not IPv4 (empty: it has none). */
int status_parse(struct status_reader *s, char *line, struct link_client *ret);
