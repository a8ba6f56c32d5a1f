/* local_main: `vpn-controller local ...`: its command line. */
#pragma once

/* argv[0] is "local". Returns the exit status. */
int local_main(int argc, char **argv);
