/* kubernetes_main: `vpn-controller kubernetes`: settings, and what is there from start to end. */
#pragma once

/* argv[0]: "kubernetes". The exit status. */
int kubernetes_main(int argc, char **argv);
