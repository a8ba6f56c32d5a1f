/* html: pieces of a page as text. Pure. Whatever is not a literal of ours goes through here. */
#pragma once

#include "common/buf.h"

/* text with & < > " ' escaped: fit for content and for quoted attributes. */
void html_text(struct buf *b, const char *text);
/* fmt and its results, escaped as a whole. */
void html_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* A <time> element: how long before now_ms that was ("5 min"), the full date as its title. */
void html_ago(struct buf *b, int64_t at_ms, int64_t now_ms);
void html_duration(struct buf *b, int64_t ms); /* "12 s", "5 min", "3 h", "2 d" */
/* 1234567 as 1 234 567, with thin spaces. */
void html_number(struct buf *b, uint64_t n);
