#include "controller/kube/kube_list.h"

#include "common/http_client.h"
#include "controller/kube/kube_items.h"
#include "controller/kube/kube_query.h"

#include <errno.h>
#include <string.h>

#define DEFAULT_PAGE 500
#define DEFAULT_OBJECT ((size_t)4 << 20)
#define IDLE_MS (30 * 1000)
#define RESTARTS_MAX 3 /* a list that takes longer than its pages' tokens live never ends */

struct kube_list {
    struct kube_client *client;
    struct kube_call *call;
    char *path;
    char *selectors;        /* "&labelSelector=...&fieldSelector=...", or "" */
    char *resource_version; /* NULL: the newest */
    uint32_t page;
    size_t max_object_bytes;
    struct kube_items items;
    bool broken;    /* our own reader ended the transfer */
    struct err err; /* why */
    bool in_caller; /* one of its functions is on the stack */
    bool cancelled; /* in there */
    unsigned restarts;
    char *next_page; /* continue token; NULL: the first or the last page */
    char *version;   /* resourceVersion of the page that is being read */
    bool (*on_item)(void *arg, cJSON *object);
    void (*on_restart)(void *arg);
    void (*on_done)(void *arg, const struct kube_answer *answer, const char *resource_version);
    void *arg;
};

static int start_page(struct kube_list *list, struct err *err);

static void list_free(struct kube_list *list)
{
    kube_call_cancel(list->call);
    kube_items_clear(&list->items);
    free(list->path);
    free(list->selectors);
    free(list->resource_version);
    free(list->next_page);
    free(list->version);
    free(list);
}

void kube_list_cancel(struct kube_list *list)
{
    if (list == NULL) {
        return;
    }
    if (list->in_caller) {
        list->cancelled = true;
    } else {
        list_free(list);
    }
}

static void list_end(struct kube_list *list, const struct kube_answer *answer)
{
    AUTO(str) char *version = MOVE(list->version);
    void (*on_done)(void *arg, const struct kube_answer *answer, const char *resource_version) =
        list->on_done;
    void *arg = list->arg;

    list_free(list);
    on_done(arg, answer, version != NULL ? version : "");
}

static void list_fail(struct kube_list *list, const char *path, int result, const char *why)
{
    AUTO(str) char *text = xasprintf("GET %s: %s", path, why);
    struct kube_answer answer = {
        .outcome = KUBE_UNREACHABLE,
        .result = result,
        .reason = "",
        .cause = "",
        .retry_after_s = -1,
        .text = text,
    };

    list_end(list, &answer);
}

/* --- what comes in --- */

static int on_item(void *arg, cJSON *object, struct err *err)
{
    struct kube_list *list = arg;

    list->in_caller = true;
    bool go_on = list->on_item(list->arg, object);
    list->in_caller = false;
    return go_on && !list->cancelled ? 0 : err_text(err, -ECANCELED, "ended by its reader");
}

static int on_metadata(void *arg, cJSON *metadata, struct err *err)
{
    struct kube_list *list = arg;
    const char *version = "", *token = "";

    (void)json_str(metadata, "resourceVersion", &version, NULL);
    (void)json_str(metadata, "continue", &token, NULL);
    if (version[0] == '\0') {
        return err_text(err, -EPROTO, "list has no resourceVersion");
    }
    free(list->version);
    list->version = xstrdup(version);
    free(list->next_page);
    list->next_page = token[0] != '\0' ? xstrdup(token) : NULL;
    return 0;
}

static bool on_bytes(void *arg, const char *bytes, size_t len)
{
    struct kube_list *list = arg;
    const struct kube_items_to to = {.on_item = on_item, .on_metadata = on_metadata, .arg = list};

    int r = kube_items_feed(&list->items, bytes, len, &to, &list->err);

    if (list->cancelled) {
        list_free(list);
        return false;
    }
    list->broken = r < 0;
    return r >= 0;
}

/* --- pages --- */

