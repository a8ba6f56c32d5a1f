#include "sidecar-proxy/state/page.h"

#include "sidecar-proxy/state/html.h"
#include "sidecar-proxy/state/page_files.h"
#include "sidecar-proxy/state/query.h"
#include "sidecar-proxy/state/service.h"

#include <inttypes.h>
#include <string.h>

#define PAGE_MAX (8 * 1024 * 1024) /* bytes; 2,048 instances take about 2 MiB */
#define MATCHES_MAX 20
#define EVENTS_SHOWN 20
#define SEARCH_MAX 255
#define CHART_WIDTH 600
#define CHART_HEIGHT 90

/* Nothing from elsewhere, nothing inline: a text that got past the escaping could do nothing. */
#define SECURITY                                                                         \
    "Content-Security-Policy: default-src 'none'; style-src 'self'; script-src 'self'; " \
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

static const char head[] =
    "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<meta name=\"color-scheme\" content=\"light dark\">\n"
    "<title>VPN state</title>\n<link rel=\"stylesheet\" href=\"page.css\">\n"
    "<script src=\"page.js\" defer></script>\n"
    "<noscript><meta http-equiv=\"refresh\" content=\"5\"></noscript>\n</head>\n<body>\n";

static uint32_t capacity(const struct table_instance *i)
{
    struct subnet subnet;

    if (subnet_parse(i->subnet, &subnet, NULL) < 0 || subnet.prefix_len < 8 ||
        subnet.prefix_len > 29) {
        return 0;
    }
    return (UINT32_C(1) << (32 - subnet.prefix_len)) - 4; /* both ends, gateway, peer */
}

static void tile(struct buf *b, const char *id, uint64_t number, const char *label)
{
    buf_printf(b, "<div class=\"tile\"><b id=\"%s\">", id);
    html_number(b, number);
    buf_printf(b, "</b><span>%s</span></div>\n", label);
}

static void tiles(struct buf *b, struct service *s)
{
    struct table_counts counts = table_counts(s->table);
    uint32_t came = 0, went = 0;

    recent_rates(&s->recent, &came, &went);
    buf_append_str(b, "<section class=\"tiles\">\n");
    tile(b, "devices", counts.devices, "devices online");
    tile(b, "count", counts.instances, "instances");
    tile(b, "came", came, "came in the last minute");
    tile(b, "went", went, "went in the last minute");
    buf_append_str(b, "</section>\n");
}

static void header(struct buf *b, struct service *s, const char *searched)
{
    bool ready = service_ready(s);

    buf_printf(b,
               "<header><h1>VPN state</h1><span id=\"ready\" class=\"badge %s\">%s</span>"
               "<span id=\"fresh\"></span>"
               "<form id=\"search\" action=\"./\" role=\"search\"><input name=\"uuid\" id=\"uuid\" "
               "type=\"search\" maxlength=\"62\" spellcheck=\"false\" autocomplete=\"off\" "
               "aria-label=\"UUID of a device, or its beginning\" "
               "placeholder=\"UUID of a device, or its beginning\" value=\"",
               ready ? "good" : "wait", ready ? "ready" : "waiting for instances");
    html_text(b, searched);
    buf_append_str(b, "\"><button>Find</button></form></header>\n<main>\n");
}

struct series { /* the samples that are kept, and what is now as the last one */
    const struct recent *recent;
    uint64_t count;
    uint32_t now, most;
};

static uint32_t series_at(const struct series *s, uint64_t n)
{
    uint64_t first = s->recent->sample_count - (s->count - 1);

    return n + 1 == s->count ? s->now : s->recent->samples[(first + n) % RECENT_SAMPLES];
}

static struct series series_of(struct service *s)
{
    const struct recent *r = &s->recent;
    struct series series = {.recent = r, .now = (uint32_t)table_counts(s->table).devices};

    series.count = (r->sample_count < RECENT_SAMPLES ? r->sample_count : RECENT_SAMPLES) + 1;
    for (uint64_t n = 0; n < series.count; n++) {
        series.most = series_at(&series, n) > series.most ? series_at(&series, n) : series.most;
    }
    return series;
}

static void chart_points(struct buf *b, const struct series *s)
{
    double across = s->count > 1 ? (double)CHART_WIDTH / (double)(s->count - 1) : 0;
    double up = (double)(CHART_HEIGHT - 6) / (s->most > 0 ? s->most : 1);

    for (uint64_t n = 0; n < s->count; n++) {
        buf_printf(b, "%.1f,%.1f ", (double)n * across, CHART_HEIGHT - series_at(s, n) * up);
    }
    if (s->count == 1) { /* a level line */
        buf_printf(b, "%d,%.1f ", CHART_WIDTH, CHART_HEIGHT - s->now * up);
    }
}

