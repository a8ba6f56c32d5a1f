/* vpn-controller: chooses the mode and runs it. Decides nothing. */
#include "controller/apply/apply_main.h"
#include "controller/kubernetes/kubernetes_main.h"
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
    "  vpn-controller apply -f pool.yaml          makes a pool in a cluster as the file says\n"
    "\n"
    "  vpn-controller kubernetes                  keeps the VPNPools of a namespace\n"
    "\n"
    "  vpn-controller local|kubernetes --help     all options\n";

/* What is wrong with the words, if they are not just missing. */
static void say_wrong(const char *word)
{
    static const char *const of_local[] = {"status", "check"};

    if (word[0] == '-') {
        fprintf(stderr, "vpn-controller: a command comes first, not '%.64s'\n\n", word);
        return;
    }
    fprintf(stderr, "vpn-controller: no command '%.64s'", word);
    for (size_t i = 0; i < sizeof(of_local) / sizeof(of_local[0]); i++) {
        if (strcmp(word, of_local[i]) == 0) {
            fprintf(stderr, ", did you mean 'vpn-controller local %s'?", word);
        }
    }
    fprintf(stderr, "\n\n");
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "local") == 0) {
        return local_main(argc - 1, argv + 1);
    }
    if (argc > 1 && strcmp(argv[1], "apply") == 0) {
        return apply_main(argc - 1, argv + 1);
    }
    if (argc > 1 && strcmp(argv[1], "kubernetes") == 0) {
        return kubernetes_main(argc - 1, argv + 1);
    }
    if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        printf("vpn-controller %s\n", VPN_VERSION);
        return 0;
    }
    if (argc > 1 && strcmp(argv[1], "--help") != 0) {
        say_wrong(argv[1]);
    }
    fputs(usage, argc > 1 && strcmp(argv[1], "--help") == 0 ? stdout : stderr);
    return argc > 1 && strcmp(argv[1], "--help") == 0 ? 0 : 2;
}
