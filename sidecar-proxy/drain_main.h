/* drain_main: `vpn-sidecar drain`, a client of a sidecar's control API. */
#pragma once

/* -> exit status: 0 nobody is left or the time is over, 1 refused or nobody answers, 2 settings. */
int drain_main(int argc, char **argv);
