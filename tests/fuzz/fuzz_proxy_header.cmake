vpn_fuzz_target(fuzz_proxy_header fuzz_proxy_header.c LIBS proxy)
