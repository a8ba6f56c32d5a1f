#include "controller/kube/kube_query.h"

#include "common/http_client.h"

char *kube_selectors(const char *label_selector, const char *field_selector)
{
    AUTO(str) char *label = http_url_escape(label_selector != NULL ? label_selector : "");
    AUTO(str) char *field = http_url_escape(field_selector != NULL ? field_selector : "");

    return xasprintf("%s%s%s%s", label[0] != '\0' ? "&labelSelector=" : "", label,
                     field[0] != '\0' ? "&fieldSelector=" : "", field);
}
