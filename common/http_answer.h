/* http_answer: the head of an answer. Pure but for the date. Private to common/. */
#pragma once

#include "common/buf.h"

const char *http_reason(int status);
bool http_has_body(int status); /* 1xx, 204 and 304 have none, nor a length */
/* Everything but what tells the body's length and the empty line. An extra_header ("Name: value" or
 * NULL) with a line's end in it is left out. */
void http_answer_head(struct buf *out, int status, const char *content_type,
                      const char *extra_header, bool keep_alive);
