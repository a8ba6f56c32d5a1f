/* local_output: what OpenVPN and haproxy print, as lines of our log that say who speaks. They write
 * into a named pipe in the runtime directory, because they outlive us: each has it open for reading
 * as well, so that it never meets a broken pipe, and never waits for us, so that it never hangs
 * with us. What finds no room while no controller reads is lost; the next controller reads on. */
#pragma once

#include "common/log.h"
#include "common/loop.h"

struct local_output;

/* path: of the pipe; made if it is not there. program, index (0: none): who speaks; borrowed. */
int local_output_open(struct loop *loop, const char *path, const char *program, uint32_t index,
                      struct local_output **ret, struct err *err);
void local_output_close(struct local_output *o); /* the pipe stays. NULL is fine */

/* For standard output and error of a child. Borrowed. */
int local_output_fd(const struct local_output *o);
/* Reads what is there now. The newest line that complains since the last call, "" if none did;
 * borrowed until the next call. */
const char *local_output_complaint(struct local_output *o);

/* How grave a line is, and where its text begins behind its own time and level. Pure. */
enum log_level local_output_classify(const char *line, const char **ret_text);
