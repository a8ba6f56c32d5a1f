/* kube_query: what lists and watches have in common in a URL. Pure. Private to kube/. */
#pragma once

/* "&labelSelector=...&fieldSelector=...", escaped, or "". Either may be NULL. Caller frees. */
char *kube_selectors(const char *label_selector, const char *field_selector);