/* The token of the next page had expired: what was listed is not one state of the cluster. */
static int restart(struct kube_list *list, struct err *err)
{
    list->restarts++;
    free(MOVE(list->next_page));
    free(MOVE(list->version));
    free(MOVE(list->resource_version)); /* the newest: an old one may be gone as well */
    if (list->on_restart != NULL) {
        list->in_caller = true;
        list->on_restart(list->arg);
        list->in_caller = false;
    }
    return list->cancelled ? -ECANCELED : start_page(list, err);
}

/* Everything of the page is here. 0: another one is on its way. 1: that was the last. */
static int page_read(struct kube_list *list, struct err *err)
{
    int r = kube_items_end(&list->items, err);

    if (r == 0 && list->version == NULL) {
        r = err_text(err, -EPROTO, "list has no metadata");
    }
    if (r < 0) {
        return r;
    }
    return list->next_page == NULL ? 1 : start_page(list, err);
}

static void on_page(void *arg, struct kube_answer *answer)
{
    struct kube_list *list = arg;
    bool later_page = list->next_page != NULL;
    int r;

    list->call = NULL;
    if (answer->outcome == KUBE_EXPIRED && later_page && list->restarts < RESTARTS_MAX) {
        r = restart(list, &list->err);
    } else if (list->broken) {
        r = list->err.code;
    } else if (answer->outcome != KUBE_OK) {
        list_end(list, answer);
        return;
    } else {
        r = page_read(list, &list->err);
    }
    if (list->cancelled) {
        list_free(list);
    } else if (r < 0) {
        AUTO(str) char *path = xstrdup(list->path);
        struct err err = list->err;
        list_fail(list, path, r, err.text);
    } else if (r > 0) {
        list_end(list, answer);
    }
}

static char *make_query(const struct kube_list *list)
{
    AUTO(str)
    char *version = http_url_escape(list->resource_version != NULL ? list->resource_version : "");

    if (list->next_page != NULL) {
        AUTO(str) char *token = http_url_escape(list->next_page);
        return xasprintf("limit=%u&continue=%s%s", list->page, token, list->selectors);
    }
    if (version[0] == '\0') {
        return xasprintf("limit=%u%s", list->page, list->selectors);
    }
    if (strcmp(version, "0") == 0) {
        return xasprintf("limit=%u&resourceVersion=0%s", list->page, list->selectors);
    }
    /* With a limit the server would go past its cache and take it for exactly that version. */
    return xasprintf("resourceVersion=%s&resourceVersionMatch=NotOlderThan%s", version,
                     list->selectors);
}

static int start_page(struct kube_list *list, struct err *err)
{
    AUTO(str) char *query = make_query(list);
    struct kube_request request = {
        .method = "GET",
        .path = list->path,
        .query = query,
        .on_done = on_page,
        .on_body = on_bytes,
        .idle_timeout_ms = IDLE_MS,
        .arg = list,
    };

    kube_items_clear(&list->items);
    kube_items_init(&list->items, list->max_object_bytes);
    list->broken = false;
    return kube_client_send(list->client, &request, &list->call, err);
}

int kube_list_start(struct kube_client *client, const struct kube_list_options *options,
                    struct kube_list **ret, struct err *err)
{
    struct kube_list *list = xcalloc(1, sizeof(*list));

    *list = (struct kube_list){
        .client = client,
        .path = kube_path(options->resource, options->ns, NULL, NULL),
        .selectors = kube_selectors(options->label_selector, options->field_selector),
        .resource_version =
            options->resource_version != NULL ? xstrdup(options->resource_version) : NULL,
        .page = options->page > 0 ? options->page : DEFAULT_PAGE,
        .max_object_bytes =
            options->max_object_bytes > 0 ? options->max_object_bytes : DEFAULT_OBJECT,
        .on_item = options->on_item,
        .on_restart = options->on_restart,
        .on_done = options->on_done,
        .arg = options->arg,
    };
    kube_items_init(&list->items, list->max_object_bytes);
    int r = start_page(list, err);
    if (r < 0) {
        list_free(list);
        return r;
    }
    *ret = list;
    return 0;
}
