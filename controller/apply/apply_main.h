/* apply_main: `vpn-controller apply ...`. argv[0]: "apply". The program's exit status. */
#pragma once

int apply_main(int argc, char **argv);
