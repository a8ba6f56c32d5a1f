/* render: what the table holds, as JSON texts. Pure. */
#pragma once

#include "common/buf.h"
#include "sidecar-proxy/state/table.h"

#define RENDER_LINE_MAX 1024 /* bytes, more than any of these lines takes */

/* {"uuid","address","session","since","instance":{"pool","index","epoch","serviceId","proxy"}};
 * type (or NULL) becomes a first member "type"; at_ms >= 0 a last one "at". */
void render_session(struct buf *b, const char *type, const struct table_session *s, int64_t at_ms);
/* {"pool","index","epoch","serviceId","proxy","subnet","connected","sessions","phase","since"};
 * with a type, as above; gone adds "gone":true. */
void render_instance(struct buf *b, const char *type, const struct table_instance *i, bool gone);
