/* What a state service says down the feed: never crashes, and what is accepted is well-formed. */
#include "sidecar-proxy/session/feed_message.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(str) char *text = xstrndup((const char *)data, size);
    struct feed_downward m;
    struct session_id id;

    if (feed_parse(text, strlen(text), &m, NULL) < 0) {
        return 0;
    }
    if (m.kind == FEED_STALE) {
        assert(uuid_valid_str(m.uuid));
        assert(session_id_parse(session_id_format(m.id).text, &id));
        assert(session_id_equal(id, m.id));
    }
    return 0;
}
