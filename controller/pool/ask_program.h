/* ask_program: what a program says about settings, before it is ever started with them. It gets
 * what it is to look at on its standard input; nothing of ours but that, its words and envp. */
#pragma once

#include "common/base.h"

/* argv, envp: NULL-terminated. words: what it prints, on both outputs, as far as it fits into
 * words[0..size), and a NUL. Its exit status; 0 also where there was none within 5 s, or nothing
 * could be asked: its start will tell. */
int ask_program(const char *program, char *const *argv, char *const *envp, const char *input,
                char *words, size_t size);
