/* local_run: one controller for one pool on this machine, from its start to its end. */
#pragma once

#include "controller/pool/local_load.h"

/* Until it is told to end. Returns the exit status. */
int local_run(const struct local_settings *settings);
