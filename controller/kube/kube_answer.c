#include "controller/kube/kube_answer.h"

#include <string.h>

#define MESSAGE_MAX 400 /* bytes of what the server says that go into a text */

const char *kube_outcome_name(enum kube_outcome outcome)
{
    static const char *const names[] = {
        [KUBE_OK] = "ok",
        [KUBE_NOT_FOUND] = "not found",
        [KUBE_EXISTS] = "exists",
        [KUBE_CONFLICT] = "conflict",
        [KUBE_EXPIRED] = "expired",
        [KUBE_DENIED] = "denied",
        [KUBE_INVALID] = "invalid",
        [KUBE_BUSY] = "busy",
        [KUBE_UNREACHABLE] = "unreachable",
    };

    return names[outcome];
}

static enum kube_outcome outcome_of(int status, const char *reason)
{
    if (status >= 200 && status < 300) {
        return KUBE_OK;
    }
    switch (status) {
    case 401:
    case 403:
        return KUBE_DENIED;
    case 404:
        return KUBE_NOT_FOUND;
    case 409:
        return strcmp(reason, "AlreadyExists") == 0 ? KUBE_EXISTS : KUBE_CONFLICT;
    case 410:
        return KUBE_EXPIRED;
    case 429:
        return KUBE_BUSY;
    default:
        return status >= 500 ? KUBE_BUSY : KUBE_INVALID;
    }
}

static const char *text_of(const cJSON *object, const char *key)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, key);

    return cJSON_IsString(value) ? value->valuestring : "";
}

static int retry_after_of(const cJSON *details)
{
    int64_t seconds;

    return json_int(details, "retryAfterSeconds", 1, INT32_MAX, &seconds, NULL) == 0 ? (int)seconds
                                                                                     : -1;
}

/* One line, printable: it goes into logs. */
static char *make_text(const char *what, int status, const char *reason, const char *message)
{
    const char *blank = reason[0] != '\0' ? " " : "";
    const char *colon = message[0] != '\0' ? ": " : "";
    char *text =
        xasprintf("%s: %d%s%s%s%.*s", what, status, blank, reason, colon, MESSAGE_MAX, message);

    for (char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f) {
            *c = ' ';
        }
    }
    return text;
}

void kube_answer_make(struct kube_answer_parts *p, const char *what, int status, cJSON *object,
                      const char *body, int retry_after_s)
{
    bool failed = status < 200 || status >= 300;
    const cJSON *details = cJSON_GetObjectItemCaseSensitive(object, "details");
    const cJSON *causes = cJSON_GetObjectItemCaseSensitive(details, "causes");
    const char *message = object != NULL ? text_of(object, "message") : body;

    *p = (struct kube_answer_parts){0};
    p->answer = (struct kube_answer){
        .status = status,
        .object = object,
        .reason = failed ? text_of(object, "reason") : "",
        .cause = failed ? text_of(cJSON_GetArrayItem(causes, 0), "reason") : "",
        .retry_after_s = retry_after_s >= 0 || !failed ? retry_after_s : retry_after_of(details),
        .text = "",
    };
    p->answer.outcome = outcome_of(status, p->answer.reason);
    if (failed) {
        p->answer.text = p->text = make_text(what, status, p->answer.reason, message);
    }
}

void kube_answer_fail(struct kube_answer_parts *p, const char *what, int result, const char *why)
{
    *p = (struct kube_answer_parts){.text = xasprintf("%s: %s", what, why)};
    p->answer = (struct kube_answer){
        .outcome = KUBE_UNREACHABLE,
        .result = result,
        .reason = "",
        .cause = "",
        .retry_after_s = -1,
        .text = p->text,
    };
}

void kube_answer_clear(struct kube_answer_parts *p)
{
    cJSON_Delete(p->answer.object);
    free(p->text);
}

bool kube_answer_lost_version(const struct kube_answer *answer)
{
    return answer->outcome == KUBE_EXPIRED || strcmp(answer->cause, "ResourceVersionTooLarge") == 0;
}