static void chart(struct buf *b, const struct series *s)
{
    buf_printf(b,
               "<section class=\"card chart\"><h2>Devices online</h2>"
               "<svg id=\"chart\" viewBox=\"0 0 %d %d\" preserveAspectRatio=\"none\" role=\"img\" "
               "aria-label=\"Devices online over time\"><polygon points=\"0,%d ",
               CHART_WIDTH, CHART_HEIGHT, CHART_HEIGHT);
    chart_points(b, s);
    buf_printf(b, "%d,%d\"/><polyline points=\"", CHART_WIDTH, CHART_HEIGHT);
    chart_points(b, s);
    buf_append_str(b, "\"/></svg><p><span>at most <b id=\"most\">");
    html_number(b, s->most);
    buf_append_str(b, "</b></span><span>over the last <b id=\"span\">");
    html_duration(b, (int64_t)(s->count - 1) * RECENT_SAMPLE_MS);
    buf_append_str(b, "</b></span></p></section>\n");
}

static const char *feed_badge(const struct table_instance *i)
{
    if (i->feed == NULL) {
        return "<span class=\"badge bad\">lost</span>";
    }
    return i->synced ? "<span class=\"badge good\">live</span>"
                     : "<span class=\"badge wait\">syncing</span>";
}

static void instance_row(struct buf *b, const struct table_instance *i, int64_t now_ms)
{
    uint32_t most = capacity(i);

    buf_append_str(b, "<tr><th scope=\"row\" title=\"");
    html_text(b, i->epoch);
    buf_printf(b, "\">%" PRIu32 "</th><td>", i->index);
    html_text(b, i->pool);
    buf_append_str(b, "</td><td><code>");
    html_text(b, i->subnet);
    buf_printf(b,
               "</code></td><td class=\"fill\"><meter min=\"0\" max=\"%u\" value=\"%zu\"></meter>",
               most > 0 ? most : 1, i->sessions.count);
    html_number(b, i->sessions.count);
    buf_append_str(b, " <small>of ");
    html_number(b, most);
    buf_append_str(b, "</small></td><td><span class=\"badge phase-");
    html_text(b, i->phase);
    buf_append_str(b, "\">");
    html_text(b, i->phase);
    buf_printf(b, "</span></td><td>%s</td><td>", feed_badge(i));
    html_ago(b, i->since_ms, now_ms);
    buf_append_str(b, "</td><td>");
    if (i->service_id >= 0) {
        html_printf(b, "%" PRId64, i->service_id);
    }
    buf_append_str(b, "</td><td><code>");
    html_text(b, i->proxy);
    buf_append_str(b, "</code></td></tr>\n");
}

static void missing_row(struct buf *b, const struct roster_entry *e)
{
    buf_printf(b,
               "<tr class=\"missing\"><th scope=\"row\">%" PRIu32
               "</th><td colspan=\"4\">expected, not heard yet</td>"
               "<td><span class=\"badge wait\">missing</span></td><td colspan=\"3\"></td></tr>\n",
               e->index);
}

static void instances(struct buf *b, struct service *s)
{
    int64_t now_ms = service_now(s).unix_ms;

    buf_append_str(b, "<section class=\"card\"><h2>Instances</h2><div class=\"scroll\"><table>"
                      "<thead><tr><th>Index<th>Pool<th>Subnet<th>Devices<th>Phase<th>Feed<th>Known "
                      "for<th>Service id<th>Proxy</tr></thead>\n<tbody id=\"instances\">\n");
    for (const struct table_instance *i = table_instances(s->table); i != NULL; i = i->next) {
        instance_row(b, i, now_ms);
    }
    for (size_t n = 0; n < s->roster.count; n++) {
        if (!roster_heard(&s->roster.entries[n], s->table)) {
            missing_row(b, &s->roster.entries[n]);
        }
    }
    buf_append_str(b, "</tbody></table></div></section>\n");
}

static void event_item(struct buf *b, const struct recent_event *e, int64_t now_ms)
{
    static const char *const classes[] = {"online", "offline", "instance"};

    buf_printf(b, "<li class=\"%s\"><span class=\"what\">", classes[e->kind]);
    if (e->kind == RECENT_INSTANCE) {
        html_printf(b, "instance %" PRIu32 " %s", e->index, e->what);
        buf_append_str(b, "</span><span class=\"where\">");
    } else {
        buf_printf(b, "<a href=\"?uuid=%s\"><code>%.7s</code></a> %s", e->uuid, e->uuid,
                   classes[e->kind]);
        buf_printf(b, "</span><span class=\"where\" title=\"%s\">instance %" PRIu32,
                   address_format(e->address).text, e->index);
    }
    buf_append_str(b, "</span>");
    html_ago(b, e->at_ms, now_ms);
    buf_append_str(b, "</li>\n");
}

static void events(struct buf *b, struct service *s)
{
    int64_t now_ms = service_now(s).unix_ms;

    buf_append_str(b, "<section class=\"card\"><h2>Lately</h2><ol id=\"events\">\n");
    for (size_t n = 0; n < EVENTS_SHOWN && recent_event(&s->recent, n) != NULL; n++) {
        event_item(b, recent_event(&s->recent, n), now_ms);
    }
    buf_append_str(b, "</ol></section>\n");
}

