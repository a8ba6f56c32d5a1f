/* page_files: page.css and page.js as bytes, made from the files by embed.cmake. */
#pragma once

#include <stddef.h>

extern const char page_css_bytes[];
extern const size_t page_css_len;
extern const char page_js_bytes[];
extern const size_t page_js_len;
