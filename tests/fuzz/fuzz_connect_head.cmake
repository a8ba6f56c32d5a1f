vpn_fuzz_target(fuzz_connect_head fuzz_connect_head.c LIBS proxy)