static void found_one(struct buf *b, const struct table_session *session, int64_t now_ms)
{
    buf_append_str(b, "<dl class=\"device\"><dt>Device</dt><dd><code>");
    html_text(b, session->device->uuid);
    buf_append_str(b, "</code> <span class=\"badge good\">online</span></dd><dt>Address</dt><dd>"
                      "<code>");
    html_text(b, address_format(session->address).text);
    buf_append_str(b, "</code></dd><dt>Instance</dt><dd>");
    html_printf(b, "%" PRIu32 " of %s", session->instance->index, session->instance->pool);
    buf_append_str(b, "</dd><dt>Session</dt><dd>");
    html_text(b, session->id);
    buf_append_str(b, "</dd><dt>Online for</dt><dd>");
    html_ago(b, session->since_ms, now_ms);
    buf_append_str(b, "</dd></dl>\n");
}

static void match_item(struct buf *b, const struct table_session *session)
{
    buf_printf(b, "<li><a href=\"?uuid=%s\"><code>%s</code></a> at ", session->device->uuid,
               session->device->uuid);
    html_printf(b, "instance %" PRIu32 " as %s", session->instance->index,
                address_format(session->address).text);
    buf_append_str(b, "</li>\n");
}

static void found_many(struct buf *b, struct service *s, const char *prefix)
{
    struct table_cursor cursor;
    const struct table_session *session = NULL;
    size_t matches = 0;

    buf_append_str(b, "<ul class=\"matches\">\n");
    table_cursor_open(s->table, &cursor);
    while (matches < MATCHES_MAX && (session = table_cursor_next(&cursor)) != NULL) {
        if (strncmp(session->device->uuid, prefix, strlen(prefix)) == 0) {
            match_item(b, session);
            matches++;
        }
    }
    table_cursor_close(s->table, &cursor);
    buf_append_str(b, "</ul>\n");
    if (matches == 0) {
        buf_append_str(b, "<p>No device online begins with this.</p>\n");
    } else if (matches == MATCHES_MAX) {
        buf_printf(b, "<p>These are the first %d.</p>\n", MATCHES_MAX);
    }
}

static void found(struct buf *b, struct service *s, const char *searched)
{
    char folded[UUID_TEXT_MAX + 1];
    bool whole = uuid_fold(searched, strlen(searched), folded);
    const struct table_session *session = whole ? table_find(s->table, folded) : NULL;

    if (session != NULL) {
        found_one(b, session, service_now(s).unix_ms);
    } else if (whole) {
        buf_append_str(b, service_ready(s)
                              ? "<p>This device is <span class=\"badge\">offline</span>.</p>\n"
                              : "<p>This device is not known yet; not all instances have been "
                                "heard.</p>\n");
    } else if (searched[strspn(searched, "0123456789abcdef")] == '\0') {
        found_many(b, s, searched);
    } else {
        buf_append_str(b, "<p>That is no UUID: it has hexadecimal digits only.</p>\n");
    }
}

static void search(struct buf *b, struct service *s, const char *searched)
{
    buf_printf(b, "<section class=\"card\" id=\"found\"%s>", searched[0] == '\0' ? " hidden" : "");
    buf_append_str(b, "<h2>Search</h2><div id=\"result\">\n");
    if (searched[0] != '\0') {
        found(b, s, searched);
    }
    buf_append_str(b, "</div></section>\n");
}

void page_render(struct service *s, const char *query, struct buf *b)
{
    char searched[SEARCH_MAX + 1];

    query_get(query, "uuid", searched, sizeof(searched));
    buf_append_str(b, head);
    header(b, s, searched);
    search(b, s, searched);
    tiles(b, s);
    struct series series = series_of(s);
    chart(b, &series);
    buf_append_str(b, "<div class=\"columns\">\n");
    instances(b, s);
    events(b, s);
    buf_append_str(b, "</div>\n</main>\n");
    buf_append_str(b, "<footer><a href=\"v1/instances\">instances</a> <a "
                      "href=\"v1/devices\">devices</a> <a href=\"metrics\">metrics</a></footer>\n"
                      "</body>\n</html>\n");
}

void page_index(void *arg, struct http_exchange *x, const struct http_server_request *request)
{
    AUTO(buf) struct buf b;

    buf_init(&b, PAGE_MAX);
    page_render(arg, request->query, &b);
    http_reply(x, 200, "text/html; charset=utf-8", buf_str(&b), b.len, SECURITY);
}

void page_css(void *arg, struct http_exchange *x, const struct http_server_request *request)
{
    http_reply(x, 200, "text/css; charset=utf-8", page_css_bytes, page_css_len, NULL);
}

void page_js(void *arg, struct http_exchange *x, const struct http_server_request *request)
{
    http_reply(x, 200, "text/javascript; charset=utf-8", page_js_bytes, page_js_len, NULL);
}
