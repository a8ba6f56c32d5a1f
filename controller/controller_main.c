/* vpn-controller: chooses the mode and runs it. Decides nothing. */
#include "controller/pool/local_main.h"

#include <stdio.h>
#include <string.h>

static const char usage[] =
    "vpn-controller: keeps the instances of a VPN pool\n"
    "\n"
    "  vpn-controller local [-f pool.yaml]        runs a pool on this machine\n"
    "  vpn-controller local status [-o json]      shows the pool that runs\n"
    "  vpn-controller local check -f pool.yaml    checks a pool file, changes nothing\n"
    "\n"
    "  vpn-controller local --help                all options\n";

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "local") == 0) {
        return local_main(argc - 1, argv + 1);
    }
    if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        printf("vpn-controller %s\n", VPN_VERSION);
        return 0;
    }
    fputs(usage, argc > 1 && strcmp(argv[1], "--help") == 0 ? stdout : stderr);
    return argc > 1 && strcmp(argv[1], "--help") == 0 ? 0 : 2;
}
